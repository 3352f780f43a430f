"""Writes provenance into results: tags of videos, GIF comments, XMP of WebP, text chunks of PNG."""

import re
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from PIL.PngImagePlugin import PngInfo

from faceanim_cli import __version__
from faceanim_cli.media.codecs import MP4_FAMILY, MUXERS

# What ffmpeg writes into MP4 as iTunes tags, which players, file managers and exiftool show.
STANDARD_TAGS = frozenset(
    {"title", "artist", "comment", "copyright", "date", "description", "genre", "keywords", "synopsis"}
)

# What programs that look for AI-generated media go by: a camera's picture, composed with generated parts.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
WEBP_XMP_FLAG = 0x04
SOFTWARE = f"faceanim {__version__}"
XMP_BOX = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")  # the kind of box, ISO 16684-1
# What XML and UTF-8 have no place for; a weights file may be called so.
ILLEGIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def container_arguments(path: Path, metadata: Mapping[str, str]) -> list[str]:
    """ffmpeg options for a file that streams from its first byte and carries ``metadata``.

    A key outside ``STANDARD_TAGS`` survives in MP4 only with ``use_metadata_tags``, and that flag moves *all*
    keys from iTunes tags to QuickTime keys: ffmpeg and exiftool read both, many players only the former.
    So it is set only when such a key is there. ``encoder`` is always overwritten by ffmpeg.

    Raises:
        ValueError: a key is empty or holds "=" or a NUL, or is ``encoder``.
    """
    arguments = ["-f", MUXERS[path.suffix.lower()]]
    for key, value in metadata.items():
        if not key or "=" in key or "\0" in key or key.lower() == "encoder":
            raise ValueError(f"impossible tag: {key!r}")
        arguments += ["-metadata", f"{key}={legible(value)}"]
    if metadata and path.suffix.lower() not in MP4_FAMILY:  # where that has XMP
        arguments += ["-metadata", f"DigitalSourceType={SOURCE_TYPE}"]
    if path.suffix.lower() in MP4_FAMILY:
        unusual = any(key.lower() not in STANDARD_TAGS for key in metadata)
        arguments += ["-movflags", "+faststart+use_metadata_tags" if unusual else "+faststart"]
    return arguments


def png_text(metadata: Mapping[str, str]) -> PngInfo:
    """The software and the tags, as text chunks, capitalised as PNG's own are (Title, Comment, ...)."""
    info = PngInfo()
    info.add_text("Software", SOFTWARE)
    for key, value in metadata.items():
        info.add_itxt(key.capitalize(), legible(value))
    if metadata:
        info.add_itxt("XML:com.adobe.xmp", xmp_packet(metadata).decode())
    return info


def append_xmp_box(path: Path, metadata: Mapping[str, str]) -> None:
    """Put the tags as XMP behind all else in an MP4 or MOV; what plays from the first byte still does.

    Raises:
        OSError: writing failed.
    """
    packet = xmp_packet(metadata)
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 8 + len(XMP_BOX) + len(packet), b"uuid") + XMP_BOX + packet)


def tag_gif(source: Path, target: Path, metadata: Mapping[str, str]) -> None:
    """Copy a GIF and put the tags in front of its first frame, as a comment and as XMP.

    See GIF89a, sections 24 and 26, and the XMP specification, part 3, 1.1.2.

    Raises:
        ValueError: ``source`` is no GIF.
        OSError: reading or writing failed.
    """
    text = "\n".join(map(legible, metadata.values())).encode("ascii", "replace")  # 7-bit, says the standard
    with source.open("rb") as old, target.open("wb") as new:
        head = old.read(13)
        if head[:6] not in (b"GIF87a", b"GIF89a"):
            raise ValueError(f"not a GIF: {source}")
        new.write(head)
        if head[10] & 0x80:  # a global colour table of 2^(n + 1) colours follows
            new.write(old.read(3 * 2 ** ((head[10] & 7) + 1)))
        if text:
            new.write(b"\x21\xfe")
            for start in range(0, len(text), 255):
                part = text[start : start + 255]
                new.write(bytes([len(part)]) + part)
            new.write(b"\0")
            # Readers that know no XMP take its letters for lengths of blocks to skip; wherever in the trailer
            # they arrive, it leads them to the end.
            trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
            new.write(b"\x21\xff\x0bXMP DataXMP" + xmp_packet(metadata) + trailer)
        shutil.copyfileobj(old, new)


def tag_webp(source: Path, target: Path, size: tuple[int, int], metadata: Mapping[str, str]) -> None:
    """Copy a WebP of ``size`` (width, height) pixels and append the tags, if there are any, as its XMP chunk.

    The extended format (VP8X), which animations have, is given to a single frame, since only it takes XMP.

    Raises:
        ValueError: ``source`` is no WebP.
        OSError: reading or writing failed.
    """
    if not metadata:
        shutil.copyfile(source, target)
        return
    packet = xmp_packet(metadata)
    chunk = b"XMP " + struct.pack("<I", len(packet)) + packet + b"\0" * (len(packet) % 2)
    with source.open("rb") as old, target.open("wb") as new:
        head = old.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WEBP":
            raise ValueError(f"not a WebP: {source}")
        first = old.read(18)
        if first[:4] == b"VP8X":
            added = len(chunk)
            first = first[:8] + bytes([first[8] | WEBP_XMP_FLAG]) + first[9:]
        else:
            extent = b"".join(struct.pack("<I", side - 1)[:3] for side in size)
            extended = b"VP8X" + struct.pack("<I", 10) + bytes([WEBP_XMP_FLAG, 0, 0, 0]) + extent
            added = len(chunk) + len(extended)
            first = extended + first
        new.write(b"RIFF" + struct.pack("<I", struct.unpack("<I", head[4:8])[0] + added) + b"WEBP" + first)
        shutil.copyfileobj(old, new)
        new.write(chunk)


def legible(text: str) -> str:
    """``text`` with a question mark for each character that not every format can hold."""
    return ILLEGIBLE.sub("?", text)


def xmp_packet(metadata: Mapping[str, str]) -> bytes:
    """The tags as XMP, with IPTC's statement that the picture is partly generated."""
    fields = ""
    for key, name in (("title", "title"), ("comment", "description")):
        if key in metadata:
            text = (
                f'<rdf:Alt><rdf:li xml:lang="x-default">{escape(legible(metadata[key]))}</rdf:li></rdf:Alt>'
            )
            fields += f"<dc:{name}>{text}</dc:{name}>"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f'<rdf:Description rdf:about="" xmp:CreatorTool="{SOFTWARE}" '
        f'Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}">{fields}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()
