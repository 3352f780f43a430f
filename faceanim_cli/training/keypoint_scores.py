"""Validation of a keypoint detector: distance to the landmarks, and slope of its movements."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.landmarks import Anchors, anchored_keypoints
from faceanim_cli.motion.head_transfer import EYE_CORNERS, gaze_along, pupils_in_eyes
from faceanim_cli.pictures import Floats
from faceanim_cli.training.validation import framed_clip
from faceanim_models import AnimationModel

Pairs: TypeAlias = tuple[tuple[int, int], ...]  # of keypoints

SIDE = 256  # pixels: distances are told in those of a frame of this side
# Openings of the face, as pairs of anchors; those that a model has count.
LIDS = (((37, 38), (40, 41)), ((43, 44), (46, 47)))
LIPS = (((62,), (66,)), ((51,), (57,)))  # inner, outer
WIDTH = (((48,), (54,)),)
BROWS = (
    *(((19,), (36,)), ((21,), (39,)), ((22,), (42,)), ((24,), (45,))),  # over the corners of the eyes
    *(((17, 18, 19, 20, 21), (36, 37, 38, 39, 40, 41)), ((22, 23, 24, 25, 26), (42, 43, 44, 45, 46, 47))),
)
PUPILS = (((68,), (36,)), ((68,), (39,)), ((69,), (42,)), ((69,), (45,)))  # from the corners of their eyes
EYES = (((36,), (45,)), ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47)))  # how large the face is shown
MEASURES = types.MappingProxyType({"lids": LIDS, "mouth": LIPS[:1], "width": WIDTH, "brows": BROWS})
# Standard deviation, in distances between the eyes, below which a clip says nothing of a slope.
LEAST = types.MappingProxyType({"lids": 0.01, "mouth": 0.02, "width": 0.015, "brows": 0.007, "gaze": 0.02})


def pairs_of(anchors: Anchors, wanted: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Pairs:
    """The keypoints of those ``wanted`` pairs of anchors that a model with ``anchors`` has."""
    places = {anchor: k for k, anchor in enumerate(anchors)}
    return tuple((places[a], places[b]) for a, b in wanted if a in places and b in places)


@dataclass(frozen=True)
class KeypointScores:
    """Means over clips of the distance to the landmarks; slopes of what is seen on what is there, 1 at best.

    A slope is NaN where the keypoints do not show it, or nobody moves it.
    """

    error: float  # pixels of a frame of 256
    lids: float
    mouth: float  # opening
    width: float  # of the mouth
    brows: float  # height over the eyes
    gaze: float  # pupils between the corners of their eyes

    @property
    def value(self) -> float:
        """What weights are best by: higher is better."""
        return -self.error

    def __str__(self) -> str:
        slopes = {name: getattr(self, name) for name in LEAST}
        seen = ", ".join(f"{name} {slope:.2f}" for name, slope in slopes.items() if np.isfinite(slope))
        return f"error {self.error:.2f} px of {SIDE}; slopes: {seen or 'none'}"


@torch.inference_mode()
def validate_keypoints(
    model: AnimationModel, clips: Sequence[Clip], size: int, every: int = 5, batch: int = 16
) -> KeypointScores:
    """Score the detector of ``model``, in evaluation mode, on every so-manieth frame of ``clips``."""
    device = next(model.parameters()).device
    anchors = model.settings.anchors
    errors = []
    moved: dict[str, list[tuple[Floats, Floats]]] = {name: [] for name in LEAST}
    for clip in clips:
        frames, landmarks = framed_clip(clip, size, every)
        found = np.concatenate(
            [model.detect(part.to(device)).points.float().cpu().numpy() for part in frames.split(batch)]
        )
        truth = anchored_keypoints(landmarks, anchors)
        errors.append(float(np.nanmean(np.linalg.norm(found - truth, axis=-1))) * (SIDE - 1) / 2)
        there, seen = movements(truth, anchors), movements(found, anchors)
        for name, values in there.items():
            known = np.isfinite(values)
            if known.sum() > 1 and values[known].std() > LEAST[name]:
                moved[name].append((centred(values[known]), centred(seen[name][known])))
    return KeypointScores(float(np.mean(errors)), **{name: slope(moved[name]) for name in LEAST})


def movements(points: Floats, anchors: Anchors) -> Mapping[str, Floats]:
    """Openings and gaze, by name, of keypoints (N, K, 2): (N,) each, those that the anchors show."""
    sizes = distances(points, pairs_of(anchors, EYES)[:1])
    found = {name: pairs_of(anchors, wanted) for name, wanted in MEASURES.items()}
    values = {name: distances(points, pairs) / sizes for name, pairs in found.items() if pairs}
    pupils = pupils_in_eyes(anchors)
    if len(pupils) == len(EYE_CORNERS):
        values["gaze"] = gaze_along(points, pupils)
    return values


def distances(points: Floats, pairs: Pairs) -> Floats:
    """(N,): the mean distance of the pairs of keypoints (N, K, 2); 1 without any."""
    if not pairs:
        return np.ones(len(points), np.float32)
    a, b = (list(side) for side in zip(*pairs, strict=True))
    mean: Floats = np.linalg.norm(points[:, a] - points[:, b], axis=-1).mean(-1)
    return mean


def centred(values: Floats) -> Floats:
    """Values (N,) without their mean."""
    around: Floats = values - values.mean()
    return around


def slope(moved: Sequence[tuple[Floats, Floats]]) -> float:
    """Least squares of what is seen on what is there, through all clips; NaN without any."""
    if not moved:
        return float("nan")
    there, seen = (np.concatenate(side) for side in zip(*moved, strict=True))
    return float((there * seen).sum() / (there * there).sum())
