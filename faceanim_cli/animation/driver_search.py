"""Looks through a driving video for cuts and for the face between them; for that no torch is needed.

Nothing of it waits for the networks: it may begin before torch is loaded, and go on beside that.
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.errors import UsageError
from faceanim_cli.faces import (
    LYING,
    Box,
    DriverScan,
    FaceDetector,
    Framing,
    SearchedPhoto,
    scan_driver,
)
from faceanim_cli.faces.shots import SCAN_SIDE
from faceanim_cli.media import FrameSource, open_video, playable_rate
from faceanim_cli.pictures import Image

logger = logging.getLogger(__name__)

Crop: TypeAlias = Literal["auto"] | Framing | tuple[float, float, float, float] | None
"""Where a face is: found, found and framed otherwise, x,y,w,h in pixels, or in the whole picture."""

DETECTIONS_PER_SECOND = 3.0  # a head moves little in a third of a second, and Viola-Jones is not free


@dataclass(frozen=True)
class Excerpt:
    """The part of a driver that is taken, in seconds.

    Raises:
        UsageError: a start before 0, or nothing to take.
    """

    start: float = 0.0
    duration: float | None = None
    """None is all that follows."""

    def __post_init__(self) -> None:
        if not 0 <= self.start < math.inf:
            raise UsageError(f"a start of {self.start:g} s: give 0 or more")
        if self.duration is not None and not 0 < self.duration < math.inf:
            raise UsageError(f"an excerpt of {self.duration:g} s holds nothing: give an end after the start")

    @classmethod
    def between(cls, start: float | None, end: float | None, duration: float | None = None) -> "Excerpt":
        """From seconds to seconds, or for so many; None is the driver's own begin or end.

        Raises:
            UsageError: an end and a duration, or as the class.
        """
        if end is not None and duration is not None:
            raise UsageError("an end and a duration say the same: give one of them")
        start = start or 0.0
        return cls(start, duration if end is None else end - start)


class DriverSearch:
    """A driving video, and the search for its cuts and for the face between them.

    Args:
        open_turned: opens it at the rate of the result, so many quarter turns clockwise.
        crop: of the face; there is a search only if it is to be found.
        face: follow this one, counted from 1, left to right; None is the main one.
        looking: called for each frame in which the face is looked for; what it raises ends the search.

    Attributes:
        video: as the search left it: upright.

    Raises:
        UnreadableInputError: it cannot be read.
    """

    def __init__(
        self,
        open_turned: Callable[[int], FrameSource],
        crop: Crop = "auto",
        face: int | None = None,
        looking: Callable[[], None] = lambda: None,
    ) -> None:
        self._open_turned, self.crop, self._face, self.looking = open_turned, crop, face, looking
        self.video = open_turned(0)
        self._begun: Iterator[DriverScan] | None = None

    def begin(self, pipeline: Pipeline) -> None:
        """Search from now on in a thread of the pipeline, which ends soon after the pipeline's block."""
        if self.crop is not None and not isinstance(self.crop, tuple):
            self._begun = pipeline.stage("search", self._scans(pipeline))

    def scan(self, pipeline: Pipeline) -> DriverScan:
        """What the search finds; it is waited for if it has begun, and made if not.

        Raises:
            NoFaceError: there is no face. UsageError: there is none of that number.
            UnreadableInputError: there are no frames.
        """
        return next(self._scans(pipeline) if self._begun is None else self._begun)

    def close(self) -> None:
        """Let go of the file."""
        self.video.close()

    def _scans(self, pipeline: Pipeline) -> Iterator[DriverScan]:
        """One."""
        scan = self._scan(pipeline, turnable=True)
        if scan.turn:
            self.video.close()
            self.video = self._open_turned(scan.turn)
            path = self.video.path
            logger.warning("%s: %s; it is turned by %d degrees", path, LYING[scan.turn], 90 * scan.turn)
            scan = self._scan(pipeline, turnable=False)
        yield scan

    def _scan(self, pipeline: Pipeline, *, turnable: bool) -> DriverScan:
        def watched() -> Iterator[Image]:
            for frame in pipeline.stage("scan", self.video.scan(SCAN_SIDE)):
                self.looking()
                yield frame

        return scan_driver(
            watched(),
            (self.video.width, self.video.height),
            self.video.fps,
            _EndingDetector(pipeline),
            per_second=DETECTIONS_PER_SECOND,
            name=str(self.video.path),
            number=self._face,
            turnable=turnable,
        )


class _EndingDetector(FaceDetector):
    """Searches no more when the pipeline is over: one frame may take a third of a second."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self._pipeline = pipeline

    def detect_with_votes(
        self, image: Image, *, thorough: bool = False, quick: bool = False
    ) -> list[tuple[Box, int]]:
        self._pipeline.check()
        return super().detect_with_votes(image, thorough=thorough, quick=quick)


class FaceSearch(NamedTuple):
    """What was begun before the networks were loaded."""

    photo: SearchedPhoto | None = None
    """None where a crop by hand says where the face is."""
    driver: DriverSearch | None = None
    """None where the driver is a motion."""


def crop_of_driver(photo_crop: Crop, driver_crop: Crop) -> Crop:
    """The driver's crop: one that is not told is that of a photo taken whole, for both are framed alike."""
    return None if photo_crop is None and driver_crop == "auto" else driver_crop


def open_driver(
    driver: Path, output: Path, fps: Fraction | None, excerpt: Excerpt, turn: int = 0
) -> FrameSource:
    """A driving video, or a folder of frames, at a rate that the result's kind of file can play.

    Args:
        driver: its path.
        output: that of the result.
        fps: the rate that was asked for; None is the driver's own.
        excerpt: the part to take.
        turn: quarter turns clockwise.

    Raises:
        UnreadableInputError: it cannot be read. UsageError: the excerpt lies beyond its end.
    """
    video = open_excerpt(driver, fps, excerpt, turn)
    rate = playable_rate(output, video.fps)
    if rate == video.fps:
        return video
    if not turn:
        logger.warning(
            "%s: such a file cannot play %g frames per second; it gets %g", output, video.fps, float(rate)
        )
    video.close()
    return open_excerpt(driver, rate, excerpt, turn)


def open_excerpt(driver: Path, fps: Fraction | None, excerpt: Excerpt, turn: int = 0) -> FrameSource:
    """The same at any rate."""
    return open_video(driver, fps, start=excerpt.start, duration=excerpt.duration, turn=turn)
