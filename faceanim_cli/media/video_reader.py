"""Driving videos as streams of frames: any container, any rotation, a constant rate, constant memory."""

import contextlib
import io
import logging
import os
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media.ffmpeg import input_arguments, last_words, spawn, stop
from faceanim_cli.media.probe import probe
from faceanim_cli.media.signatures import read_head
from faceanim_cli.pictures import Image

logger = logging.getLogger(__name__)

# Without these swscale drops chroma precision for speed; flat colours would come back 2 or 3 levels off.
SCALE_FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"


class VideoReader:
    """Frames of a video file, decoded by ffmpeg while they are asked for.

    Every iteration starts an ffmpeg of its own, so a reader can be run through several times, also at once.
    Variable frame rates become constant: frames are repeated or dropped, so that frame ``n`` is what is seen
    at ``n / fps`` seconds and sound stays in step. If the picture starts later than the sound, the first
    frame is held. Anamorphic pixels are made square.

    Attributes:
        path: the file.
        width, height: pixels, upright (after the rotation that phones record).
        fps: exact, 30000/1001 for "29.97"; another one than the file's if that was asked for.
        duration: seconds, of the longest stream; None if the file does not tell (raw streams, some GIFs).
        frame_count_estimate: ``duration * fps``; None if the duration is unknown. Sound that is longer than
            the picture makes it too large.
        has_audio: whether there is a sound track.
    """

    def __init__(self, path: str | os.PathLike[str], fps: Fraction | None = None) -> None:
        """Read the header and one frame.

        Args:
            path: the file.
            fps: the rate to resample to, by repeating or dropping frames; None is the file's own.

        Raises:
            UnreadableInputError: missing, empty, a folder, a photo, sound only, no video, frames too large.
            UsageError: no ffmpeg.
        """
        self.path = Path(path)
        read_head(self.path, "video")
        self._probe = probe(self.path)
        video = self._probe.video
        if self._probe.container.endswith("_pipe") or self._probe.container == "image2":
            raise UnreadableInputError(
                f"cannot read the video {path}: it is a photo; are photo and driving video swapped?"
            )
        if self._probe.container == "tty":  # ffmpeg would play the letters of a text file
            raise UnreadableInputError(f"cannot read the video {path}: it is a text; name a video")
        if video is None:
            raise UnreadableInputError(
                f"cannot read the video {path}: {self._probe.complaint}; name another or convert it to MP4"
            )
        self.width, self.height, self.fps = video.width, video.height, fps or video.fps
        self.duration = self._probe.duration
        self.has_audio = self._probe.audio is not None
        self._running: set[subprocess.Popen[bytes]] = set()

    @property
    def frame_count_estimate(self) -> int | None:
        """Frames to expect, at least 1; None if unknown."""
        return None if self.duration is None else max(1, round(self.duration * self.fps))

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End iterations that are still under way."""
        for process in tuple(self._running):  # iterations in other threads take theirs out meanwhile
            self._running.discard(process)
            stop(process)

    def __iter__(self) -> Iterator[Image]:
        """All frames: uint8 RGB (H, W, 3) in [0, 255], each an array of its own.

        A video that breaks off gives the frames up to there, and a warning in the log.

        Raises:
            UnreadableInputError: not one frame could be decoded.
        """
        return self._decode(step=1)

    def sample(self, per_second: float) -> Iterator[tuple[int, Image]]:
        """About ``per_second`` frames a second, evenly spaced, as (index among all frames, frame).

        ffmpeg drops the others before conversion, so they cost decoding only.

        Raises:
            ValueError: ``per_second`` is not positive.
            UnreadableInputError: not one frame could be decoded.
        """
        step = sample_step(self.fps, per_second)
        return _numbered(self._decode(step), step)

    def _decode(self, step: int) -> Generator[Image, None, None]:
        shape = (self.height, self.width, 3)
        count = 0
        with tempfile.TemporaryFile() as stderr:  # a file, not a pipe: complaints can never fill it up
            process = spawn(self._arguments(step), stdout=subprocess.PIPE, stderr=stderr)
            self._running.add(process)
            try:
                assert isinstance(process.stdout, io.BufferedReader)
                while True:
                    frame = np.empty(shape, dtype=np.uint8)
                    if _read_into(process.stdout, frame) < frame.nbytes:
                        break  # the end; half a frame is none
                    count += 1
                    yield frame
                if process not in self._running:
                    return  # close() ended it
                process.wait()
            finally:
                stop(process)
                self._running.discard(process)
            self._judge_end(count, step, process.returncode, last_words(stderr))

    def _arguments(self, step: int) -> list[str]:
        # Sound and picture share a clock: if the picture starts late, it is held from time 0 on. With a
        # single stream the first frame is time 0 whatever its stamp; for AVI, which has none, ffmpeg guesses.
        start = ":start_time=0" if self._probe.streams > 1 else ""
        filters = [
            f"fps={self.fps}{start}",
            *([f"framestep={step}"] if step > 1 else []),
            f"scale={self.width}:{self.height}:flags={SCALE_FLAGS}",  # fixed: sizes may change in mid-stream
            "format=rgb24",
        ]
        return [
            *("-loglevel", "error"),
            *input_arguments(self.path),
            *("-map", "0:V:0"),
            *("-vf", ",".join(filters)),
            *("-f", "rawvideo"),
            "-",
        ]

    def _judge_end(self, count: int, step: int, code: int, words: str) -> None:
        if count == 0:
            raise UnreadableInputError(
                f"cannot read the video {self.path}: no frame can be decoded ({words or 'no reason given'}); "
                "convert it to MP4 first"
            )
        expected = (self.frame_count_estimate or 0) // step
        if code != 0 or (words and count < 0.98 * expected):
            logger.warning(
                "%s breaks off after %d frames (%s); these are kept", self.path, count * step, words or code
            )


def sample_step(fps: Fraction, per_second: float) -> int:
    """Distance in frames of samples taken ``per_second`` times a second."""
    if per_second <= 0:
        raise ValueError(f"per_second is positive, not {per_second}")
    return max(1, round(fps / Fraction(per_second)))


def _numbered(frames: Generator[Image, None, None], step: int) -> Iterator[tuple[int, Image]]:
    with contextlib.closing(frames):  # an abandoned sample() ends ffmpeg at once, not when it is collected
        for number, frame in enumerate(frames):
            yield number * step, frame


def _read_into(pipe: io.BufferedReader, frame: Image) -> int:
    """Bytes read: those of a frame, or fewer at the end."""
    try:
        return pipe.readinto(frame.data.cast("B"))
    except ValueError:  # closed under our hands by VideoReader.close()
        return 0
