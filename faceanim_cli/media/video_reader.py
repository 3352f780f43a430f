"""Reads videos as streams of frames: any container and rotation, a constant rate, constant memory."""

import io
import logging
import os
import subprocess
from collections.abc import Generator
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media.ffmpeg import Stderr, has_filter, input_arguments, last_words, spawn, stop
from faceanim_cli.media.frame_source import Crop, FrameSource, beyond_the_end, excerpt, fitted
from faceanim_cli.media.probe import probe
from faceanim_cli.media.video_filters import (
    SCALE_FLAGS,
    colour_filters,
    crop_filters,
    rate_filters,
    turn_filters,
    unturned,
)
from faceanim_cli.pictures import Image

logger = logging.getLogger(__name__)

# Containers with an index, which can be entered at any frame; others are decoded from the beginning.
SEEKABLE = ("mov", "matroska")
SEEK_MARGIN = 2  # seconds decoded before an excerpt, to know which frame is held at its beginning


class VideoReader(FrameSource):
    """Frames of a video file, decoded by ffmpeg while they are asked for.

    Every iteration starts an ffmpeg of its own, so a reader can be run through several times, also at once.
    The default track is shown, of several pictures the largest. Variable frame rates become constant: frames
    are repeated or dropped, so that frame ``n`` is what is seen at ``n / fps`` seconds and sound stays in
    step. If the picture starts later than the sound, the first frame is held. Anamorphic pixels are made
    square, interlaced frames are deinterlaced, HDR is tone-mapped to what SDR displays show.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction | None = None,
        *,
        start: float = 0.0,
        duration: float | None = None,
        turn: int = 0,
    ) -> None:
        """Read the header and one frame.

        Args:
            path: the file.
            fps: the rate to resample to, by repeating or dropping frames; None is the file's own.
            start, duration, turn: as of ``open_video``.

        Raises:
            UnreadableInputError: missing, empty, a folder, a photo, sound only, no video, frames too large.
            UsageError: no ffmpeg, or ``start`` lies beyond the end.
        """
        self.path = Path(path)
        self._probe = probe(self.path)
        if self._probe.video is None:
            raise UnreadableInputError(
                f"cannot read the video {path}: {self._probe.complaint}; name another or convert it to MP4"
            )
        self._video = self._probe.video
        self._turn = turn
        self._upright = (self._video.width, self._video.height)
        self.width, self.height = self._upright if turn % 2 == 0 else self._upright[::-1]
        self.pixel_aspect = self._video.pixel_aspect
        self.fps = fps or self._video.fps
        self._first, self._limit = excerpt(self.fps, start, duration)
        self.start, self.duration = start, self._probe.duration
        if self.duration is not None:
            if start and self._first >= self.duration * self.fps:
                raise beyond_the_end(self.path, start, self.duration)
            rest = self.duration - start
            self.duration = rest if self._limit is None else min(rest, float(self._limit / self.fps))
        self.has_audio = self._probe.audio is not None
        self._begin, self._to_sdr = colour_filters(self._video.colours, self._upright)
        if self._to_sdr and not has_filter("zscale"):
            logger.warning(
                "%s: its colours are HDR or of a wide gamut and look pale, as this ffmpeg lacks zscale; "
                "pip install -U imageio-ffmpeg",
                self.path,
            )
            self._to_sdr = []
        self._running: set[subprocess.Popen[bytes]] = set()

    def close(self) -> None:
        """End iterations that are still under way."""
        for process in tuple(self._running):  # iterations in other threads take theirs out meanwhile
            self._running.discard(process)
            stop(process)

    def frames(self, crop: Crop | None = None, *, step: int = 1) -> Generator[Image, None, None]:
        """As ``FrameSource.frames``. ffmpeg drops the frames between before it converts them.

        A video that breaks off gives the frames up to there, and a warning in the log.
        """
        self._check_crop(crop)
        before, after = crop_filters(unturned(crop, self._upright, self._turn), self._upright)
        width, height = self._upright
        filters = [
            f"scale={width}:{height}:flags={SCALE_FLAGS}",  # fixed: sizes may change in mid-stream
            *before,
            *self._to_sdr,
            *([f"scale=flags={SCALE_FLAGS}"] if before or self._to_sdr else []),
            "format=gbrp",  # planes of RGB: the same bytes as from YUV to RGB at once, in half the time
            *after,
            *turn_filters(self._turn),
            "format=rgb24",
        ]
        shape = (self.height, self.width, 3) if crop is None else (crop[3], crop[2], 3)
        return self._decode(shape, filters, step)

    def scan(self, longest_side: int) -> Generator[Image, None, None]:
        """As ``FrameSource.scan``."""
        width, height = fitted(*self._upright, longest_side)
        filters = [
            f"scale={width}:{height}:flags=area",
            *self._to_sdr,
            "format=gray",
            *turn_filters(self._turn),
        ]
        shape = (height, width) if self._turn % 2 == 0 else (width, height)
        return self._decode(shape, filters, step=1)

    def _decode(self, shape: tuple[int, ...], filters: list[str], step: int) -> Generator[Image, None, None]:
        count = 0
        arguments = self._arguments(filters, step)
        process = spawn(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            stderr = Stderr(process)
            self._running.add(process)
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
        self._judge_end(count, step, process.returncode, last_words(stderr.text()))

    def _arguments(self, filters: list[str], step: int) -> list[str]:
        skipped = max(0, self._first - ceil(SEEK_MARGIN * self.fps))
        if not self._probe.container.startswith(SEEKABLE):
            skipped = 0
        # Sound and picture share a clock: if the picture starts late, it is held from time 0 on. With a
        # single stream the first frame is time 0 whatever its stamp; for AVI, which has none, ffmpeg guesses.
        from_zero = self._probe.streams > 1 or skipped > 0
        rate = rate_filters(self.fps, from_zero, step, self._first - skipped, self._limit)
        count = () if self._limit is None else ("-frames:v", str(ceil(self._limit / step)))
        return [
            *("-loglevel", "error"),
            *(("-ss", f"{float(skipped / self.fps):.6f}") if skipped else ()),
            *input_arguments(self.path),
            *("-map", f"0:{self._video.index}"),
            *("-vf", ",".join([*self._begin, *rate, *filters])),
            *("-r", str(self.fps / step)),  # as the filters make it; ffmpeg 7.0 loses it on the way
            *count,
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


def _read_into(pipe: io.BufferedReader, frame: Image) -> int:
    """Bytes read: those of a frame, or fewer at the end."""
    try:
        return pipe.readinto(frame.data.cast("B"))
    except ValueError:  # closed under our hands by VideoReader.close()
        return 0
