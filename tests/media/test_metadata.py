"""What a result says about its origin, read from the bytes as each format's specification lays them out."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from faceanim_cli import __version__
from faceanim_cli.media import VideoWriter, open_output, open_video
from tests.media.conftest import ffmpeg, grey_ramp, tone

AI_MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
TAGS = {"title": "A <title>", "comment": "AI-generated: a photo animated by faceanim 0.0.1, weights w & ü"}
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
XMP_UUID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")  # ISO 16684-1, storage in ISO base media files


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of an ISO base media file's top boxes (ISO 14496-12, 4.2)."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        head = 8
        if size == 1:
            size, head = struct.unpack(">Q", data[at + 8 : at + 16])[0], 16
        assert head <= size <= len(data) - at
        yield kind, data[at + head : at + size]
        at += size


def gif_xmp(data: bytes) -> bytes:
    """The application extension of XMP (XMP specification part 3, 1.1.2): its "sub-blocks" are the text."""
    start = data.index(b"\x21\xff\x0bXMP DataXMP") + 14
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    return data[start : data.index(trailer, start)]


def webp_xmp(data: bytes) -> bytes:
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    at, found = 12, b""
    while at < len(data):
        kind, size = struct.unpack("<4sI", data[at : at + 8])
        found = data[at + 8 : at + 8 + size] if kind == b"XMP " else found
        at += 8 + size + size % 2
    return found


def png_xmp(data: bytes) -> bytes:
    at, found = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + size]
        if kind == b"iTXt" and content.startswith(b"XML:com.adobe.xmp\0"):
            assert content[18:22] == b"\0\0\0\0"  # not compressed, no language, no translated keyword
            found = content[22:]
        at += 12 + size
    return found


def xmp_of(path: Path) -> bytes:
    if path.is_dir():
        return png_xmp((path / "000002.png").read_bytes())
    data = path.read_bytes()
    if path.suffix == ".gif":
        return gif_xmp(data)
    if path.suffix == ".webp":
        return webp_xmp(data)
    (packet,) = [
        content[16:] for kind, content in boxes(data) if kind == b"uuid" and content[:16] == XMP_UUID
    ]
    return packet


@pytest.mark.parametrize("name", ["o.mp4", "o.m4v", "o.mov", "o.gif", "o.webp", "frames"])
@pytest.mark.parametrize("sound", [False, True])
def test_xmp_names_the_digital_source_type(tmp_path: Path, name: str, sound: bool) -> None:
    song = None
    if sound:
        song = tmp_path / "song.mkv"
        ffmpeg(*tone(0.3), "-c:a", "flac", str(song))
    path = tmp_path / name
    with open_output(path, Fraction(25), (24, 16), audio_from=song, metadata=TAGS) as writer:
        for frame in grey_ramp(5):
            writer.write(frame)
    packet = xmp_of(path)
    root = ElementTree.fromstring(packet)
    (description,) = root.iter(f"{RDF}Description")
    assert description.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType") == AI_MADE
    assert description.get("{http://ns.adobe.com/xap/1.0/}CreatorTool") == f"faceanim {__version__}"
    texts = {li.text for li in description.iter(f"{RDF}li")}
    assert texts == {TAGS["title"], TAGS["comment"]}
    if path.suffix in (".mp4", ".m4v", ".mov"):
        kinds = [kind for kind, _ in boxes(path.read_bytes())]
        assert kinds.index(b"moov") < kinds.index(b"mdat") < kinds.index(b"uuid")  # starts to play at once
    if path.suffix not in (".gif", ".webp"):
        assert len(list(open_video(path))) == 5
    if path.is_file():  # nothing for a player to stumble over
        assert not ffmpeg("-v", "warning", "-i", str(path), "-f", "null", "-").stderr


@pytest.mark.parametrize("name", ["o.mkv", "o.webm"])
def test_matroska_has_a_tag_for_it(tmp_path: Path, name: str) -> None:
    with open_output(tmp_path / name, Fraction(25), (24, 16), metadata=TAGS) as writer:
        writer.write(grey_ramp(1)[0])
    key, value = b"DIGITALSOURCETYPE", AI_MADE.encode()
    # SimpleTag (RFC 9559, 5.1.8.1.2): TagName, TagString, each with its length in one byte's lower seven bits
    tag = b"\x45\xa3" + bytes([0x80 | len(key)]) + key + b"\x44\x87" + bytes([0x80 | len(value)]) + value
    assert tag in (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o.gif", "o.webp", "frames"])
def test_what_has_no_tags_is_not_said_to_be_generated(tmp_path: Path, name: str) -> None:
    with open_output(tmp_path / name, Fraction(25), (24, 16)) as writer:
        for frame in grey_ramp(2):
            writer.write(frame)
    path = tmp_path / name
    assert b"igital" not in (path / "000001.png" if path.is_dir() else path).read_bytes()


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o.gif", "o.webp", "frames"])
def test_any_name_of_weights_can_be_told(tmp_path: Path, name: str) -> None:
    tags = {"comment": "weights \udcff \x01 ￾ \n]]> 画.safetensors"}
    with open_output(tmp_path / name, Fraction(25), (24, 16), metadata=tags) as writer:
        for frame in grey_ramp(2):
            writer.write(frame)
    if name not in ("o.mkv", "frames"):
        ElementTree.fromstring(xmp_of(tmp_path / name))


def test_a_large_video_keeps_its_boxes(tmp_path: Path) -> None:
    """With an mdat of many megabytes, as ffmpeg's faststart writes it."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 720, 1280, 3), np.uint8)
    with VideoWriter(tmp_path / "o.mp4", Fraction(25), (1280, 720), crf=0, metadata=TAGS) as writer:
        for frame in noise:
            writer.write(frame)
    assert b"compositeWithTrained" in xmp_of(tmp_path / "o.mp4")
