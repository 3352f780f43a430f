"""What a media file holds, asked of ffmpeg: exact frame rate, upright size, duration, sound.

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
from faceanim_cli.media.ffmpeg import input_arguments, last_words, run

MAX_SIDE = 16384  # pixels; H.264 and HEVC end there
MAX_PIXELS = 8192 * 8192  # 200 MB of RGB a frame

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

COVER = "(attached pic)"  # how the banner marks the cover picture of a song

_INPUT = re.compile(r"^Input #0, (\S+), from ", re.MULTILINE)
_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_STREAM = re.compile(r"^  +Stream #0:\d+\S*: (Video|Audio): (.*)$", re.MULTILINE)
_AVERAGE_RATE = re.compile(r", ([\d.]+) fps")
_SAMPLE_RATE = re.compile(r", (\d+) Hz")
_TIME_BASE = re.compile(r"^#tb 0: (\d+)/(\d+)", re.MULTILINE)
_SIZE = re.compile(r"^#dimensions 0: (\d+)x(\d+)", re.MULTILINE)
_ASPECT = re.compile(r"^#sar 0: (\d+)/(\d+)", re.MULTILINE)
_PACKET = re.compile(r"^0, +(-?\d+), +(-?\d+), ", re.MULTILINE)
_NO_TIMESTAMP = -(2**63)


@dataclass(frozen=True)
class VideoStream:
    """The first video stream that is no cover picture, as it comes out of the decoder."""

    width: int
    """Pixels, upright, square: rotation and pixel aspect ratio are accounted for."""
    height: int
    fps: Fraction
    """Frames per second, exact; for a variable rate, the rate that most of its frames keep."""


@dataclass(frozen=True)
class AudioStream:
    """The first audio stream."""

    codec: str
    """ffmpeg's name: "aac", "mp3", "opus", "pcm_s16le"."""
    rate: int
    """Samples per second; 0 if ffmpeg does not tell."""
    high_efficiency: bool = False
    """HE-AAC, whose packets are twice as long as plain AAC's."""


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


def probe(path: Path) -> Probe:
    """Ask ffmpeg about a file; decodes one frame.

    Raises:
        UnreadableInputError: ffmpeg does not know the format, or a frame would be larger than ``MAX_SIDE`` /
            ``MAX_PIXELS``.
        UsageError: no ffmpeg.
    """
    # V, not v: the cover picture of a song is no video
    first_frame = ["-map", "0:V:0", "-frames:v", "1", "-f", "framecrc", "-"]
    code, out, err = run([*input_arguments(path), *first_frame])
    opened = _INPUT.search(err)
    if opened is None:
        reason = last_words(err) or f"ffmpeg itself broke down with code {code}"
        raise UnreadableInputError(f"cannot read the video {path}: {reason}; is it a video file?")
    banner = err.split("\nOutput #0", maxsplit=1)[0]
    banner = banner.split("\nStream mapping:", maxsplit=1)[0]
    streams = _STREAM.findall(banner)
    sound = next((text for kind, text in streams if kind == "Audio"), None)
    picture = next((text for kind, text in streams if kind == "Video" and COVER not in text), None)
    if picture is None:
        video, complaint = None, "it holds no picture"
    else:
        video = _video(path, out, picture)
        complaint = "" if video else f"no frame can be decoded ({last_words(err) or 'no reason given'})"
    return Probe(
        container=opened.group(1),
        duration=_duration(banner),
        streams=len(re.findall(r"^  +Stream #0:\d+", banner, re.MULTILINE)),
        video=video,
        audio=None if sound is None else _audio(sound),
        complaint=complaint,
    )


def _duration(banner: str) -> float | None:
    found = _DURATION.search(banner)
    if found is None:
        return None
    hours, minutes, seconds = found.groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def _audio(text: str) -> AudioStream:
    rate = _SAMPLE_RATE.search(text)
    return AudioStream(
        codec=re.split(r"[ ,]", text, maxsplit=1)[0],
        rate=int(rate.group(1)) if rate else 0,
        high_efficiency="(HE-AAC" in text,
    )


def _video(path: Path, framecrc: str, banner_line: str) -> VideoStream | None:
    """None when there is no video, or when not even one frame of it decodes."""
    time_base, size = _TIME_BASE.search(framecrc), _SIZE.search(framecrc)
    if time_base is None or size is None or _PACKET.search(framecrc) is None:
        return None
    width, height = int(size.group(1)), int(size.group(2))
    aspect = _ASPECT.search(framecrc)
    if aspect and int(aspect.group(1)) and int(aspect.group(2)):  # 0/1: unknown, taken as square
        width = round(width * Fraction(int(aspect.group(1)), int(aspect.group(2))))
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise UnreadableInputError(
            f"cannot read the video {path}: frames of {width}x{height} are too large; make it smaller"
        )
    duration = Fraction(int(time_base.group(1)), int(time_base.group(2)) or 1)
    rate = 1 / duration if duration else Fraction(25)
    average = _AVERAGE_RATE.search(banner_line)
    if _is_doubtful(rate, float(average.group(1)) if average else None):
        rate = _measured_rate(path, rate)
    return VideoStream(width, height, rate)


def _is_doubtful(rate: Fraction, average: float | None) -> bool:
    """Whether ffmpeg's rate may be the timer of a variable-rate clip ("1k tbr") and not its frame rate."""
    return rate > 120 or rate not in USUAL_RATES or average is None or rate > 1.5 * average


def _measured_rate(path: Path, claimed: Fraction) -> Fraction:
    """One over the usual distance of packets: ``claimed`` if it fits, else snapped to a usual rate.

    Packets are only copied, not decoded, so this costs milliseconds.
    """
    packets = ["-map", "0:V:0", "-c", "copy", "-frames:v", str(MEASURED_PACKETS), "-f", "framecrc", "-"]
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
