"""The base class of driving videos: files, folders of frames, stacked frames."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TypeAlias, TypeVar

import cv2
import numpy as np

from faceanim_cli.errors import UsageError
from faceanim_cli.pictures import Image

Crop: TypeAlias = tuple[int, int, int, int]
"""x, y, width, height in pixels of the frames as they are shown."""

Source = TypeVar("Source", bound="FrameSource")


class FrameSource(ABC):
    """Frames of a driver, decoded while they are asked for, as often as they are asked for.

    Attributes:
        path: the file or folder.
        width, height: pixels of the frames as shown: upright, square, and turned if that was asked for.
        pixel_aspect: width of a stored pixel over its height, after rotation; 1 unless anamorphic.
        fps: exact, 30000/1001 for "29.97"; another one than the file's if that was asked for.
        start: seconds into the file at which frame 0 lies.
        duration: seconds, of the longest stream; None if the file does not tell (raw streams, some GIFs).
        has_audio: whether there is a sound track.
    """

    path: Path
    width: int
    height: int
    pixel_aspect: Fraction
    fps: Fraction
    start: float
    duration: float | None
    has_audio: bool

    @property
    def frame_count_estimate(self) -> int | None:
        """``duration * fps``, at least 1; None if unknown. Too large where sound outlasts the picture."""
        return None if self.duration is None else max(1, round(self.duration * self.fps))

    def __iter__(self) -> Iterator[Image]:
        """All frames, whole."""
        return self.frames()

    @abstractmethod
    def frames(self, crop: Crop | None = None, *, step: int = 1) -> Generator[Image, None, None]:
        """Every frame: uint8 RGB (H, W, 3) in [0, 255], each an array of its own.

        Args:
            crop: the part to keep; what lies outside is never held. None is the whole frame.
            step: only every so-manieth frame, from the first.

        Raises:
            ValueError: the crop leaves the frame.
            UnreadableInputError: not one frame could be decoded, or a frame of a folder is damaged.
        """

    @abstractmethod
    def scan(self, longest_side: int) -> Generator[Image, None, None]:
        """Every frame as grey, uint8 (h, w), made smaller, never larger, until its longer side is that long.

        Args:
            longest_side: pixels.
        """

    def sample(self, per_second: float) -> Iterator[tuple[int, Image]]:
        """About ``per_second`` frames a second, evenly spaced, as (index among all frames, frame).

        Raises:
            ValueError: ``per_second`` is not positive.
            UnreadableInputError: as ``frames``.
        """
        step = sample_step(self.fps, per_second)
        return _numbered(self.frames(step=step), step)

    def close(self) -> None:  # noqa: B027
        """End iterations that are still under way."""

    def __enter__(self: Source) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_crop(self, crop: Crop | None) -> None:
        if crop is None:
            return
        x, y, width, height = crop
        if min(x, y) < 0 or min(width, height) < 1 or x + width > self.width or y + height > self.height:
            raise ValueError(f"the crop {crop} leaves the frame of {self.width}x{self.height}")


class StoredFrames(FrameSource):
    """Frames that are stored one by one, and so can be read in any order; silent.

    Args:
        path: the file or folder.
        stored: (width, height) of the stored frames, pixels.
        count: how many are stored.
        fps: frames per second that they are played at.
        start, duration, turn: as of ``open_video``.
    """

    def __init__(
        self,
        path: Path,
        stored: tuple[int, int],
        count: int,
        fps: Fraction,
        *,
        start: float = 0.0,
        duration: float | None = None,
        turn: int = 0,
    ) -> None:
        self.path, self.fps, self.start = path, fps, start
        self.width, self.height = stored if turn % 2 == 0 else stored[::-1]
        self.pixel_aspect = Fraction(1)
        self.has_audio = False
        self._turn = turn
        first, limit = excerpt(fps, start, duration)
        self._indices = range(count)[first : None if limit is None else first + limit]
        if not self._indices:
            raise beyond_the_end(path, start, float(count / fps))
        self.duration = float(len(self._indices) / fps)

    @abstractmethod
    def _read(self, index: int) -> Image:
        """A stored frame: uint8 RGB, as it lies."""

    def frames(self, crop: Crop | None = None, *, step: int = 1) -> Generator[Image, None, None]:
        """As ``FrameSource.frames``; the frames between are not opened."""
        self._check_crop(crop)
        return self._shown(crop, step)

    def _shown(self, crop: Crop | None, step: int) -> Generator[Image, None, None]:
        x, y, width, height = crop or (0, 0, self.width, self.height)
        for index in self._indices[::step]:
            turned = np.rot90(self._read(index), -self._turn)
            yield turned[y : y + height, x : x + width].copy()

    def scan(self, longest_side: int) -> Generator[Image, None, None]:
        """As ``FrameSource.scan``."""
        size = fitted(self.width, self.height, longest_side)
        for frame in self.frames():
            small = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
            yield np.asarray(small, np.uint8)


def excerpt(fps: Fraction, start: float, duration: float | None) -> tuple[int, int | None]:
    """From seconds to frames: the first one, and how many at most; None is no limit.

    Raises:
        ValueError: a time is negative, or the duration is 0.
    """
    if start < 0 or (duration is not None and duration <= 0):
        raise ValueError(f"start is 0 or more and duration is positive, not {start} and {duration}")
    limit = None if duration is None else max(1, round(Fraction(duration) * fps))
    return round(Fraction(start) * fps), limit


def beyond_the_end(path: Path, start: float, seconds: float) -> UsageError:
    """For an excerpt that would hold no frame."""
    return UsageError(f"{path}: a start of {start:g} s lies beyond its end; it is {seconds:.2f} s long")


def fitted(width: int, height: int, longest_side: int) -> tuple[int, int]:
    """(width, height) made smaller, never larger, until the longer side is ``longest_side``; at least 1."""
    scale = min(1.0, longest_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def sample_step(fps: Fraction, per_second: float) -> int:
    """Distance in frames of samples taken ``per_second`` times a second."""
    if per_second <= 0:
        raise ValueError(f"per_second is positive, not {per_second}")
    return max(1, round(fps / Fraction(per_second)))


def _numbered(frames: Generator[Image, None, None], step: int) -> Iterator[tuple[int, Image]]:
    with contextlib.closing(frames):  # an abandoned sample() ends ffmpeg at once, not when it is collected
        for number, frame in enumerate(frames):
            yield number * step, frame
