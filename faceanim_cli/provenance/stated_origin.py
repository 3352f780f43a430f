"""Reads from metadata that a file is AI-generated: IPTC's DigitalSourceType, and our comment."""

import mmap
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from faceanim_cli.media.own_files import told_origin

# IPTC's NewsCodes (cv.iptc.org/newscodes/digitalsourcetype) of what generative AI made, in whole or in part
MADE_BY_AI = frozenset(
    {"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic"}
)
SOURCE_TYPE = re.compile(r"DigitalSourceType\W.{0,200}?newscodes/digitalsourcetype/(\w{1,80})", re.I | re.S)
COMMENT = re.compile(r"AI-generated: a photo animated by faceanim [^\n\"<]{0,300}")
LONGEST_PACKET, MOST_PACKETS = 1 << 20, 100  # bytes of one XMP packet, and how many are looked into


@dataclass(frozen=True)
class StatedOrigin:
    """What the metadata of a file says; None where it says nothing."""

    source_type: str | None
    """The last part of the DigitalSourceType's address."""
    comment: str | None
    """What faceanim wrote into the file's comment."""

    @property
    def made_by_ai(self) -> bool:
        """Whether it says so."""
        return self.source_type in MADE_BY_AI or self.comment is not None

    def facts(self) -> dict[str, object]:
        """As JSON values."""
        return {**asdict(self), "made_by_ai": self.made_by_ai}


def stated_origin(path: Path) -> StatedOrigin:
    """Read the metadata of a video or picture.

    Raises:
        OSError: the file cannot be read.
    """
    told = "\n".join([told_origin(path), *_xmp_packets(path)])
    source_type, comment = SOURCE_TYPE.search(told), COMMENT.search(told)
    return StatedOrigin(
        None if source_type is None else source_type[1], None if comment is None else comment[0].strip()
    )


def _xmp_packets(path: Path) -> list[str]:
    """All XMP of a file, wherever it lies: packets are made to be found in formats that one does not know
    (XMP specification, part 3, 2.1)."""
    packets: list[str] = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(b"<x:xmpmeta")
        while start >= 0 and len(packets) < MOST_PACKETS:
            end = data.find(b"</x:xmpmeta>", start, start + LONGEST_PACKET)
            packets.append(data[start : end if end >= 0 else start].decode(errors="replace"))
            start = data.find(b"<x:xmpmeta", max(end, start + 1))
    return packets
