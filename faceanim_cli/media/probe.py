"""Probes media files with ffmpeg: exact frame rate, upright size, colours, duration, sound.

imageio-ffmpeg ships no ffprobe. ffmpeg's banner rounds the rate to "29.97 fps" and shows the size before
rotation; the header of its framecrc output, taken after decoding one frame, has both as they are:
``#tb 0: 1001/30000`` is one frame's duration, ``#dimensions 0: 640x360`` is the upright size.
"""

import re
import statistics
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media.ffmpeg import MAX_PIXELS, input_arguments, last_words, run
from faceanim_cli.media.signatures import PHOTO, VIDEO, kind_of, read_head

SWAPPED = "it is a photo; are photo and driving video swapped?"
MAX_SIDE = 16384  # pixels; H.264 and HEVC end there

# Rates that clips are made with; a measured rate is snapped to the nearest one.
USUAL_RATES = sorted(
    [Fraction(n * 1000, 1001) for n in (15, 24, 30, 48, 60, 120)]
    + [Fraction(n, 2) for n in (15, 25)]
    + [Fraction(n) for n in (*range(1, 31), 48, 50, 60, 90, 100, 120, 240)]
)
SNAP = Fraction(1, 100)  # relative: measured to usual rate; short clips of coarse timers are that far off
FITS = Fraction(1, 500)  # relative: measured to claimed rate
FALLBACK_RATE = Fraction(25)  # a single frame on a timer of 1 kHz
MEASURED_PACKETS = 500

_INPUT = re.compile(r"^Input #0, (\S+), from ", re.MULTILINE)
_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_STREAM = re.compile(r"^  +Stream #0:(\d+)\S*: (\w+): (.*)$", re.MULTILINE)
_BANNER_SIZE = re.compile(r", (\d+)x(\d+)[ ,]")
_AVERAGE_RATE = re.compile(r", ([\d.]+) fps")
_SAMPLE_RATE = re.compile(r", (\d+) Hz, ([^,]+)")
_TIME_BASE = re.compile(r"^#tb 0: (\d+)/(\d+)", re.MULTILINE)
_SIZE = re.compile(r"^#dimensions 0: (\d+)x(\d+)", re.MULTILINE)
_ASPECT = re.compile(r"^#sar 0: (\d+)/(\d+)", re.MULTILINE)
_PACKET = re.compile(r"^0, +(-?\d+), +(-?\d+), ", re.MULTILINE)
_DECODED = re.compile(r"^  Stream #0:0\S*: Video: [^,]*, (\w+)(?:\(([^)]*)\))?", re.MULTILINE)
_MAPPED = re.compile(r"^  Stream #0:(\d+) -> #0:0", re.MULTILINE)
_TOO_LARGE = re.compile(r"Picture size (\d+)x(\d+) exceeds")
_NO_TIMESTAMP = -(2**63)


@dataclass(frozen=True)
class Colours:
    """How a decoded frame's numbers are meant, in ffmpeg's names; "unknown" where the file does not tell."""

    pixels: str = "unknown"
    """Pixel format: "yuv420p10le"."""
    matrix: str = "unknown"
    primaries: str = "unknown"
    transfer: str = "unknown"
    interlaced: bool = False


@dataclass(frozen=True)
class VideoStream:
    """The video stream that players show, as it comes out of the decoder."""

    index: int
    """Of the stream in the file."""
    width: int
    """Pixels, upright, square: rotation and pixel aspect ratio are accounted for."""
    height: int
    fps: Fraction
    """Frames per second, exact; for a variable rate, the rate that most of its frames keep."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a stored pixel over its height, after rotation; ``width`` is multiplied by it already."""
    colours: Colours = Colours()


@dataclass(frozen=True)
class AudioStream:
    """The audio stream that players play."""

    index: int
    """Of the stream in the file."""
    codec: str
    """ffmpeg's name: "aac", "mp3", "opus", "pcm_s16le"."""
    rate: int
    """Samples per second; 0 if ffmpeg does not tell."""
    high_efficiency: bool = False
    """HE-AAC, whose packets are twice as long as plain AAC's."""
    layout: str = "stereo"
    """ffmpeg's name for the channels: "mono", "5.1(side)", "16 channels"."""


@dataclass(frozen=True)
class Probe:
    """What ffmpeg says about a file."""

    container: str
    """ffmpeg's demuxer: "mov,mp4,m4a,3gp,3g2,mj2"."""
    duration: float | None
    """Seconds, of the longest stream; None if the file does not tell."""
    streams: int
    """Streams of all kinds, cover pictures included."""
    video: VideoStream | None
    audio: AudioStream | None
    complaint: str
    """Why ``video`` is None; else empty."""


def probe(path: Path, what: str = "video") -> Probe:
    """Ask ffmpeg about a file; decodes one frame.

    Args:
        path: the file.
        what: "video" or "sound"; for the messages.

    Raises:
        UnreadableInputError: no such file, a format that ffmpeg does not know, a playlist, or frames larger
            than ``MAX_SIDE`` / ``MAX_PIXELS``.
        UsageError: no ffmpeg.
    """
    head = read_head(path, what)
    code, out, err = _first_frame(path, "V:0")  # V, not v: the cover picture of a song is no video
    opened = _INPUT.search(err)
    if opened is None:
        words = last_words(err) or f"ffmpeg itself broke down with code {code}"
        raise UnreadableInputError(f"cannot read the {what} {path}: {_not_opened(head, what, words)}")
    if what == "video" and opened.group(1).startswith("mov") and kind_of(head) == PHOTO:  # HEIC and AVIF
        raise UnreadableInputError(f"cannot read the video {path}: {SWAPPED}")
    banner = err.split("\nOutput #0", maxsplit=1)[0]
    banner = banner.split("\nStream mapping:", maxsplit=1)[0]
    streams = [(int(index), kind, text) for index, kind, text in _STREAM.findall(banner)]
    pictures = [(index, text) for index, kind, text in streams if kind == "Video" and _is_moving(text)]
    video, complaint = None, "it holds no picture"
    if pictures:
        index, text = max(pictures, key=_preference)
        mapped = _MAPPED.search(err)
        if mapped is None or int(mapped.group(1)) != index:
            _, out, err = _first_frame(path, str(index))
        video = _video(path, index, out, err, text)
        complaint = "" if video else f"no frame can be decoded ({last_words(err) or 'no reason given'})"
    sounds = [(index, text) for index, kind, text in streams if kind == "Audio"]
    return Probe(
        container=opened.group(1),
        duration=_duration(banner),
        streams=len(streams),
        video=video,
        audio=_audio(*max(sounds, key=_preference)) if sounds else None,
        complaint=complaint,
    )


def _first_frame(path: Path, stream: str) -> tuple[int, str, str]:
    return run([*input_arguments(path), "-map", f"0:{stream}", "-frames:v", "1", "-f", "framecrc", "-"])


def _not_opened(head: bytes, what: str, words: str) -> str:
    """Why ffmpeg did not open a file, told by its first bytes; else in ffmpeg's words."""
    kind = kind_of(head)
    if kind == PHOTO and what == "video":
        return SWAPPED
    if kind == VIDEO:
        return f"it is cut off or damaged ({words}); copy or download it again"
    if kind and what == "sound":
        return f"it is {kind}, and there is none in it; name another file"
    if kind:
        return f"it is {kind} and no video; name a video"
    if "whitelist" in words:
        return f"it is no {what}; convert it to MP4 first"
    return f"{words}; is it a {what} file?"


def _is_moving(banner_line: str) -> bool:
    """No cover picture of a song, and no previews for a player's slider."""
    return not re.search(r"\((attached pic|timed thumbnails)\)", banner_line)


def _preference(stream: tuple[int, str]) -> tuple[bool, bool, int, int]:
    """Orders streams by what players take: one that can be decoded, the default, the largest, the first."""
    index, text = stream
    size = _BANNER_SIZE.search(text)
    area = int(size.group(1)) * int(size.group(2)) if size else 0
    return not text.startswith(("none", "unknown")), "(default)" in text, area, -index


def _duration(banner: str) -> float | None:
    found = _DURATION.search(banner)
    if found is None:
        return None
    hours, minutes, seconds = found.groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def _audio(index: int, text: str) -> AudioStream:
    rate = _SAMPLE_RATE.search(text)
    return AudioStream(
        index=index,
        codec=re.split(r"[ ,]", text, maxsplit=1)[0],
        rate=int(rate.group(1)) if rate else 0,
        high_efficiency="(HE-AAC" in text,
        layout=rate.group(2) if rate else "unknown",
    )


def _video(path: Path, index: int, framecrc: str, err: str, banner_line: str) -> VideoStream | None:
    """None when not even one frame of the stream decodes."""
    too_large = _TOO_LARGE.search(err)
    if too_large:
        raise _oversized(path, int(too_large.group(1)), int(too_large.group(2)))
    time_base, size = _TIME_BASE.search(framecrc), _SIZE.search(framecrc)
    if time_base is None or size is None or _PACKET.search(framecrc) is None:
        return None
    width, height = int(size.group(1)), int(size.group(2))
    found = _ASPECT.search(framecrc)
    aspect = Fraction(1)
    if found and int(found.group(1)) and int(found.group(2)):  # 0/1: unknown, taken as square
        aspect = Fraction(int(found.group(1)), int(found.group(2)))
    width = round(width * aspect)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise _oversized(path, width, height)
    duration = Fraction(int(time_base.group(1)), int(time_base.group(2)) or 1)
    rate = 1 / duration if duration else Fraction(25)
    average = _AVERAGE_RATE.search(banner_line)
    if _is_doubtful(rate, float(average.group(1)) if average else None):
        rate = _measured_rate(path, rate, index)
    return VideoStream(index, width, height, rate, aspect, _colours(err))


def _oversized(path: Path, width: int, height: int) -> UnreadableInputError:
    return UnreadableInputError(
        f"cannot read the video {path}: frames of {width}x{height} are too large; make it smaller"
    )


def _colours(err: str) -> Colours:
    """From the banner of the output: ``yuv420p10le(tv, bt2020nc/bt2020/smpte2084, progressive)``."""
    decoded = _DECODED.search(err.partition("\nOutput #0")[2])
    if decoded is None:
        return Colours()
    pixels, told = decoded.group(1), (decoded.group(2) or "").split(", ")
    three = next((word.split("/") for word in told if word.count("/") == 2), None)
    if three is None:  # one name where all three are the same
        same = next((word for word in told if re.fullmatch(r"(bt|smpte|fcc|film|gbr)\w*", word)), "unknown")
        three = [same] * 3
    interlaced = any(word.startswith(("top ", "bottom ")) for word in told)
    matrix, primaries, transfer = three
    return Colours(pixels, matrix, primaries, transfer, interlaced)


def _is_doubtful(rate: Fraction, average: float | None) -> bool:
    """Whether ffmpeg's rate may be the timer of a variable-rate clip ("1k tbr") and not its frame rate."""
    return rate > 120 or rate not in USUAL_RATES or average is None or rate > 1.5 * average


def _measured_rate(path: Path, claimed: Fraction, stream: int) -> Fraction:
    """One over the usual distance of packets: ``claimed`` if it fits, else snapped to a usual rate.

    Packets are only copied, not decoded, so this costs milliseconds.
    """
    packets = ["-map", f"0:{stream}", "-c", "copy", "-frames:v", str(MEASURED_PACKETS), "-f", "framecrc", "-"]
    _, out, _ = run([*input_arguments(path), *packets])
    time_base = _TIME_BASE.search(out)
    stamps = [(int(dts), int(pts)) for dts, pts in _PACKET.findall(out)]
    times = sorted(dts if pts == _NO_TIMESTAMP else pts for dts, pts in stamps)
    steps = [later - earlier for earlier, later in pairwise(times) if later > earlier]
    if time_base is None or not steps:
        return claimed if claimed <= USUAL_RATES[-1] else FALLBACK_RATE
    middle = statistics.median_low(steps)
    # Jitter and coarse timers (33, 33, 34 ms) average out; holes of a frame or more are left out.
    steady = [step for step in steps if middle / 2 < step < middle * 1.5]
    tick = Fraction(int(time_base.group(1)), int(time_base.group(2)))
    measured = 1 / (Fraction(sum(steady), len(steady)) * tick)
    if abs(measured / claimed - 1) < FITS:
        return claimed  # a steady clip of an unusual rate, known exactly
    nearest = min(USUAL_RATES, key=lambda usual: abs(usual - measured))
    return nearest if abs(nearest / measured - 1) < SNAP else measured.limit_denominator(1001)
