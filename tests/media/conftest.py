"""Clips made with ffmpeg directly, so that reader and writer are not tested against each other alone."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from faceanim_cli.media import open_output

RATE = Fraction(25)
TAGS = {"title": "A title", "comment": "AI-generated <by> a & test, ünï"}
LOSSLESS = ("-c:v", "ffv1", "-pix_fmt", "bgr0")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def ffmpeg(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True)


def tone(seconds: float, rate: int = 44100) -> list[str]:
    """A 1 kHz beep from 0.5 s to 0.6 s in silence, as ffmpeg input options."""
    source = f"aevalsrc='if(between(t,0.5,0.6),sin(2*PI*1000*t),0)':s={rate}:d={seconds}"
    return ["-f", "lavfi", "-i", source]


def samples(path: Path) -> np.ndarray:
    """The sound of a file on its clock: int16 (N,) at 48 kHz, mono; sample 0 is time 0."""
    clock = ["-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "48000"]
    return np.frombuffer(
        ffmpeg("-i", str(path), "-map", "0:a:0", *clock, "-f", "s16le", "-").stdout, np.int16
    )


def onset(path: Path) -> float:
    """Seconds at which the beep starts."""
    return float(np.argmax(np.abs(samples(path).astype(int)) > 3000)) / 48000


def grey_ramp(count: int, height: int = 16, width: int = 24) -> np.ndarray:
    """Frames that tell their own number: frame n is grey 5 + 9 n (below 28 frames)."""
    levels = (5 + 9 * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def count_up(count: int) -> np.ndarray:
    """Frames that tell their number in black and white, binary, up to 127; 51 by 35 pixels."""
    bits = (np.arange(count)[:, None] >> np.arange(7)) & 1
    stripes = np.pad(bits.repeat(7, 1), ((0, 0), (0, 2)))
    return (stripes[:, None, :, None] * 255).astype(np.uint8).repeat(35, 1).repeat(3, 3)


def number_of(frame: np.ndarray) -> int:
    """What a frame of ``count_up`` tells, decoded by whatever program."""
    return int(((frame[17, 3:49:7, 1] > 128) << np.arange(7)).sum())


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """What a full disk is like for whoever writes, children too: ``size`` bytes a file, then no more."""
    import resource

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    def make(
        frames: np.ndarray,
        name: str = "clip.mkv",
        *,
        fps: str = "25",
        codec: Sequence[str] = LOSSLESS,
        sound: Sequence[str] = (),
        extra: Sequence[str] = (),
    ) -> Path:
        _, height, width, _ = frames.shape
        path = tmp_path / name
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}", "-framerate", fps]
        ffmpeg(*raw, "-i", "-", *sound, *codec, *extra, str(path), stdin=frames.tobytes())
        return path

    return make


def write(path: Path, frames: np.ndarray, fps: Fraction = RATE, **options: Any) -> Path:
    with open_output(path, fps, (frames.shape[2], frames.shape[1]), **options) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def colourful(count: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Smooth gradients in which a bright square moves to the right."""
    y, x = np.mgrid[:height, :width]
    frames = np.stack([np.stack((x * 2, y * 3, 255 - x - y), -1).astype(np.uint8)] * count)
    for i in range(count):
        frames[i, 20:30, 5 + 3 * i : 15 + 3 * i] = (250, 240, 20)
    return frames
