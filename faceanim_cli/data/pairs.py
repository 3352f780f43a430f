"""Random pairs of frames of one clip, source and driving, augmented alike (paper §3.3, Algorithm 1)."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from faceanim_cli.data.backgrounds import random_background, replace_background
from faceanim_cli.data.clips import Clip
from faceanim_cli.data.gaze import move_pupils
from faceanim_cli.data.landmarks import (
    NUM_LANDMARKS,
    PUPILS,
    Anchors,
    anchored_keypoints,
    expression_motion,
    gaze_motion,
    mirrored,
)
from faceanim_cli.data.optical_flow import pair_flow
from faceanim_cli.faces.framing import FRAME_SCALE
from faceanim_cli.motion.landmark_lifting import landmark_box
from faceanim_cli.pictures import Points

CANDIDATES = 4  # pairs of frames, of which the best is taken
EXPRESSIVE_SHARE = 0.5  # of the pairs are chosen by what the face does
GAZE_SHARE = 0.1  # of the pairs are chosen by where the eyes look: in most clips they hardly move
ALONG, DOWN = 0.22, 0.05  # eye widths: how far pupils are moved at most
BOTH_MOVED = 1 / 3  # of the pairs with moved pupils have them moved in both frames


@dataclass(frozen=True)
class Augmentation:
    """How far training pairs stray from the shipped framing; ``Augmentation.none()`` is none at all."""

    zoom: float = 0.15  # standard deviation of the log of the crop's side
    shift: float = 0.08  # standard deviation of the crop's centre, in face sides
    turn: float = 8.0  # standard deviation of the rotation, degrees
    stretch: float = 0.08  # standard deviation of the log of the crop's width over its height: other faces
    flip: float = 0.5  # probability
    gain: float = 0.15  # standard deviation of the log of brightness, and a third of it for each colour
    offset: float = 0.04  # standard deviation of what is added to all colours, in [0, 1]
    gamma: float = 0.12  # standard deviation of the log of the exponent of all colours: darker, lighter skin
    gaze: float = 0.4  # probability that pupils are moved, where they are among the keypoints
    expression: float = 0.6  # probability that mouth and brows are changed, of single frames
    background: float = 0.35  # probability that what stands still beside the head becomes another picture

    @classmethod
    def none(cls) -> "Augmentation":
        """The plain framing."""
        return cls(**{field.name: 0.0 for field in fields(cls)})


class ClipDataset(Dataset[dict[str, torch.Tensor]]):
    """Item ``index`` is drawn by a generator seeded with (seed, index): the same on every run and machine.

    Args:
        clips: whom to draw, at least one.
        anchors: which landmarks make which keypoint.
        size: S, pixels.
        length: how many items there are.
        seed: of the draw.
        augmentation: see :class:`Augmentation`.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        anchors: Anchors,
        size: int,
        length: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.clips = list(clips)
        self.anchors, self.size, self.length, self.seed = anchors, size, length, seed
        self.augmentation = augmentation or Augmentation()
        self.pupils = any(set(PUPILS) & set(group) for group in anchors)
        self.prepare()

    def prepare(self) -> None:
        """What all draws need, worked out once: loader processes get it with the rest."""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < self.length:
            raise IndexError(f"item {index} of {self.length}")  # ends ``for item in items``
        return self.draw(index, np.random.default_rng((self.seed, index)))

    @abstractmethod
    def draw(self, index: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """The item, of random numbers that are its own."""

    def points(self, landmarks: Points) -> torch.Tensor:
        """The keypoints (K, 2) of landmarks."""
        return torch.from_numpy(anchored_keypoints(landmarks, self.anchors).astype(np.float32))


class PairDataset(ClipDataset):
    """Each item: ``source`` and ``driving`` (3, S, S) in [0, 1], ``source_points`` and ``driving_points``
    (K, 2) in [-1, 1], NaN where a landmark is unknown. Where ``flow`` is set besides ``flow`` and
    ``flow_trust``, see :func:`pair_flow`.

    People are drawn evenly, then one of their clips, then two frames of it: see :func:`draw_frames`. Where
    pupils are among the keypoints, some pairs are drawn for them, of all clips those whose eyes move.
    """

    flow = False  # whether items have it
    people: list[list[Clip]]  # the clips of each

    def prepare(self) -> None:
        """As ``ClipDataset.prepare``."""
        people = sorted({clip.identity for clip in self.clips})
        self.people = [[clip for clip in self.clips if clip.identity == who] for who in people]

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """As ``ClipDataset.draw``."""
        clip, source, driving = self._draw(rng)
        matrix = jittered_framing(
            clip.landmarks[source], clip.frames.shape[1:3], self.size, self.augmentation, rng
        )
        colours = colour_table(self.augmentation, rng)
        flipped = rng.random() < self.augmentation.flip
        gaze = self._draw_gaze(rng)
        (image_s, points_s), (image_d, points_d) = (
            augmented_frame(clip, frame, matrix, colours, flipped, self.size, gaze.get(role))
            for role, frame in (("source", source), ("driving", driving))
        )
        if rng.random() < self.augmentation.background:
            other = self._draw_clip(rng)
            picture = random_background(other.frames[rng.integers(len(other.frames))], self.size, rng)
            faces = points_s[:NUM_LANDMARKS], points_d[:NUM_LANDMARKS]
            image_s, image_d = replace_background((image_s, image_d), faces, picture)
        item = {"source": torch.from_numpy(image_s), "driving": torch.from_numpy(image_d)}
        item |= {"source_points": self.points(points_s), "driving_points": self.points(points_d)}
        if self.flow:
            item["flow"], item["flow_trust"] = pair_flow(item["source"], item["driving"])
        return item

    def _draw(self, rng: np.random.Generator) -> tuple[Clip, int, int]:
        """A clip and two of its frames; some are drawn where eyes move, the others by ``draw_frames``."""
        clip = self._draw_clip(rng)
        source, driving = draw_frames(clip, rng)
        if self.pupils and rng.random() < GAZE_SHARE:
            farthest = 0.0
            for other in (self._draw_clip(rng) for _ in range(CANDIDATES)):
                pairs = rng.integers(len(other.frames), size=(CANDIDATES, 2))
                motion = np.nan_to_num(gaze_motion(*_landmarks_of(other, pairs)))
                if motion.max() > farthest:
                    best = pairs[motion.argmax()]
                    clip, source, driving, farthest = other, int(best[0]), int(best[1]), motion.max()
        return clip, source, driving

    def _draw_gaze(self, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
        """How far pupils are moved in which of the frames, of one mostly, for ``move_pupils``."""
        if not self.pupils or rng.random() >= self.augmentation.gaze:
            return {}
        roles = ["source", "driving"]
        if rng.random() >= BOTH_MOVED:
            del roles[rng.integers(2)]
        return {role: random_gaze(rng) for role in roles}

    def _draw_clip(self, rng: np.random.Generator) -> Clip:
        clips = self.people[rng.integers(len(self.people))]
        return clips[rng.integers(len(clips))]


def random_gaze(rng: np.random.Generator) -> tuple[float, float]:
    """How far pupils are moved, along and down, for :func:`move_pupils`."""
    return rng.uniform(-ALONG, ALONG), rng.uniform(-DOWN, DOWN)


def augmented_frame(
    clip: Clip,
    frame: int,
    matrix: np.ndarray[Any, Any],
    colours: np.ndarray[Any, Any],
    flipped: bool,
    size: int,
    gaze: tuple[float, float] | None = None,
) -> tuple[np.ndarray[Any, Any], Points]:
    """A frame as training sees it: float32 (3, size, size) in [0, 1]; and its landmarks (80, 2) in [-1, 1].

    Args:
        clip: whose frame it is.
        frame: its number.
        matrix: of :func:`jittered_framing`.
        colours: of :func:`colour_table`.
        flipped: as in a mirror.
        size: pixels a side.
        gaze: how far the pupils are moved first, along and down, in eye widths, where they can be.
    """
    picture, landmarks = clip.frames[frame], clip.landmarks[frame]
    if gaze is not None and (moved := move_pupils(picture, landmarks, *gaze)) is not None:
        picture, landmarks = moved
    image = warp_frame(picture, matrix, size)
    points = landmarks @ matrix[:, :2].T + matrix[:, 2]
    if flipped:
        image = image[:, ::-1]
        points = mirrored(np.stack((size - 1 - points[:, 0], points[:, 1]), axis=-1))
    return np.stack([colours[c][image[..., c]] for c in range(3)]), 2 * points / (size - 1) - 1


def draw_frames(clip: Clip, rng: np.random.Generator) -> tuple[int, int]:
    """Two frames of a clip; in half of the cases the pair, of several, whose expressions differ most.

    Drawn evenly, a face mostly moves as a whole, and its mouth and lids hardly at all.
    """
    pairs = rng.integers(len(clip.frames), size=(CANDIDATES, 2))
    if rng.random() < EXPRESSIVE_SHARE:
        first, second = _landmarks_of(clip, pairs)
        pairs = pairs[np.argsort(-expression_motion(first, second), kind="stable")]
    return int(pairs[0][0]), int(pairs[0][1])


def _landmarks_of(clip: Clip, pairs: np.ndarray[Any, Any]) -> tuple[Points, Points]:
    """Those of the first and of the second frames of pairs (N, 2), (N, 80, 2) each."""
    rows = np.stack([clip.landmarks[frame] for frame in pairs.ravel()])
    return rows[::2], rows[1::2]


def jittered_framing(
    landmarks: Points, shape: tuple[int, ...], size: int, augmentation: Augmentation, rng: np.random.Generator
) -> np.ndarray[Any, Any]:
    """(2, 3) matrix from the frame's pixels to those of a crop of ``size`` around the face, jittered.

    The crop is moved and shrunk to lie inside the frame, as the framing at inference does.
    """
    height, width = shape
    x, y, face = landmark_box(landmarks)
    side = FRAME_SCALE * face * np.exp(augmentation.zoom * rng.standard_normal())
    side = min(side, height, width)
    shift_x, shift_y = augmentation.shift * face * rng.standard_normal(2)
    x = float(np.clip(x + shift_x, side / 2 - 0.5, width - side / 2 - 0.5))
    y = float(np.clip(y + shift_y, side / 2 - 0.5, height - side / 2 - 0.5))
    matrix = cv2.getRotationMatrix2D((x, y), augmentation.turn * rng.standard_normal(), size / side)
    middle = (size - 1) / 2
    framing = np.column_stack((matrix[:, :2], matrix[:, 2] + (middle - x, middle - y)))
    if augmentation.stretch:  # about the middle; the wider side beyond the shorter one: it stays in the frame
        wider = augmentation.stretch * rng.standard_normal()
        factors = np.exp((max(wider, 0), max(-wider, 0)))
        framing = framing * factors[:, None]
        framing[:, 2] += middle * (1 - factors)
    return framing


def warp_frame(frame: np.ndarray[Any, Any], matrix: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """The frame (H, W, 3) seen through ``matrix``, (size, size, 3); mirrored beyond its edges."""
    shrink = 1 / np.hypot(*matrix[:, 0])
    if shrink >= 2:  # bilinear sampling alone would alias
        factor = int(shrink)
        # Whole blocks only, else the factor would not be exact.
        height, width = (side // factor * factor for side in frame.shape[:2])
        small = (width // factor, height // factor)
        frame = cv2.resize(frame[:height, :width], small, interpolation=cv2.INTER_AREA)
        # A point p of the frame is (p + 0.5) / factor - 0.5 of the small one.
        back = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
        matrix = matrix @ back
    return np.asarray(
        cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    )


def colour_table(augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """(3, 256) float32: what each level of each colour becomes, in [0, 1]; for both frames of a pair."""
    levels = np.arange(256, dtype=np.float32) / 255
    levels **= np.exp(augmentation.gamma * rng.standard_normal())
    gain = np.exp(augmentation.gain * (rng.standard_normal() + rng.standard_normal((3, 1)) / 3))
    offset = augmentation.offset * rng.standard_normal()
    return np.clip(levels * gain + offset, 0, 1).astype(np.float32)
