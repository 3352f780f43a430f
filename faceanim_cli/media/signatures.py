"""Recognises input files by their first bytes before a decoder sees them.

Some cameras' RAW files (NEF, DNG, ARW ...) are TIFFs inside, told from photos by their first directory:
Pillow opens them and shows what comes first, a preview of 160 x 120 pixels.
"""

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

from faceanim_cli.errors import UnreadableInputError

HEAD_BYTES = 1024  # enough for every signature below, for a PNG's bit depth and for a page's first tag

PHOTO = "a photo"
VIDEO = "a video"
PLAYLIST = "a playlist, which names other files"
TEXT = "a text"
RAW = "a camera's RAW file"  # how each name below begins

# Where, which bytes, what it is; in this order.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", PHOTO),
    (0, b"\xff\xd8\xff", PHOTO),
    (0, b"GIF8", PHOTO),
    (0, b"BM", PHOTO),
    (0, b"8BPS", PHOTO),
    (0, b"\0\0\0\x0cjP  ", PHOTO),
    (0, b"\xff\x0a", "a JPEG XL photo"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL photo"),
    (8, b"WEBP", PHOTO),
    (8, b"CR\x02", f"{RAW} (Canon CR2)"),
    (4, b"ftypcrx ", f"{RAW} (Canon CR3)"),
    (6, b"HEAPCCDR", f"{RAW} (Canon CRW)"),
    (0, b"IIRO", f"{RAW} (Olympus ORF)"),
    (0, b"IIRS", f"{RAW} (Olympus ORF)"),
    (0, b"MMOR", f"{RAW} (Olympus ORF)"),
    (0, b"IIU\0", f"{RAW} (Panasonic RW2)"),
    (0, b"FUJIFILMCCD-RAW", f"{RAW} (Fujifilm RAF)"),
    (0, b"FOVb", f"{RAW} (Sigma X3F)"),
    (0, b"\0MRM", f"{RAW} (Minolta MRW)"),
    (0, b"II*\0", PHOTO),
    (0, b"MM\0*", PHOTO),
    (0, b"%!", "a PostScript document"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"#EXTM3U", PLAYLIST),
    (0, b"ffconcat version", PLAYLIST),
    (0, b"[playlist]", PLAYLIST),
    (4, b"moov", VIDEO),  # QuickTime from before ftyp
    (4, b"mdat", VIDEO),
    (4, b"wide", VIDEO),
    (0, b"\x1aE\xdf\xa3", VIDEO),
    (0, b"FLV\x01", VIDEO),
    (0, b"OggS", VIDEO),
    (0, b"\0\0\x01\xba", VIDEO),
    (0, b"\0\0\x01\xb3", VIDEO),
    (8, b"AVI ", VIDEO),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", VIDEO),  # Windows Media
    (8, b'{"', "a safetensors file (weights or a motion)"),
)
_PAGES = ((b"<mpd", PLAYLIST), (b"<smil", PLAYLIST), (b"<asx", PLAYLIST), (b"<svg", "an SVG drawing"))
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_ADDRESS = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/+")  # two letters at least: "C:/" is a drive


SUBFILE_TYPE, PHOTOMETRIC, MAKE, SUB_IFDS, DNG_VERSION = 254, 262, 271, 330, 50706
REDUCED = 1  # bit of SUBFILE_TYPE: a smaller version of another picture in the file
SENSOR_DATA = (32803, 34892)  # of PHOTOMETRIC: colour filter array, linear raw (TIFF/EP, DNG)

# Suffixes by maker, as the maker stands in the file.
_RAW_NAMES = {
    "NIKON": "Nikon NEF",
    "SONY": "Sony ARW",
    "PENTAX": "Pentax PEF",
    "SAMSUNG": "Samsung SRW",
    "HASSELBLAD": "Hasselblad 3FR",
    "PHASE ONE": "Phase One IIQ",
    "LEAF": "Leaf MOS",
    "KODAK": "Kodak DCR",
    "EASTMAN KODAK": "Kodak DCR",
    "SEIKO EPSON": "Epson ERF",
    "CANON": "Canon TIF",
}
_MOST_ENTRIES = 1000
_TAG_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 13: 4}  # bytes of BYTE, ASCII, SHORT, LONG, IFD


def read_head(path: Path, what: str) -> bytes:
    """First bytes of an input file, after making sure that there is one.

    Args:
        path: the file the user named.
        what: "photo" or "video"; for the message.

    Returns:
        Up to ``HEAD_BYTES`` bytes, at least one.

    Raises:
        UnreadableInputError: missing, an address, standard input, a folder, a device or pipe, empty, or not
            ours to read.
    """
    address = _ADDRESS.match(path.as_posix())
    try:
        if path.is_dir():
            reason = "it is a folder; name a file in it"
        elif path.is_file():
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
            if head:
                return head
            reason = "it is empty; copy or download it again"
        elif path.exists():  # a pipe can be read only once, and we read headers first
            reason = "it is a pipe or a device; save it to a file first"
        elif os.fspath(path) == "-":
            reason = "standard input is not read; save it to a file and name that"
        elif address:  # which pathlib has left with one slash
            rest = path.as_posix()[address.end() :]
            raise UnreadableInputError(
                f"cannot read the {what} {address[1]}://{rest}: it is an address on the net; download it "
                "first and name the file"
            )
        else:
            reason = "there is no such file; check the path"
    except OSError as error:
        reason = f"{error.strerror}; check the path and its permissions"
    raise UnreadableInputError(f"cannot read the {what} {path}: {reason}")


def is_folder(path: Path) -> bool:
    """Whether this is a folder; a name that no file system takes is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def kind_of(head: bytes) -> str:
    """What the first bytes say that a file is, as the end of "it is ..."; empty if they say nothing."""
    if head[4:8] == b"ftyp" and not head.startswith(b"crx ", 8):
        return PHOTO if is_heic(head) or is_avif(head) else VIDEO
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    return _kind_of_text(head)


def is_heic(head: bytes) -> bool:
    """Whether the file is an iPhone's HEIC/HEIF photo."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS and not is_avif(head)


def is_avif(head: bytes) -> bool:
    """Whether the file is AVIF: by its brand, or where that is mif1 (any HEIF file), by its other brands."""
    if head[4:8] != b"ftyp":
        return False
    length = struct.unpack(">I", head[:4])[0]
    return head[8:12] in (b"avif", b"avis") or (head[8:12] in _HEIC_BRANDS and b"avif" in head[16:length])


def _kind_of_text(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        return next((kind for tag, kind in _PAGES if tag in text), "a web page or XML")
    if text.startswith((b"#extm3u", b"ffconcat version", b"[playlist]", b"[reference]")):
        return PLAYLIST
    printable = all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
    return TEXT if printable and head.isascii() else ""


def raw_kind(path: Path) -> str | None:
    """Which camera's RAW file a TIFF is, such as "Nikon NEF"; None for photos and for what is no TIFF."""
    with path.open("rb") as file:
        try:
            tags = _first_directory(file)
        except struct.error:  # cut off; its reader will say so
            return None
    subfile = int.from_bytes(tags.get(SUBFILE_TYPE, b""), "big")
    photometric = int.from_bytes(tags.get(PHOTOMETRIC, b""), "big")
    preview_first = subfile & REDUCED and SUB_IFDS in tags
    if not (DNG_VERSION in tags or photometric in SENSOR_DATA or preview_first):
        return None
    if DNG_VERSION in tags:
        return "DNG"
    make = tags.get(MAKE, b"").split(b"\0")[0].decode("ascii", "replace").strip()
    named = next((name for maker, name in _RAW_NAMES.items() if make.upper().startswith(maker)), make)
    return named or path.suffix.lstrip(".").upper() or "unknown camera"


def _first_directory(file: BinaryIO) -> dict[int, bytes]:
    """Values of the first image file directory by tag, big-endian; lists and texts up to 64 bytes."""
    head = file.read(8)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    if order is None:
        return {}
    file.seek(struct.unpack(f"{order}I", head[4:])[0])
    count = min(struct.unpack(f"{order}H", file.read(2))[0], _MOST_ENTRIES)
    entries = [struct.unpack(f"{order}HHI4s", file.read(12)) for _ in range(count)]
    tags = {}
    for tag, kind, length, value in entries:
        size = _TAG_SIZES.get(kind, 0) * length
        if size > 4:
            file.seek(struct.unpack(f"{order}I", value)[0])
            tags[tag] = file.read(min(size, 64))
        else:
            tags[tag] = value[:size][::-1] if order == "<" and size and kind != 2 else value[:size]
    return tags
