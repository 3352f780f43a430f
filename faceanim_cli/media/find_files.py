"""Finds photos, videos and folders of frames: known suffixes, and walks through folders.

Finding goes by suffix, as a person's folder holds much else; whether a file is what it is called, its reader
says.
"""

import glob
import logging
import os
import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from faceanim_cli.errors import UnreadableInputError

PHOTO_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .webp .bmp .tif .tiff .gif .heic .heif .avif".split()  # noqa: SIM905
)
FRAME_SUFFIXES = PHOTO_SUFFIXES - {".gif"}  # a GIF among frames is an animation of them
VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .gif "  # noqa: SIM905
    ".3g2 .apng .asf .dv .f4v .ivf .m2v .mxf .nut .ogm .qt .rm .vob .y4m".split()
)
DRIVER_SUFFIXES = VIDEO_SUFFIXES | {".webp"}  # which among frames is a frame

_HEADER_BYTES = 1 << 16  # a PNG's colour profile may come before what says that it moves
_WEBP_MOVES = 2  # bit of the flags of a WebP's VP8X chunk

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """What lies in one folder, sorted by name; hidden files and files of other kinds are left out."""

    folder: Path
    videos: tuple[Path, ...]
    photos: tuple[Path, ...]
    """Those that can be frames of a video."""
    folders: tuple[Path, ...]


def list_folder(folder: Path, video_suffixes: Set[str] = VIDEO_SUFFIXES) -> Listing:
    """Videos, photos and folders in one folder.

    Raises:
        UnreadableInputError: the folder cannot be read.
    """
    entries = _visible(folder)
    try:
        folders = tuple(entry for entry in entries if entry.is_dir())
        files = [entry for entry in entries if entry.is_file()]
    except OSError as error:  # a folder whose names may be listed and nothing more
        raise _unreadable(folder, error) from error
    return Listing(
        folder,
        tuple(file for file in files if file.suffix.lower() in video_suffixes),
        tuple(file for file in files if file.suffix.lower() in FRAME_SUFFIXES),
        folders,
    )


def walk(
    folder: Path, video_suffixes: Set[str] = VIDEO_SUFFIXES, skip: Set[str] = frozenset()
) -> Iterator[Listing]:
    """``list_folder`` of a folder and of all folders under it, parents first, each by name.

    Symbolic links are followed, to each folder once. A folder inside that cannot be read is passed over with
    a warning in the log.

    Args:
        folder: where to begin.
        video_suffixes: which files are videos, with the dot, in lower case.
        skip: names of folders that are not entered.

    Raises:
        UnreadableInputError: ``folder`` itself cannot be read.
    """
    visited: set[Path] = set()
    waiting = [list_folder(folder, video_suffixes)]
    while waiting:
        listing = waiting.pop()
        real = listing.folder.resolve()
        if real in visited:
            continue
        visited.add(real)
        yield listing
        for inside in reversed([inside for inside in listing.folders if inside.name not in skip]):
            try:
                waiting.append(list_folder(inside, video_suffixes))
            except UnreadableInputError as error:
                logger.warning("%s; passed over", error)


def frame_files(folder: Path) -> list[Path]:
    """The frames of a folder in natural order: 2.png before 10.png.

    Raises:
        UnreadableInputError: the folder cannot be read.
    """
    files = [file for file in _visible(folder) if file.suffix.lower() in FRAME_SUFFIXES]
    return sorted(files, key=lambda file: _natural_key(file.name))


def holds_frames(path: Path) -> bool:
    """Whether this is a folder with photos in it; of one that cannot be read the log tells."""
    if not path.is_dir():
        return False
    try:
        return any(file.suffix.lower() in FRAME_SUFFIXES for file in _visible(path))
    except UnreadableInputError as error:
        logger.warning("%s; passed over", error)
        return False


def _visible(folder: Path) -> list[Path]:
    """Entries of a folder by name, without hidden ones: macOS puts a "._1.png" beside each file.

    Raises:
        UnreadableInputError: the folder cannot be read.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise _unreadable(folder, error) from error


def expand(given: str | os.PathLike[str]) -> list[Path]:
    """The paths that a pattern such as ``photos/*.jpg`` stands for, by name; a path stands for itself.

    A name that exists is no pattern, whatever brackets are in it. What matches nothing is given back as it
    is, so that its reader can say that there is no such file, or that no file can be called so.
    """
    text, path = os.fspath(given), Path(given)
    # Path.exists() raises an error for a name that is too long
    if not glob.has_magic(text) or os.path.exists(path):  # noqa: PTH110
        return [path]
    # Path.glob() takes no absolute patterns
    return [Path(match) for match in sorted(glob.glob(text, recursive=True))] or [path]  # noqa: PTH207


def is_animated(path: Path) -> bool:
    """Whether a WebP or PNG moves, by its header; of files of other kinds, whether their suffix is a video's.

    Raises:
        UnreadableInputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
    except OSError as error:
        raise UnreadableInputError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        flags = head[20:21]  # none in a file that was cut off
        return head[12:16] == b"VP8X" and bool(flags) and bool(flags[0] & _WEBP_MOVES)
    if head.startswith(b"\x89PNG"):
        return b"acTL" in head.partition(b"IDAT")[0]
    return path.suffix.lower() in VIDEO_SUFFIXES


def _natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that compares runs of digits as numbers."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _unreadable(folder: Path, error: OSError) -> UnreadableInputError:
    reason = error.strerror or str(error)
    return UnreadableInputError(
        f"cannot read the folder {folder}: {reason}; check the path and its permissions"
    )
