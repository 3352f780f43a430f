"""Retargets the driver's motion to the photo's keypoints, frame after frame."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from faceanim_cli.motion.head_model import Anchors
from faceanim_cli.motion.head_transfer import HeadTransfer, has_pose
from faceanim_cli.motion.limits import OutOfRange
from faceanim_cli.motion.liveportrait_transfer import LivePortraitTransfer
from faceanim_cli.motion.motion_batch import MotionBatch, frame_count, nearest_rotations, part_of, rebuilt
from faceanim_cli.motion.one_euro import OneEuro
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.motion.transfer import (
    FirstOrderTransfer,
    FreeKeypointTransfer,
    MotionTransfer,
    rigid_weights,
    spread,
)
from faceanim_cli.pictures import Points
from faceanim_models import HeadMotion, Keypoints


class Retargeting:
    """Turns the driving motion of one shot, batch by batch and in order, into keypoints for the photo.

    Args:
        source: the photo's motion, a batch of one.
        anchors: which landmarks each keypoint is the mean of; empty for keypoints learned freely.
        settings: how the motion is steered.
        first_order: weights of first-order-model's family, which move as they always did.
        reference: motion in the driver's frame that stands for the photo's pose and expression, a batch
            of one; None for its first. Only relative motion has one.
        first_frame: number of the first frame, for what is noted in ``beyond``.
        mend: the last that is done to points (B, K, 3) of LivePortrait's; None for nothing.

    Attributes:
        beyond: frames that went beyond what the weights were trained for, so far.

    Raises:
        UsageError: steering that these keypoints do not allow.
    """

    def __init__(
        self,
        source: MotionBatch,
        anchors: Anchors,
        settings: MotionSettings,
        first_order: bool = False,
        reference: MotionBatch | None = None,
        first_frame: int = 0,
        mend: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._source, self._anchors, self._settings = source, anchors, settings
        self._first_order, self._mend = first_order, mend
        self._frame = first_frame
        unknown = reference is None and settings.relative
        self._transfer: Callable[[Any], Keypoints] | None = None
        self._free: FreeKeypointTransfer | None = None
        if not unknown:
            self._begin(reference or source)
        self._filters = [OneEuro(settings.smooth) for _ in source]
        self.beyond = OutOfRange()

    def __call__(self, driving: MotionBatch) -> Keypoints:
        """The next frames of the shot, points (B, K, 2 or 3), on the device of the photo's motion."""
        if self._transfer is None:
            self._begin(part_of(driving, slice(1)))
        assert self._transfer is not None
        steady = self._steadied(driving)
        free = None
        if self._free is not None and isinstance(steady, Keypoints) and steady.free is not None:
            free = self._free.relative(steady.free)
        moved = self._transfer(steady)._replace(free=free)
        self._frame += frame_count(driving)
        return moved

    def _begin(self, reference: Any) -> None:
        """Count motion from a reference; absolute motion is counted from nothing."""
        self._transfer = self._choose_transfer(reference)
        self._free = self._choose_free_transfer(reference)

    def _steadied(self, driving: MotionBatch) -> MotionBatch:
        if not self._settings.smooth:
            return driving
        steady = rebuilt(driving, list(map(_filtered, self._filters, driving)))
        if isinstance(steady, HeadMotion):
            return steady._replace(rotation=nearest_rotations(steady.rotation))
        return steady

    def _choose_transfer(self, reference: Any) -> Callable[[Any], Keypoints]:
        settings, source = self._settings, self._source
        if isinstance(source, HeadMotion):
            return self._liveportrait_transfer(source, reference)
        if has_pose(self._anchors) and (settings.relative or settings.steered or settings.clamp):
            return self._head_transfer(source.points, reference if settings.relative else source)
        if not settings.relative:
            return lambda driving: driving
        if self._first_order:
            return FirstOrderTransfer(source, reference, settings.adapt_scale).relative
        rigid = rigid_weights(self._anchors, source.points.shape[1]).to(source.points.device)
        similarity = MotionTransfer(source.points[0], reference.points[0], rigid, settings.adapt_scale)
        return lambda driving: Keypoints(similarity.relative(driving.points))

    def _choose_free_transfer(self, reference: Any) -> FreeKeypointTransfer | None:
        """None where photo or driver have no free keypoints beside the anchored ones."""
        settings, source = self._settings, self._source
        if not isinstance(source, Keypoints) or source.free is None:
            return None
        was = reference if settings.relative else source
        if was.free is None:
            return None
        rigid = rigid_weights(self._anchors, source.points.shape[1]).to(source.points.device)
        ratio = spread(source.points[0], rigid) / spread(was.points[0], rigid)
        share = settings.pose * (float(ratio) if settings.adapt_scale else 1.0)
        return FreeKeypointTransfer(source.free[0], was.free[0], share, settings.clamp)

    def _liveportrait_transfer(
        self, source: HeadMotion, reference: HeadMotion
    ) -> Callable[[HeadMotion], Keypoints]:
        transfer = LivePortraitTransfer(source, reference, self._settings)

        def follow(driving: HeadMotion) -> Keypoints:
            points = transfer.follow(driving, self._frame, self.beyond)
            return Keypoints(points if self._mend is None else self._mend(points))

        return follow

    def _head_transfer(self, source: Tensor, reference: Keypoints) -> Callable[[Keypoints], Keypoints]:
        settings = self._settings
        transfer = HeadTransfer(
            _array(source[0]), _array(reference.points[0]), self._anchors, settings, settings.relative
        )

        def follow(driving: Keypoints) -> Keypoints:
            points = transfer.follow(_array(driving.points), self._frame, self.beyond)
            return Keypoints(torch.from_numpy(points).to(source))

        return follow


def _filtered(steady: OneEuro, values: Tensor | None) -> Tensor | None:
    """Values (B, ...), each row of them with a speed of its own."""
    if values is None:
        return None
    rows = values.flatten(2) if values.ndim > 2 else values[:, None]
    return torch.from_numpy(steady(rows.double().cpu().numpy())).to(values).view_as(values)


def _array(points: Tensor) -> Points:
    return points.float().cpu().numpy()
