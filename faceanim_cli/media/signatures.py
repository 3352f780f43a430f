"""What an input file is, told by its first bytes before a decoder sees it."""

from pathlib import Path

from faceanim_cli.errors import UnreadableInputError

HEAD_BYTES = 32  # enough for every signature below and for a PNG's bit depth


def read_head(path: Path, what: str) -> bytes:
    """First bytes of an input file, after making sure that there is one.

    Args:
        path: the file the user named.
        what: "photo" or "video"; for the message.

    Returns:
        Up to ``HEAD_BYTES`` bytes, at least one.

    Raises:
        UnreadableInputError: missing, a folder, a device or pipe, empty, or not ours to read.
    """
    if path.is_dir():
        raise UnreadableInputError(f"cannot read the {what} {path}: it is a folder; name a file in it")
    if not path.exists():
        raise UnreadableInputError(f"cannot read the {what} {path}: there is no such file; check the path")
    if not path.is_file():  # a pipe can be read only once, and we read headers first
        raise UnreadableInputError(
            f"cannot read the {what} {path}: it is a pipe or a device; save it to a file first"
        )
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise UnreadableInputError(
            f"cannot read the {what} {path}: {error.strerror}; check the permissions"
        ) from error
    if not head:
        raise UnreadableInputError(f"cannot read the {what} {path}: it is empty; copy or download it again")
    return head


def is_heic(head: bytes) -> bool:
    """Whether the file is an iPhone's HEIC/HEIF photo, which Pillow does not decode."""
    return head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")


def is_video(head: bytes) -> bool:
    """Whether the first bytes are those of a video: MP4/MOV, Matroska/WebM, AVI, FLV, MPEG, Ogg."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in (b"avif", b"avis") and not is_heic(head)
    return (
        head[4:8] in (b"moov", b"mdat", b"wide")  # QuickTime from before ftyp
        or head.startswith((b"\x1aE\xdf\xa3", b"FLV\x01", b"OggS", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"))
        or (head.startswith(b"RIFF") and head[8:12] == b"AVI ")
    )
