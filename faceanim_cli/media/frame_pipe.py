"""Pipes raw frames into an ffmpeg that encodes them."""

import contextlib
import errno
import io
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from faceanim_cli.errors import FaceanimError
from faceanim_cli.media.atomic_file import NO_SPACE
from faceanim_cli.media.ffmpeg import Stderr, last_words, spawn, stop
from faceanim_cli.pictures import Image


class FramePipe:
    """A context manager around one running ffmpeg; ``finish`` ends it in order, leaving the block kills it.

    Args:
        path: the output that the user named, for messages.
        fps: exact frames per second.
        size: (width, height) of the frames, pixels.
        arguments: ffmpeg's output options and the file to write.
        even: pad odd widths and heights by one pixel that repeats the last column or row: yuv420p cannot hold
            them, and so nothing of the picture is lost.
    """

    def __init__(
        self, path: Path, fps: Fraction, size: tuple[int, int], arguments: Sequence[str], *, even: bool
    ) -> None:
        self.path, self.fps = path, fps
        self.width, self.height = size
        self.frame_count = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._padding = (size[1] % 2, size[0] % 2) if even else (0, 0)
        self._arguments = arguments
        self._stderr: Stderr | None = None

    def __enter__(self) -> "FramePipe":
        """Start ffmpeg."""
        high, wide = self._padding
        raw = [
            *("-f", "rawvideo"),
            *("-pix_fmt", "rgb24"),
            *("-video_size", f"{self.width + wide}x{self.height + high}"),
            *("-framerate", str(self.fps)),
            *("-i", "pipe:0"),
        ]
        arguments = ["-loglevel", "error", *raw, *self._arguments]
        self.process = spawn(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            self._stderr = Stderr(self.process)
        except BaseException:
            # Ctrl-C, say: nobody else would end it, and it would write when all is tidied up.
            stop(self.process)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            stop(self.process)

    def write(self, frame: Image) -> None:
        """Encode one frame: uint8 RGB (H, W, 3) in [0, 255], of the size that was announced.

        Raises:
            ValueError: another shape or type.
            FaceanimError: ffmpeg died (disk full); the line has its own words.
        """
        check_frame(frame, self.width, self.height)
        if self.process is None or self.process.stdin is None:
            raise ValueError("write() belongs inside the with block")
        high, wide = self._padding
        if high or wide:
            frame = np.pad(frame, ((0, high), (0, wide), (0, 0)), mode="edge")
        try:
            self.process.stdin.write(np.ascontiguousarray(frame).data.cast("B"))
        except OSError as error:
            raise self._failure() from error
        self.frame_count += 1

    def finish(self) -> None:
        """Wait until ffmpeg has encoded and closed its file.

        Raises:
            FaceanimError: ffmpeg failed, or no frame was written.
        """
        assert self.process is not None
        assert self.process.stdin is not None
        if self.frame_count == 0:
            raise FaceanimError(f"cannot write {self.path}: there was no frame to write")
        try:
            self.process.stdin.close()
        except OSError as error:
            raise self._failure() from error
        if self.process.wait() != 0:
            raise self._failure()

    def _failure(self) -> FaceanimError:
        """What killed ffmpeg, in its own words."""
        assert self.process is not None
        assert self._stderr is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)  # a broken pipe comes before the reason is written down
        stop(self.process)
        reason = why_ended(self.process.returncode, self._stderr.text())
        return FaceanimError(f"cannot write {self.path}: {reason}")


def read_frames(arguments: Sequence[str], width: int, height: int) -> Iterator[Image]:
    """What an unfinished output holds so far: the whole frames that ffmpeg decodes, given its input options.

    Only for files that this process wrote itself.
    """
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    process = spawn(["-loglevel", "error", *arguments, *raw], stdout=subprocess.PIPE)
    try:
        assert isinstance(process.stdout, io.BufferedReader)
        while True:
            frame = np.empty((height, width, 3), np.uint8)
            if process.stdout.readinto(frame.data.cast("B")) < frame.nbytes:
                return
            yield frame
    finally:
        stop(process)


def why_ended(code: int, stderr: str) -> str:
    """Why ffmpeg failed, in its own words; where a signal killed it, it had none."""
    if code == -getattr(signal, "SIGXFSZ", 0):
        return f"{os.strerror(errno.EFBIG)} (a limit, see ulimit -f)"
    if code == -getattr(signal, "SIGKILL", 0):
        return "ffmpeg was killed; did memory run out?"
    for reason in map(os.strerror, NO_SPACE):
        if reason in stderr:  # said by every part of ffmpeg in its own way
            return reason
    return last_words(stderr, lines=3) or f"ffmpeg ended with code {code}"


def check_frame(frame: Image, width: int, height: int) -> None:
    """Raises ValueError unless ``frame`` is uint8 (height, width, 3)."""
    if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
        raise ValueError(f"a frame is uint8 {(height, width, 3)}, not {frame.dtype} {frame.shape}")
