"""RAW files of cameras that are TIFFs inside (NEF, DNG, ARW ...), told from photos by the first directory.

Pillow opens them and shows what comes first: a preview of 160 x 120 pixels. RAW formats with first bytes of
their own (CR2, CR3, RAF, ORF, RW2 ...) are in ``signatures.py``.
"""

import struct
from pathlib import Path
from typing import BinaryIO

SUBFILE_TYPE, PHOTOMETRIC, MAKE, SUB_IFDS, DNG_VERSION = 254, 262, 271, 330, 50706
REDUCED = 1  # bit of SUBFILE_TYPE: a smaller version of another picture in the file
SENSOR_DATA = (32803, 34892)  # of PHOTOMETRIC: colour filter array, linear raw (TIFF/EP, DNG)

# Suffixes by maker, as the maker stands in the file.
_NAMES = {
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
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 13: 4}  # bytes of BYTE, ASCII, SHORT, LONG, IFD


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
    named = next((name for maker, name in _NAMES.items() if make.upper().startswith(maker)), make)
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
        size = _SIZES.get(kind, 0) * length
        if size > 4:
            file.seek(struct.unpack(f"{order}I", value)[0])
            tags[tag] = file.read(min(size, 64))
        else:
            tags[tag] = value[:size][::-1] if order == "<" and size and kind != 2 else value[:size]
    return tags
