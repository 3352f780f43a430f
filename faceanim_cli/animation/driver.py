"""What drives an animation: a video's face, framed for the networks, frame after frame."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import torch

from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.faces import Box, FaceDetector, FaceTrack, crop_image, square_crop, track_face
from faceanim_cli.media import FrameSource
from faceanim_cli.pictures import Image
from faceanim_models import Keypoints

Crop: TypeAlias = Literal["auto"] | tuple[float, float, float, float] | None
Panel: TypeAlias = Callable[[Image, Box | None], Image | None]
"""Makes of a frame and its crop what is shown of it beside the result."""

logger = logging.getLogger(__name__)

DETECTIONS_PER_SECOND = 3.0  # a head moves little in a third of a second, and Viola-Jones is not free
# Frames that relative motion may count from: faces change slowly enough for a good one to be among them, and
# a search over half a minute is as good as one over an hour.
CANDIDATES_PER_SECOND, MOST_CANDIDATES = 3.0, 90
NEAR = 0.5  # seconds to a frame in which the face was found

LOOK_AHEAD = 25  # frames that are waited for to frame a driver whose crop is not told
LOOK_EVERY = 6  # of these, every 6th is searched for a face
ANY_SIZE = (2**31, 2**31)  # of frames, where none has been seen: a crop by hand may lie anywhere


class Driver(Protocol):
    """What ``animate_file`` needs of a video, and of a motion file.

    Attributes:
        path: for messages.
        fps: frames per second, exact.
        frame_count_estimate: frames to expect; None if unknown.
        size: (width, height) of its frames.
        sound: a file with its sound; None for none.
        missed: sampled frames in which no face was found.
    """

    path: Path
    fps: Fraction
    frame_count_estimate: int | None
    size: tuple[int, int]
    sound: Path | None
    missed: int

    def candidates(self, wanted: int | None) -> tuple[list[int], Keypoints | None]:
        """Frames that relative motion may count from: their numbers, and points (N, K, 2).

        Args:
            wanted: this one alone.

        Raises:
            UsageError: there is no such frame.
        """

    def motion(self, pipeline: Pipeline, panel: Panel) -> Iterator[Keypoints]:
        """The keypoints of all frames, in batches; ``panel`` is asked for each frame, if there are frames."""

    def next_panel(self) -> Image | None:
        """What ``panel`` made of the next frame."""


class VideoDriver:
    """A driving video with the face in it; see ``Driver``.

    Args:
        video: opened at the rate of the result.
        crop: of the face; "auto" finds it, None takes frames whole.
        detect: keypoints of framed frames, in batches: ``Animator.detect``.
        side: of the frames that it is given, pixels.
        pipeline: for what runs beside other work.

    Raises:
        NoFaceError: "auto", and no face. UsageError: a crop that does not touch the frames.
        UnreadableInputError: not one frame can be decoded.
    """

    def __init__(
        self,
        video: FrameSource,
        crop: Crop,
        detect: Callable[..., Iterator[Keypoints]],
        side: int,
        pipeline: Pipeline,
    ) -> None:
        self.path, self.fps, self.size = video.path, video.fps, (video.width, video.height)
        self.frame_count_estimate = video.frame_count_estimate
        self.sound = video.path if video.has_audio else None
        self._video, self._detect, self._side = video, detect, side
        self._track: FaceTrack | None = None
        self.crop: Box | None = None
        if crop == "auto":
            samples = pipeline.stage("sample", video.sample(DETECTIONS_PER_SECOND))
            self._track = track_face(samples, FaceDetector(), name=str(video.path))
            self.crop = self._track.clip_crop(self.size)
        elif crop is not None:
            self.crop = square_crop(Box(*crop), self.size)
        self.missed = 0 if self._track is None else self._track.misses
        self._panels: deque[Image | None] = deque()
        logger.info("%s: %d x %d, %s fps, crop %s", self.path, *self.size, self.fps, self.crop)

    def first_frame(self) -> Image:
        """The whole first frame."""
        frame = next(iter(self._video), None)
        if frame is None:
            raise UnreadableInputError(f"cannot read the video {self.path}: there is no whole frame in it")
        return frame

    def candidates(self, wanted: int | None) -> tuple[list[int], Keypoints | None]:
        """See ``Driver``. Frames far from any in which the face was found are passed over."""
        numbers: list[int] = []
        found = list(self._detect_framed(self._numbered(wanted), lambda number, _: numbers.append(number)))
        if not found:
            return [], None
        turns = [batch.jacobians for batch in found if batch.jacobians is not None]
        points = torch.cat([batch.points for batch in found])
        return numbers, Keypoints(points, torch.cat(turns) if turns else None)

    def motion(self, pipeline: Pipeline, panel: Panel) -> Iterator[Keypoints]:
        """See ``Driver``. Frames are cropped as they are decoded; nothing else of them is kept."""

        def keep_panel(_: int, frame: Image) -> None:
            self._panels.append(panel(frame, self.crop))

        return self._detect_framed(enumerate(self._video), keep_panel, pipeline)

    def next_panel(self) -> Image | None:
        """See ``Driver``; another thread may be adding some."""
        return self._panels.popleft()

    def _detect_framed(
        self,
        frames: Iterable[tuple[int, Image]],
        told: Callable[[int, Image], None],
        pipeline: Pipeline | None = None,
    ) -> Iterator[Keypoints]:
        """Keypoints of numbered frames; ``told`` is called for each before it is cropped."""
        boxes: deque[Box] = deque()
        hints = None if self._track is None else iter(boxes.popleft, None)

        def framed() -> Iterator[Image]:
            for number, frame in frames:
                told(number, frame)
                if self._track is not None and self.crop is not None:
                    boxes.append(self._track.box_at(number).within(self.crop, self._side))
                yield crop_image(frame, self.crop, self._side)

        crops = framed() if pipeline is None else pipeline.stage("decode", framed())
        return self._detect(crops, crop=None, faces=hints)

    def _numbered(self, wanted: int | None) -> Iterator[tuple[int, Image]]:
        if wanted is not None:
            frame = next(islice(self._video, wanted, None), None)
            if frame is None:
                raise UsageError(f"{self.path}: has no frame {wanted}; give --start-frame a smaller number")
            yield wanted, frame
            return
        rate = min(CANDIDATES_PER_SECOND, MOST_CANDIDATES / max(self._video.duration or 0.0, 1.0))
        reach = NEAR * float(self.fps)
        for number, frame in self._video.sample(rate):
            if self._track is None or min(abs(number - index) for index in self._track.indices) <= reach:
                yield number, frame


def crop_driver(
    frames: Iterator[Image], crop: Crop | Box, detector: FaceDetector
) -> tuple[Box | None, Iterator[Image]]:
    """The crop of a driver, and all of its frames: some of them may have been looked at.

    Args:
        frames: uint8 RGB (H, W, 3), all of one size.
        crop: "auto" finds the face in the first second; (x, y, w, h) in pixels is made a square, a ``Box`` is
            taken as it is; None is the whole frame.
        detector: searches.

    Returns:
        The crop in pixels, None for whole frames; and the frames.

    Raises:
        NoFaceError: "auto", and no face in the first second.
    """
    if crop is None or isinstance(crop, Box):
        return crop, frames
    if crop != "auto":
        return square_crop(Box(*crop), ANY_SIZE), frames
    ahead = list(islice(frames, LOOK_AHEAD))
    if not ahead:
        return None, frames
    samples = ((index, ahead[index]) for index in range(0, len(ahead), LOOK_EVERY))
    size = (ahead[0].shape[1], ahead[0].shape[0])
    return track_face(samples, detector).clip_crop(size), chain(ahead, frames)
