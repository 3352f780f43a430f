"""What a result says about itself: tags of videos, GIF comments, WebP's XMP, PNG's text chunks."""

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
        if not key or "=" in key or "\0" in key + value or key.lower() == "encoder":
            raise ValueError(f"impossible tag: {key!r}")
        arguments += ["-metadata", f"{key}={value}"]
    if path.suffix.lower() in MP4_FAMILY:
        unusual = any(key.lower() not in STANDARD_TAGS for key in metadata)
        arguments += ["-movflags", "+faststart+use_metadata_tags" if unusual else "+faststart"]
    return arguments


def png_text(metadata: Mapping[str, str]) -> PngInfo:
    """The software and the tags, as text chunks, capitalised as PNG's own are (Title, Comment, ...)."""
    info = PngInfo()
    info.add_text("Software", SOFTWARE)
    for key, value in metadata.items():
        info.add_itxt(key.capitalize(), value)
    return info


def gif_with_comment(source: Path, target: Path, metadata: Mapping[str, str]) -> None:
    """Copy a GIF and put the tags in front of its first frame, as a comment extension (GIF89a, section 24).

    Raises:
        ValueError: ``source`` is no GIF.
        OSError: reading or writing failed.
    """
    text = "\n".join(metadata.values()).encode("ascii", "replace")  # 7-bit, says the standard
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
        shutil.copyfileobj(old, new)


def webp_with_xmp(source: Path, target: Path, size: tuple[int, int], metadata: Mapping[str, str]) -> None:
    """Copy a WebP of ``size`` (width, height) pixels and append the tags as its XMP chunk.

    The extended format (VP8X), which animations have, is given to a single frame, since only it takes XMP.

    Raises:
        ValueError: ``source`` is no WebP.
        OSError: reading or writing failed.
    """
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


def xmp_packet(metadata: Mapping[str, str]) -> bytes:
    """The tags as XMP, with IPTC's statement that the picture is partly generated."""
    fields = ""
    for key, name in (("title", "title"), ("comment", "description")):
        if key in metadata:
            text = f'<rdf:Alt><rdf:li xml:lang="x-default">{escape(metadata[key])}</rdf:li></rdf:Alt>'
            fields += f"<dc:{name}>{text}</dc:{name}>"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f'<rdf:Description rdf:about="" Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}">{fields}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()
