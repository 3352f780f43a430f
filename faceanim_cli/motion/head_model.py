"""An average head in three dimensions, and pose estimation of keypoints against it.

Keypoints anchored to facial landmarks have a place on the head. A head that turns in depth moves them in a
way that no similarity of the plane explains; a turned model does. Weak perspective: a keypoint lies at
``scale * (rotation @ place)[:2]`` from the head's centre, with one scale for the whole head.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from faceanim_cli.pictures import Points

Anchors: TypeAlias = tuple[tuple[int, ...], ...]

# The 68 landmarks (0-67, the usual order) and the pupils (68, 69): x right, y down, z towards the viewer; the
# outer eye corners are 1 apart, 0 between them. Fitted, with pose and size of each frame, to frames of the
# training people.
HEAD: Points = np.array([
    # 0-16: jaw
    (-0.764, -0.059, -0.492), (-0.762, 0.272, -0.591), (-0.752, 0.426, -0.572), (-0.679, 0.763, -0.467),
    (-0.608, 0.895, -0.346), (-0.529, 0.985, -0.203), (-0.343, 1.117, 0.043), (-0.142, 1.201, 0.219),
    (0.0, 1.214, 0.249), (0.142, 1.201, 0.219), (0.343, 1.117, 0.043), (0.529, 0.985, -0.203),
    (0.608, 0.895, -0.346), (0.679, 0.763, -0.467), (0.752, 0.426, -0.572), (0.762, 0.272, -0.591),
    (0.764, -0.059, -0.492),
    # 17-26: brows
    (-0.678, -0.176, -0.221), (-0.557, -0.235, 0.031), (-0.452, -0.281, 0.127), (-0.315, -0.288, 0.214),
    (-0.160, -0.278, 0.270), (0.160, -0.278, 0.270), (0.315, -0.288, 0.214), (0.452, -0.281, 0.127),
    (0.557, -0.235, 0.031), (0.678, -0.176, -0.221),
    # 27-35: nose
    (0.0, -0.087, 0.293), (0.0, 0.058, 0.453), (0.0, 0.185, 0.611), (0.0, 0.269, 0.680),
    (-0.144, 0.400, 0.444), (-0.084, 0.438, 0.474), (0.0, 0.433, 0.505), (0.084, 0.438, 0.474),
    (0.144, 0.400, 0.444),
    # 36-47: eyes
    (-0.500, 0.0, 0.0), (-0.421, -0.046, 0.061), (-0.304, -0.055, 0.081), (-0.191, 0.001, 0.119),
    (-0.291, 0.026, 0.107), (-0.406, 0.027, 0.086), (0.191, 0.001, 0.119), (0.304, -0.055, 0.081),
    (0.421, -0.046, 0.061), (0.500, 0.0, 0.0), (0.406, 0.027, 0.086), (0.291, 0.026, 0.107),
    # 48-67: mouth
    (-0.297, 0.711, 0.246), (-0.176, 0.609, 0.429), (-0.087, 0.580, 0.494), (0.0, 0.588, 0.516),
    (0.087, 0.580, 0.494), (0.176, 0.609, 0.429), (0.297, 0.711, 0.246), (0.169, 0.831, 0.360),
    (0.092, 0.859, 0.400), (0.0, 0.867, 0.421), (-0.092, 0.859, 0.400), (-0.169, 0.831, 0.360),
    (-0.253, 0.708, 0.235), (-0.067, 0.667, 0.420), (0.0, 0.667, 0.446), (0.067, 0.667, 0.420),
    (0.253, 0.708, 0.235), (0.072, 0.754, 0.393), (0.0, 0.756, 0.414), (-0.072, 0.754, 0.393),
    # 68, 69: pupils
    (-0.356, -0.013, 0.1), (0.356, -0.013, 0.1),
])  # fmt: skip

# How the face's plane changes by an opening of 1 between the inner lips, in the same units, by landmark; the
# others stay. Fitted to the training people's clips, made symmetrical.
MOUTH_OPENING: Points = np.zeros((70, 2))
MOUTH_OPENING[4:13] = [
    (0.02, 0.05), (0.01, 0.08), (-0.03, 0.17), (-0.02, 0.27), (0.0, 0.30),
    (0.02, 0.27), (0.03, 0.17), (-0.01, 0.08), (-0.02, 0.05),
]  # fmt: skip
MOUTH_OPENING[48:68] = [
    (-0.13, 0.07), (-0.11, -0.14), (-0.06, -0.16), (0.0, -0.18), (0.06, -0.16), (0.11, -0.14), (0.13, 0.07),
    (0.13, 0.54), (0.08, 0.64), (0.0, 0.67), (-0.08, 0.64), (-0.13, 0.54),
    (-0.11, 0.08), (-0.05, -0.26), (0.0, -0.26), (0.05, -0.26), (0.11, 0.08),
    (0.07, 0.74), (0.0, 0.74), (-0.07, 0.74),
]  # fmt: skip

EYES = frozenset(range(36, 48))
PUPILS = (68, 69)  # the left one in the picture first
MOUTH = frozenset(range(48, 68))
BROWS = frozenset(range(17, 27))
# What talking and frowning leave in place: the jaw's upper half, nose, eye corners.
BONE = frozenset({0, 1, 2, 3, 4, 12, 13, 14, 15, 16, *range(27, 36), 36, 39, 42, 45})
LOWER_JAW = frozenset(range(5, 12))  # goes where the mouth goes
ENOUGH_BONE = 6  # keypoints on bone that settle a pose by themselves; with fewer the soft ones help
SOFT_WEIGHT = 0.05  # then, beside 1 for those on bone

SMALLEST = 1e-4  # scale of a face squeezed into a point: keeps divisions defined


def on_bone(group: tuple[int, ...]) -> bool:
    """Whether an anchor stays in place when the face moves; an eye as a whole does, its lids do not."""
    return set(group) <= BONE or {36, 39} <= set(group) or {42, 45} <= set(group)


def anchor_means(landmarks: Points, anchors: Anchors) -> Points:
    """(..., K, D): the mean of each anchor's landmarks (..., 68 or more, D)."""
    return np.stack([landmarks[..., list(group), :].mean(axis=-2) for group in anchors], axis=-2)


def bone_weights(anchors: Anchors) -> Points:
    """(K,): how much each keypoint says about where the head is."""
    bone = np.array([on_bone(group) for group in anchors])
    return np.where(bone, 1.0, 0.0 if bone.sum() >= ENOUGH_BONE else SOFT_WEIGHT)


@dataclass(frozen=True)
class HeadPose:
    """Where a head is seen in each of N frames.

    Attributes:
        rotation: (N, 3, 3), from the model's axes to the picture's (x right, y down, z towards the viewer).
        scale: (N,), the distance of the outer eye corners of a head seen from the front, in keypoint units.
        centre: (N, 2), where the weighted mean of the model's points is seen.
    """

    rotation: Points
    scale: Points
    centre: Points

    def project(self, places: Points) -> Points:
        """Places on the head about its weighted mean, (K, 3) or (N, K, 3), as keypoints (N, K, 2)."""
        turned = places @ np.swapaxes(self.rotation[:, :2], -1, -2)
        return np.asarray(self.scale[:, None, None] * turned + self.centre[:, None])


def fit_pose(points: Points, places: Points, weights: Points) -> HeadPose:
    """The poses in which ``places`` are seen at ``points`` with about the least squared error.

    The affine map with the least error, made a scaled rotation.

    Args:
        points: (N, K, 2), finite.
        places: (K, 3) about their weighted mean.
        weights: (K,), summing to 1.
    """
    w = weights[:, None]
    centre = (w * points).sum(-2)
    spread = places.T @ (w * places)  # (3, 3)
    shared = np.swapaxes(w * (points - centre[:, None]), -1, -2) @ places  # (N, 2, 3)
    u, _, vt = np.linalg.svd(shared @ np.linalg.pinv(spread, rcond=1e-6, hermitian=True), full_matrices=False)
    rows = u @ vt  # (N, 2, 3)
    rotation = np.concatenate((rows, np.cross(rows[:, 0], rows[:, 1])[:, None]), axis=1)
    # With the rotation settled, the scale is a least-squares problem of its own.
    size = np.einsum("nij,jk,nik->n", rows, spread, rows)
    scale = (rows * shared).sum((-2, -1)) / np.maximum(size, 1e-12)
    return HeadPose(rotation, np.maximum(scale, SMALLEST), centre)
