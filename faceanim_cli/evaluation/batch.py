"""What metrics look at: a few frames of a result beside what they should be, and what several metrics share.

Landmarks, flow and embeddings are computed when the first metric asks, and once: those of the driving frames
serve all results that are scored beside each other.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from faceanim_cli.data.landmarks import Anchors, anchored_keypoints
from faceanim_cli.errors import UsageError
from faceanim_cli.evaluation.flicker import Flow, flow_from_before
from faceanim_cli.evaluation.pictures import Picture, as_bytes
from faceanim_cli.faces import FaceDetector
from faceanim_cli.pictures import Image, Points

Embed: TypeAlias = Callable[[list[Image]], npt.NDArray[np.floating[Any]]]  # frames to (N, D)
Distance: TypeAlias = Callable[[list[Picture], list[Picture]], list[float]]


def distinct(frames: list[Picture]) -> tuple[list[Picture], list[int]]:
    """Frames without those that are the same object as an earlier one, and the place of each among them.

    A static result is one picture many times: detectors need not look at it again and again.
    """
    places: dict[int, int] = {}
    for frame in frames:
        places.setdefault(id(frame), len(places))
    first = {places[id(frame)]: frame for frame in reversed(frames)}
    return [first[place] for place in range(len(first))], [places[id(frame)] for frame in frames]


class LandmarkDetector(Protocol):
    """Finds facial landmarks, or keypoints that are anchored to them."""

    name: str
    path: Path  # its weights
    anchors: Anchors  # the landmarks (0-67) of each point; empty: unknown points, good for distances only

    def __call__(self, frames: list[Image]) -> Points:
        """(N, K, 2), x and y in pixels."""


@dataclass
class Tools:
    """Networks that some metrics need; None where no metric asked for it."""

    landmarks: LandmarkDetector | None = None
    identity: Embed | None = None
    lpips: Distance | None = None
    faces: FaceDetector = field(default_factory=FaceDetector)

    def keypoints(self, frames: list[Picture]) -> Points:
        """Points (N, K, 2) in pixels of the frames."""
        if self.landmarks is None:
            raise UsageError("this metric needs a landmark detector")
        different, places = distinct(frames)
        return self.landmarks([as_bytes(frame) for frame in different])[places]

    def embeddings(self, frames: list[Picture]) -> npt.NDArray[np.floating[Any]]:
        """Identity embeddings (N, D)."""
        if self.identity is None:
            raise UsageError("csim needs --identity-model FILE, a TorchScript face recognition network")
        different, places = distinct(frames)
        return self.identity([as_bytes(frame) for frame in different])[places]

    @property
    def anchors(self) -> Anchors:
        """What the detector's points are; empty when nobody knows."""
        return () if self.landmarks is None else self.landmarks.anchors


@dataclass
class Scene:
    """What stays the same through a clip: the photo, and the driver's frame that its motion counts from."""

    source: Picture
    reference: Picture
    tools: Tools
    reference_landmarks: Points | None = None  # (68, 2)

    @cached_property
    def source_keypoints(self) -> Points:
        """(K, 2) of the photo."""
        if self.source is self.reference:
            return self.reference_keypoints
        return np.asarray(self.tools.keypoints([self.source])[0])

    @cached_property
    def reference_keypoints(self) -> Points:
        """(K, 2) of the driver's reference frame: from landmark files where they tell."""
        if (
            self.reference_landmarks is not None
            and np.isfinite(self.reference_landmarks).all()
            and self.tools.anchors
        ):
            return anchored_keypoints(self.reference_landmarks, self.tools.anchors)
        return np.asarray(self.tools.keypoints([self.reference])[0])

    @cached_property
    def source_embedding(self) -> npt.NDArray[np.floating[Any]]:
        """(D,) of the photo."""
        return np.asarray(self.tools.embeddings([self.source])[0])


@dataclass
class Driving:
    """Driving frames of a scene: where there is a ground truth, they are it."""

    scene: Scene
    frames: list[Picture]
    before: Picture | None  # the frame before the first of these; None: there is none
    landmarks: Points | None = None  # (B, 68, 2) in pixels, NaN where no face was found

    @cached_property
    def keypoints(self) -> Points:
        """(B, K, 2): from landmark files where there are any, NaN where these have no face; else detected."""
        if self.landmarks is not None and self.scene.tools.anchors:
            return anchored_keypoints(self.landmarks, self.scene.tools.anchors)
        return self.scene.tools.keypoints(self.frames)

    @cached_property
    def flows(self) -> list[Flow | None]:
        """From each frame back to the one before it."""
        known = [flow_from_before(a, b) for a, b in pairwise(self._with_before)]
        return [None, *known] if self.before is None else list(known)

    @property
    def _with_before(self) -> list[Picture]:
        return self.frames if self.before is None else [self.before, *self.frames]


@dataclass
class Batch:
    """A subject's results for driving frames."""

    driving: Driving
    results: list[Picture]
    before: Picture | None  # the result before the first of these

    @property
    def scene(self) -> Scene:
        """The photo and the reference."""
        return self.driving.scene

    @property
    def truth(self) -> list[Picture]:
        """The driving frames, in protocols where they are what the results should be."""
        return self.driving.frames

    @cached_property
    def keypoints(self) -> Points:
        """(B, K, 2) of the results, detected."""
        return self.scene.tools.keypoints(self.results)

    @cached_property
    def has_face(self) -> list[bool]:
        """Whether Viola-Jones finds a face."""
        different, places = distinct(self.results)
        found = [self.scene.tools.faces.sees_face(as_bytes(frame)) for frame in different]
        return [found[place] for place in places]

    @cached_property
    def embeddings(self) -> npt.NDArray[np.floating[Any]]:
        """(B, D) of the results."""
        return self.scene.tools.embeddings(self.results)
