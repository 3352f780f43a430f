"""Lifts anchored keypoints back to all facial landmarks, and measures of these."""

from functools import lru_cache
from typing import Any

import numpy as np

from faceanim_cli.motion.head_model import Anchors
from faceanim_cli.pictures import Points

NUM_LANDMARKS = 68
NUM_POINTS = 80  # with the 12 that only some data have

# An average face: x right, y down, the outer eye corners 1 apart around (0, 0). Median of 1560 frames of 153
# people, aligned by similarities; made symmetric.
MEAN_FACE = np.array([
    (-0.77, -0.113), (-0.77, 0.208), (-0.76, 0.366), (-0.685, 0.716), (-0.614, 0.862),  # jaw
    (-0.535, 0.969), (-0.348, 1.128), (-0.142, 1.23), (0, 1.245), (0.142, 1.23),
    (0.348, 1.128), (0.535, 0.969), (0.614, 0.862), (0.685, 0.716), (0.76, 0.366),
    (0.77, 0.208), (0.77, -0.113),
    (-0.685, -0.201), (-0.558, -0.229), (-0.453, -0.266), (-0.319, -0.265), (-0.162, -0.251),  # brows
    (0.162, -0.251), (0.319, -0.265), (0.453, -0.266), (0.558, -0.229), (0.685, -0.201),
    (0, -0.058), (0, 0.104), (0, 0.25), (0, 0.342), (-0.147, 0.451),  # nose
    (-0.086, 0.491), (0, 0.491), (0.086, 0.491), (0.147, 0.451),
    (-0.5, 0), (-0.421, -0.04), (-0.304, -0.046), (-0.192, 0.015), (-0.292, 0.038),  # eyes
    (-0.406, 0.036), (0.192, 0.015), (0.304, -0.046), (0.421, -0.04), (0.5, 0),
    (0.406, 0.036), (0.292, 0.038),
    (-0.289, 0.745), (-0.178, 0.662), (-0.089, 0.639), (0, 0.65), (0.089, 0.639),  # outer lips
    (0.178, 0.662), (0.289, 0.745), (0.169, 0.87), (0.091, 0.9), (0, 0.91),
    (-0.091, 0.9), (-0.169, 0.87),
    (-0.249, 0.739), (-0.068, 0.719), (0, 0.721), (0.068, 0.719), (0.249, 0.739),  # inner lips
    (0.073, 0.795), (0, 0.799), (-0.073, 0.795),
])  # fmt: skip
REACH = 1.0  # in outer eye distances: how far a keypoint's deviation from the average face carries
FEWEST_KEYPOINTS = 3  # an affine map needs as many
SIDE_PER_HEIGHT = 1.223
CENTRE_DOWN = -0.1785  # in landmark heights; negative: the box reaches over the brows


def lift_keypoints(keypoints: Points, anchors: Anchors) -> Points:
    """Landmarks (..., 80, 2) whose ``anchored_keypoints`` are ``keypoints`` (..., K, 2), in any unit.

    The average face is laid through the keypoints by the affine map with the least squared error: a turned
    head is narrower. What is left between its keypoints and the true ones is spread to the landmarks around
    by Gaussian process regression with a Matérn 3/2 kernel, which meets every keypoint. On people who had no
    part in the average the landmarks are 0.6 % of the outer eye distance off with the shipped model's 29
    anchors, were its keypoints perfect, and 2.8 % with the paper's ten.

    Of landmarks 68-79 those are known that have a keypoint of their own; the others are NaN.

    Raises:
        ValueError: fewer than three anchors among the 68.
    """
    usual = among_the_68(anchors)
    if len(usual) < FEWEST_KEYPOINTS:
        raise ValueError(f"{len(usual)} anchors cannot place a face: give {FEWEST_KEYPOINTS} or more")
    landmarks = np.full((*keypoints.shape[:-2], NUM_POINTS, 2), np.nan)
    from_keypoints = _lifting(tuple(anchors[k] for k in usual))
    landmarks[..., :NUM_LANDMARKS, :] = from_keypoints @ keypoints[..., usual, :].astype(np.float64)
    for k, group in enumerate(anchors):
        if len(group) == 1 and group[0] >= NUM_LANDMARKS:
            landmarks[..., group[0], :] = keypoints[..., k, :]
    return landmarks


def among_the_68(anchors: Anchors) -> list[int]:
    """The keypoints that are anchored to the usual 68 landmarks."""
    return [k for k, group in enumerate(anchors) if max(group) < NUM_LANDMARKS]


@lru_cache(maxsize=8)
def _lifting(anchors: Anchors) -> Points:
    """(68, K): both steps are linear in the keypoints, so they are one matrix."""
    mean_of = np.zeros((len(anchors), NUM_LANDMARKS))  # (K, 68)
    for k, group in enumerate(anchors):
        mean_of[k, list(group)] = 1 / len(group)
    distance = np.linalg.norm(MEAN_FACE[:, None] - MEAN_FACE[None], axis=-1) / REACH
    kernel = (1 + distance) * np.exp(-distance)  # (68, 68)
    spread = kernel @ mean_of.T @ np.linalg.pinv(mean_of @ kernel @ mean_of.T)  # (68, K)
    face = np.column_stack((MEAN_FACE, np.ones(NUM_LANDMARKS)))
    affine = face @ np.linalg.pinv(mean_of @ face)  # (68, K)
    lifting: Points = affine + spread @ (np.eye(len(anchors)) - mean_of @ affine)
    return lifting


def lid_distances(landmarks: Points) -> Points:
    """How far the eyes are open, (..., 2), picture left first: distance of the lids over the eye's width."""
    found = []
    for outer, upper, inner, lower in (
        ((36,), (37, 38), (39,), (40, 41)),
        ((42,), (43, 44), (45,), (46, 47)),
    ):
        a, b, c, d = (landmarks[..., list(group), :].mean(-2) for group in (outer, upper, inner, lower))
        found.append(np.linalg.norm(b - d, axis=-1) / np.maximum(np.linalg.norm(a - c, axis=-1), 1e-6))
    return np.stack(found, axis=-1)


def landmark_box(landmarks: Points) -> tuple[Any, Any, Any]:
    """The face box that Viola-Jones would give: centre x, centre y and side, in the landmarks' unit.

    The cascade's square relates to the 68 landmarks by constants, which are medians over real clips
    (OpenCV's frontal default cascade): training frames faces as Viola-Jones would have them framed.

    Args:
        landmarks: (..., 68 or more, 2).
    """
    face = landmarks[..., :NUM_LANDMARKS, :]
    (left, top), (right, bottom) = np.moveaxis(face.min(-2), -1, 0), np.moveaxis(face.max(-2), -1, 0)
    height = bottom - top
    return (left + right) / 2, (top + bottom) / 2 + CENTRE_DOWN * height, SIDE_PER_HEIGHT * height
