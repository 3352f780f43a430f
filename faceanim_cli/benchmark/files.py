"""Benchmarks of reading, writing, face detection and pasting, and of the whole command."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from faceanim_cli.animation.animated_photo import AnimatedPhoto
from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.driver_search import DETECTIONS_PER_SECOND
from faceanim_cli.animation.result import RenderSettings
from faceanim_cli.benchmark.cases import Timing
from faceanim_cli.errors import FaceanimError
from faceanim_cli.faces import FaceDetector, track_face
from faceanim_cli.media import VideoReader, VideoWriter
from faceanim_cli.pictures import Image

FPS = Fraction(25)


@dataclass(frozen=True)
class CommandResult:
    """``faceanim animate`` in a process of its own, from its start to the finished file."""

    weights: str
    sr: bool
    frames: int
    seconds: float
    rss_mb: float | None
    """Peak resident memory in MB; None where the system does not tell."""
    size: int | None = None
    """Side of the result that was asked for, pixels; None is the networks' own."""

    @property
    def real_time(self) -> float:
        """Seconds of video made in a second."""
        return self.frames / float(FPS) / self.seconds

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two results comparable."""
        return self.weights, self.sr, self.size, self.frames


def write_driver(path: Path, frames: Sequence[Image], count: int) -> None:
    """A driving video of ``count`` frames, which are repeated as needed."""
    with VideoWriter(path, FPS, (frames[0].shape[1], frames[0].shape[0])) as writer:
        for frame in islice(cycle(frames), count):
            writer.write(frame)


def measure_files(
    animator: Animator, photo: Image, driver: Path, sizes: Sequence[int], rounds: int
) -> dict[str, Timing]:
    """Milliseconds a frame of decode, detect (a few frames a second are searched), paste, and encode.

    Args:
        animator: animates.
        photo: uint8 RGB, with a face.
        driver: a video with a face.
        sizes: sides of the results that are encoded, pixels.
        rounds: how often each is measured.
    """
    frames = list(VideoReader(driver))
    animated = AnimatedPhoto(animator, photo, "auto", RenderSettings(paste_back=True))
    pasted = cv2.resize(frames[0], (animator.size, animator.size))

    def decode() -> None:
        for _ in VideoReader(driver):
            pass

    def detect() -> None:
        track_face(VideoReader(driver).sample(DETECTIONS_PER_SECOND), FaceDetector())

    def paste() -> None:
        for _ in frames:
            animated.compose([np.asarray(pasted, np.uint8)])

    work: dict[str, Callable[[], None]] = {"decode": decode, "detect": detect, "paste": paste}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            sized = [np.asarray(cv2.resize(frame, (size, size)), np.uint8) for frame in frames]
            work[f"encode {size}"] = partial(write_driver, Path(folder) / "out.mp4", sized, len(sized))
        spent: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(rounds):
            for name, task in work.items():
                start = time.perf_counter()
                task()
                spent[name].append(1000 * (time.perf_counter() - start) / len(frames))
    return {name: Timing.of(values) for name, values in spent.items()}


def measure_command(
    photo: Path,
    driver: Path,
    frames: int,
    weights: Path,
    sr: bool,
    device: str,
    size: int | None = None,
    *,
    compiled: bool = False,
) -> CommandResult:
    """Run ``faceanim animate`` once, cold.

    Call it before this process has grown: on Linux a child's peak begins with its parent's size.

    Raises:
        FaceanimError: the command failed; line and exit code are its own.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        command = [
            *(sys.executable, "-m", "faceanim_cli", "animate", str(photo), str(driver)),
            *("-o", str(Path(folder) / "out.mp4"), "--weights", str(weights), "--device", device),
            *("--sr" if sr else "--no-sr", "-q"),
            *(() if size is None else ("--size", str(size))),
            *(("--compile",) if compiled else ()),
        ]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        rss = _wait(process)
        seconds = time.perf_counter() - start
        if process.returncode != 0:
            said.seek(0)
            words = said.read().decode(errors="replace").strip().splitlines()
            line = words[-1].removeprefix("faceanim: ") if words else "faceanim animate failed without a word"
            failure = FaceanimError(line)
            failure.exit_code = process.returncode
            raise failure
    return CommandResult(weights.name, sr, frames, seconds, rss, size)


def _wait(process: "subprocess.Popen[bytes]") -> float | None:
    """Wait for a process; its peak resident memory in MB, where the system tells."""
    try:
        if sys.platform == "win32":
            process.wait()
            return None
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
