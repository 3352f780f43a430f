"""Motion transfer of free keypoints: relative to a reference frame, or absolute.

Keypoints anchored to landmarks move with a head in three dimensions (``head_transfer``); these know no head.
First-order-model adds the driver's displacements to the photo's keypoints, scaled (``--relative
--adapt_scale``). That turns a face of another shape wrongly when the head tilts. Here the driver's motion
is split: what a similarity explains (the head turns in the plane, shifts, comes nearer) is applied to the
photo's own keypoints; the rest (expression, and the parallax of a head turned in depth) is added on top.

First-order-model's own checkpoints move as they always did (``FirstOrderTransfer``): their networks were made
with that arithmetic in mind, and people compare.
"""

from dataclasses import dataclass

import cv2
import torch
from torch import Tensor

from faceanim_cli.motion.head_model import Anchors, bone_weights
from faceanim_cli.motion.limits import shortened
from faceanim_models import Keypoints
from faceanim_models.first_order import inverse
from faceanim_models.geometry import fit_similarity

FARTHEST = 0.4  # half the width of a crop: how far free keypoints go before they are held back


@dataclass(frozen=True)
class MotionTransfer:
    """What stays the same for a photo and a driver.

    Attributes:
        source: keypoints of the photo, (K, 2) in [-1, 1].
        reference: keypoints of the driver's reference frame, (K, 2): its pose stands for the photo's.
        rigid: (K,) weights, how much each keypoint says about where the head is.
        adapt_scale: measure motion in face sizes (a small face in the driver moves a large one in the photo
            as far, for its size), not in frame sizes.
    """

    source: Tensor
    reference: Tensor
    rigid: Tensor
    adapt_scale: bool = True

    def relative(self, driving: Tensor) -> Tensor:
        """Keypoints (B, K, 2) for the photo's person to follow the driver's ``driving`` (B, K, 2)."""
        weights = self.rigid / self.rigid.sum()
        reference = self.reference.expand_as(driving)
        linear, shift = fit_similarity(reference, driving, weights)  # (B, 2, 2), (B, 2)
        explained = reference @ linear.mT + shift[:, None]
        source_centre = (weights[:, None] * self.source).sum(0)
        reference_centre = (weights[:, None] * self.reference).sum(0)
        moved_centre = reference_centre @ linear.mT + shift
        ratio = (
            spread(self.source, self.rigid) / spread(self.reference, self.rigid) if self.adapt_scale else 1.0
        )
        head = (self.source - source_centre) @ linear.mT + source_centre
        return head + ratio * (moved_centre - reference_centre)[:, None] + ratio * (driving - explained)


@dataclass(frozen=True)
class FreeKeypointTransfer:
    """Motion of free keypoints beside anchored ones: shoulders, hair and background take the displacements.

    Attributes:
        source: those of the photo, (F, 2) in [-1, 1].
        reference: those of the driver's reference frame, (F, 2).
        share: the photo's displacement over the driver's.
        clamp: hold back displacements that the networks have hardly seen.
    """

    source: Tensor
    reference: Tensor
    share: float = 1.0
    clamp: bool = True

    def relative(self, driving: Tensor) -> Tensor:
        """Keypoints (B, F, 2) for the photo to follow the driver's ``driving`` (B, F, 2)."""
        moved = self.share * (driving - self.reference)
        if self.clamp:
            flat, _ = shortened(moved.flatten(0, 1).double().cpu().numpy(), FARTHEST)
            moved = torch.from_numpy(flat).to(moved).view_as(moved)
        return self.source + moved


@dataclass(frozen=True)
class FirstOrderTransfer:
    """First-order-model's relative motion, ``normalize_kp`` of its ``animate.py``.

    Points take the driver's displacements since its reference frame, and Jacobians the driver's turn since
    then: ``p = s + c (d - r)`` and ``J = J_d J_r^-1 J_s``.

    Attributes:
        source: keypoints of the photo, a batch of one.
        reference: keypoints of the driver's reference frame, a batch of one.
        adapt_scale: c is the photo's face size over the driver's, as areas of convex hulls tell; else 1.
    """

    source: Keypoints
    reference: Keypoints
    adapt_scale: bool = True

    def relative(self, driving: Keypoints) -> Keypoints:
        """Keypoints for the photo's person to follow the driver's ``driving``, (B, K, 2)."""
        ratio = 1.0
        if self.adapt_scale:
            reference_area = max(hull_area(self.reference.points[0]), 1e-8)
            ratio = (hull_area(self.source.points[0]) / reference_area) ** 0.5
        points = self.source.points + ratio * (driving.points - self.reference.points)
        if driving.jacobians is None or self.reference.jacobians is None or self.source.jacobians is None:
            return Keypoints(points)
        turn = driving.jacobians @ inverse(self.reference.jacobians)
        return Keypoints(points, turn @ self.source.jacobians)


def spread(points: Tensor, weights: Tensor) -> Tensor:
    """Root mean square distance of keypoints (K, 2) from their centre, by weights (K,): the face's size."""
    shares = (weights / weights.sum())[:, None]
    centred = points - (shares * points).sum(0)
    return (shares * centred.square()).sum().sqrt().clamp_min(1e-4)


def hull_area(points: Tensor) -> float:
    """Area of the convex hull of (K, 2) points."""
    return float(cv2.contourArea(cv2.convexHull(points.float().cpu().numpy())))


def rigid_weights(anchors: Anchors, num_keypoints: int) -> Tensor:
    """(K,) weights of ``bone_weights``; all 1 for keypoints that are not anchored to landmarks."""
    if not anchors:
        return torch.ones(num_keypoints)
    return torch.from_numpy(bone_weights(anchors)).float()
