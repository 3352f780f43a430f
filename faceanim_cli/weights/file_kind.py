"""Recognises weights files by their first bytes, never by name; nothing in them is run.

Downloads of checkpoints go wrong in a few well-known ways, each of which a loader would report as a riddle
("invalid load key, '<'"). Here each is named for what it is, with what to do about it.
"""

import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Literal, TypeAlias

from faceanim_cli.errors import WeightsError
from faceanim_cli.files import parse_json

FileKind: TypeAlias = Literal["safetensors", "torch zip", "torch legacy"]

HEAD = 1024  # bytes that tell what a file is
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# torch.save before 1.6: a pickled magic number, after the pickle's protocol (one byte, 2 in all known files).
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
FORMAT = "1"  # of our checkpoints
NETWORK_NAMES = (
    "animation", "first-order", "discriminator", "super-resolution", "liveportrait", "thin-plate-spline",
)  # fmt: skip

LARGEST_HEADER = 100_000_000  # bytes: safetensors' own limit
ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}


def file_kind(path: Path) -> FileKind:
    """The kind of a file that may hold weights.

    Raises:
        WeightsError: everything else, named for what it is: missing, a folder, empty, an HTML page, a Git LFS
            pointer, an archive, a truncated zip or safetensors, a pickle that torch did not write, text, ...
    """
    head, size = _head(path)
    if size == 0:
        raise WeightsError(f"{path}: an empty file; fetch it again")
    if head.startswith(LFS_POINTER):
        raise WeightsError(f"{path}: {_lfs_pointer(head)}; fetch the file itself: git lfs pull")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        raise WeightsError(
            f"{path}: an HTML page, not weights: the link led to a page about the file, or to a login; "
            "fetch it again by the page's download link"
        )
    for magic, name in ARCHIVES.items():
        if head.startswith(magic):
            raise WeightsError(f"{path}: a {name} archive; unpack it and give the checkpoint inside")
    if head.startswith(b"PK"):
        return _zip_kind(path, size)
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= LARGEST_HEADER:
        safetensors_header(path)
        return "safetensors"
    if head[:1] == b"\x80" and head[2:].startswith(LEGACY_MAGIC):
        return "torch legacy"
    if tarfile.is_tarfile(path):
        raise WeightsError(
            f"{path}: a real tar archive (published .pth.tar checkpoints are none, for all their name); "
            "unpack it and give the checkpoint inside"
        )
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):  # a pickle's protocol
        raise WeightsError(
            f"{path}: a Python pickle that torch did not write; opening one can run any code, so it was not; "
            "give a .safetensors or .pth.tar checkpoint"
        )
    raise WeightsError(f"{path}: {_unknown(head)}; give a .safetensors or .pth.tar checkpoint")


def safetensors_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: tensor names to dtype, shape and data_offsets; ``__metadata__``.

    Raises:
        WeightsError: not safetensors, or not all of it.
    """
    head, size = _head(path)
    length = struct.unpack("<Q", head[:8])[0] if len(head) > 8 else LARGEST_HEADER + 1
    if length > LARGEST_HEADER or head[8:9] != b"{":
        raise WeightsError(f"{path}: not a safetensors file; fetch it again")
    if 8 + length > size:
        raise WeightsError(f"{path}: a truncated safetensors file, cut off within its header; fetch it again")
    with path.open("rb") as file:
        file.seek(8)
        text = file.read(length)
    try:
        header: dict[str, Any] = parse_json(text)
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise WeightsError(
            f"{path}: a damaged safetensors file: its header does not read; fetch it again"
        ) from error
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        raise WeightsError(
            f"{path}: a truncated safetensors file, {size:,} of {expected:,} bytes; fetch it again"
        )
    return header


def read_metadata(path: Path) -> dict[str, str]:
    """A checkpoint's metadata: ``faceanim``, ``network``, ``settings`` and free notes.

    Raises:
        WeightsError: missing, not safetensors, or not one of ours.
    """
    metadata = safetensors_header(path).get("__metadata__")
    if (
        not isinstance(metadata, dict)
        or metadata.get("faceanim") != FORMAT
        or metadata.get("network") not in NETWORK_NAMES
        or "settings" not in metadata
    ):
        raise WeightsError(f"{path}: a safetensors file, but not one that faceanim wrote")
    return {str(key): str(value) for key, value in metadata.items()}


def _head(path: Path) -> tuple[bytes, int]:
    """The first bytes and the size of a file."""
    if path.is_dir():
        raise WeightsError(f"{path}: a folder; give the weights file inside it")
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with path.open("rb") as file:
            return file.read(HEAD), path.stat().st_size
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error


def _zip_kind(path: Path, size: int) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: a truncated zip file (torch's checkpoints are zips): {size:,} bytes, and its end is "
            "missing; fetch it again"
        ) from error
    if any("/code/" in name for name in names):
        raise WeightsError(f"{path}: a TorchScript program, not weights; it was not opened")
    if any(name.endswith("data.pkl") for name in names):
        return "torch zip"
    checkpoints = (name for name in names if name.endswith((".pth.tar", ".pth", ".pt", ".safetensors")))
    inside = next(checkpoints, None)
    advice = f"unpack it and give {inside}" if inside else "it holds no checkpoint either"
    raise WeightsError(f"{path}: a zip archive of {len(names)} files, not a checkpoint; {advice}")


def _lfs_pointer(head: bytes) -> str:
    fields = dict(line.split(" ", 1) for line in head.decode("utf-8", "replace").splitlines() if " " in line)
    size = fields.get("size", "")
    of = f" to a file of {int(size) / 1e6:,.0f} MB" if size.isdecimal() else ""
    return f"a Git LFS pointer{of}, not the file"


def _unknown(head: bytes) -> str:
    beginning = head[:60].decode("utf-8", "replace").rstrip("\ufffd")  # a letter may be cut in two
    if (
        beginning
        and "\ufffd" not in beginning
        and all(character.isprintable() or character in "\r\n\t" for character in beginning)
    ):
        return f"text, not weights: {' '.join(beginning.split())!r}"
    return "not a weights file of any kind that faceanim knows"
