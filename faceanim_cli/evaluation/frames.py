"""Frames of a clip as they are scored: every n-th, framed, brought to one size, with their landmarks.

And what metrics look at: frames of a result beside the driving frames, and what networks see in them.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from faceanim_cli.data.data_folder import ARRAY_SUFFIX, ClipFile
from faceanim_cli.data.landmarks import Anchors, anchored_keypoints, read_landmarks
from faceanim_cli.data.stacked_frames import open_frames
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.faces import Box, FaceDetector, crop_image, crop_transform, track_face, transform_points
from faceanim_cli.image_metrics import Flow, Picture, as_bytes, flow_from_before
from faceanim_cli.media.frame_folder import DEFAULT_FPS
from faceanim_cli.media.frame_source import FrameSource, StoredFrames
from faceanim_cli.pictures import Image, Points

# A third of what animate looks at: for every tenth frame the networks are sooner done than that search. The
# crops of 27 clips differ from animate's by 0.3 % of their side (median), 4 % (worst).
DETECTIONS_PER_SECOND = 1.0

CropMode: TypeAlias = Literal["auto", "none"]
Embeddings: TypeAlias = npt.NDArray[np.floating[Any]]  # (N, D)
Embed: TypeAlias = Callable[[list[Image]], Embeddings]
Distance: TypeAlias = Callable[[list[Picture], list[Picture]], list[float]]


@dataclass(frozen=True)
class Frame:
    """A driving frame as it is scored."""

    label: str  # its number in the clip, or its name
    image: Picture  # (S, S, 3) RGB
    landmarks: Points | None = None  # (68, 2) in its pixels, NaN where no face was found; None: nobody looked
    predicted: Picture | None = None  # what another program made of it
    predicted_landmarks: Points | None = None  # as ``landmarks``
    follows: bool = True  # on the frame before, with no frame between them left out
    compared: bool = True  # False for a reference that nothing is compared with


@dataclass
class FramedClip:
    """A clip brought to S x S pixels.

    Args:
        clip: where it lies.
        size: S, pixels.
        crop: "auto" frames the face as ``faceanim animate`` frames a driver (one crop for the clip, around
            the tracked Viola-Jones boxes, though of fewer frames); "none" resizes whole frames to a square.

    Raises:
        UnreadableInputError: the clip or its landmarks. NoFaceError: "auto", and no face in it.
    """

    clip: ClipFile
    size: int
    crop: CropMode = "auto"
    box: Box | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._video = open_clip(self.clip.path)
        self.shape = (self._video.width, self._video.height)
        self._landmarks = (
            None
            if self.clip.landmarks is None
            else read_landmarks(self.clip.landmarks, self.shape, self._video.pixel_aspect)
        )
        if self.crop == "auto":
            samples = self._video.sample(DETECTIONS_PER_SECOND)
            track = track_face(((i, as_bytes(f)) for i, f in samples), _detector(), name=self.clip.name)
            self.box = track.clip_crop(self.shape)

    @property
    def frame_count_estimate(self) -> int | None:
        """Frames in the clip, if it tells."""
        return self._video.frame_count_estimate

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Frames 0, n, 2 n, ... as they are decoded."""
        for index, frame in self._video.sample(float(self._video.fps) / every):
            yield Frame(str(index), self._cut(as_bytes(frame)), self._landmarks_of(index))

    def _cut(self, frame: Image) -> Image:
        if self.box is not None:
            return crop_image(frame, self.box, self.size)
        return np.asarray(resized(frame, (self.size, self.size)), np.uint8)

    def _landmarks_of(self, index: int) -> Points | None:
        if self._landmarks is None:
            return None
        if self.box is None:
            return scaled_landmarks(self._landmarks, index, self.shape, (self.size, self.size))
        points = scaled_landmarks(self._landmarks, index, self.shape, self.shape)
        return transform_points(crop_transform(self.box, self.size), points)


_threads_own = threading.local()


def _detector() -> FaceDetector:
    """This thread's: loading the cascades takes as long as searching a frame."""
    if not hasattr(_threads_own, "detector"):
        _threads_own.detector = FaceDetector()
    found: FaceDetector = _threads_own.detector
    return found


class ArrayClip(StoredFrames):
    """An array of frames, memory-mapped: (N, H, W, 3), uint8, or float in [0, 1]. Silent, 25 frames a second.

    Raises:
        UnreadableInputError: not such an array.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UnreadableInputError(f"cannot read the frames of {path}: {error}") from error
        shape, kind = self._array.shape, self._array.dtype
        if len(shape) != 4 or shape[3] != 3 or 0 in shape or not (kind == np.uint8 or kind.kind == "f"):
            raise UnreadableInputError(
                f"cannot read the frames of {path}: {kind} {shape} instead of (N, H, W, 3), "
                "uint8 or float in [0, 1]"
            )
        super().__init__(path, (shape[2], shape[1]), len(self._array), DEFAULT_FPS)

    def _read(self, index: int) -> Picture:
        frame = self._array[index]
        return np.asarray(frame if frame.dtype == np.uint8 else frame.astype(np.float32))


def open_clip(path: Path) -> FrameSource:
    """A video, frames in a folder or side by side, or an array.

    Raises:
        UnreadableInputError: as ``open_frames`` and ``ArrayClip``.
    """
    if path.suffix.lower() == ARRAY_SUFFIX and path.is_file():
        return ArrayClip(path)
    return open_frames(path)


def scaled_landmarks(landmarks: Points, index: int, size: tuple[int, int], target: tuple[int, int]) -> Points:
    """The landmarks of a frame that was brought from ``size`` to ``target``; NaN beyond the last row."""
    if index >= len(landmarks):
        return np.full(landmarks.shape[1:], np.nan)
    return np.asarray((landmarks[index] + 0.5) * (np.array(target) / np.array(size)) - 0.5)


def resized(frame: Picture, size: tuple[int, int]) -> Any:
    """The whole frame at ``size`` (width, height): averaged where it shrinks, bicubic where it grows."""
    if (frame.shape[1], frame.shape[0]) == size:
        return frame
    shrinks = frame.shape[0] * frame.shape[1] > size[0] * size[1]
    picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return picture if frame.dtype == np.uint8 else np.clip(picture, 0, 1)


class LandmarkDetector(Protocol):
    """Finds facial landmarks, or keypoints that are anchored to them."""

    name: str
    path: Path  # its weights
    independent: bool  # not part of animation weights, which flatters these
    # The landmarks (0-67) of each point; empty: unknown points, good for distances only. Points beyond these
    # are the irises of the picture's left and right eye.
    anchors: Anchors

    def __call__(self, frames: list[Image]) -> Points:
        """(N, K, 2), x and y in pixels."""


@dataclass
class MetricNetworks:
    """Networks that some metrics need; None where no metric asked for it."""

    landmarks: LandmarkDetector | None = None
    identity: Embed | None = None
    lpips: Distance | None = None
    faces: FaceDetector = field(default_factory=FaceDetector)

    @property
    def anchors(self) -> Anchors:
        """What the detector's points are; empty when nobody knows."""
        return () if self.landmarks is None else self.landmarks.anchors


@dataclass
class FrameFeatures:
    """Frames, and what networks see in them: computed when the first metric asks for it, and once.

    Args:
        pictures: B frames.
        before: the frame before the first of them; None: there is none.
        landmarks: (B, 68, 2) in pixels from landmark files, NaN where no face was found; None: detect them.
    """

    pictures: Sequence[Picture]
    networks: MetricNetworks
    before: Picture | None = None
    landmarks: Points | None = None

    @cached_property
    def detected(self) -> Points:
        """(B, K, 2), all points that the landmark detector gives, in pixels."""
        assert self.networks.landmarks is not None  # loaded for the metrics that need it
        return self._of_each_different(self.networks.landmarks)

    @cached_property
    def keypoints(self) -> Points:
        """(B, K, 2), a point for each anchor: from landmark files where there are any, else detected."""
        anchors = self.networks.anchors
        if self.landmarks is not None and anchors:
            return anchored_keypoints(self.landmarks, anchors)
        return self.detected[:, : len(anchors)] if anchors else self.detected

    @cached_property
    def embeddings(self) -> Embeddings:
        """Identity embeddings (B, D)."""
        assert self.networks.identity is not None
        return self._of_each_different(self.networks.identity)

    @cached_property
    def has_face(self) -> npt.NDArray[np.bool_]:
        """(B,), whether Viola-Jones finds a face."""
        return self._of_each_different(lambda frames: np.array([*map(self.networks.faces.sees_face, frames)]))

    @property
    def steps(self) -> list[tuple[Picture, Picture]]:
        """Each frame that has one before it: the frame before, and it."""
        return list(pairwise(self.pictures if self.before is None else [self.before, *self.pictures]))

    @cached_property
    def flows(self) -> list[Flow]:
        """For each of ``steps``, the optical flow back to the frame before."""
        return [flow_from_before(before, frame) for before, frame in self.steps]

    def _of_each_different(self, network: Callable[[list[Image]], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """``network`` on the frames; a static result is one picture many times, and is looked at once."""
        different = {id(frame): frame for frame in self.pictures}
        place = {key: i for i, key in enumerate(different)}
        found = network([as_bytes(frame) for frame in different.values()])
        return found[[place[id(frame)] for frame in self.pictures]]


@dataclass
class Batch:
    """Some frames of one result.

    Attributes:
        source: the photo, a single frame.
        reference: the driver's frame that its motion counts from, a single one.
        driving: B driving frames; where there is a ground truth, they are it.
        results: what became of the photo, B frames.
    """

    source: FrameFeatures
    reference: FrameFeatures
    driving: FrameFeatures
    results: FrameFeatures

    @property
    def networks(self) -> MetricNetworks:
        """The networks that the metrics share."""
        return self.results.networks

    @property
    def pairs(self) -> list[tuple[Picture, Picture]]:
        """Each result and its ground truth."""
        return list(zip(self.results.pictures, self.driving.pictures, strict=True))
