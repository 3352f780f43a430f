"""What metrics look at: frames of a result beside the driving frames, and what networks see in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from faceanim_cli.data.landmarks import Anchors, anchored_keypoints
from faceanim_cli.faces import FaceDetector
from faceanim_cli.image_metrics import Flow, Picture, as_bytes, flow_from_before
from faceanim_cli.pictures import Image, Points

Embeddings: TypeAlias = npt.NDArray[np.floating[Any]]  # (N, D)
Embed: TypeAlias = Callable[[list[Image]], Embeddings]
Distance: TypeAlias = Callable[[list[Picture], list[Picture]], list[float]]


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
