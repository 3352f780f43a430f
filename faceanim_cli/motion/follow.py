"""From the driver's keypoints to the photo's, frame after frame, in the way of the weights that are used."""

from collections.abc import Callable

import torch

from faceanim_cli.motion.head_model import Anchors
from faceanim_cli.motion.head_transfer import HeadTransfer, check_steering, has_pose
from faceanim_cli.motion.limits import OutOfRange
from faceanim_cli.motion.one_euro import OneEuro
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.motion.transfer import FirstOrderTransfer, MotionTransfer, rigid_weights
from faceanim_models import Keypoints


class Follower:
    """Turns the driving keypoints of one clip, batch by batch and in order, into those for the photo.

    Args:
        source: the photo's keypoints, a batch of one.
        anchors: which landmarks each keypoint is the mean of; empty for keypoints learned freely.
        settings: how the motion is steered.
        first_order: first-order-model's own weights, which move as they always did.
        relative: count motion from ``reference``, which keeps the photo's face shape; else the driver's
            keypoints are the photo's.
        adapt_scale: measure relative motion in face sizes, not in frame sizes.
        reference: keypoints of the driver's frame that stands for the photo's pose and expression, a batch
            of one; None for its first.

    Attributes:
        beyond: frames that went beyond what the weights were trained for, so far.

    Raises:
        UsageError: steering that these keypoints do not allow.
    """

    def __init__(
        self,
        source: Keypoints,
        anchors: Anchors,
        settings: MotionSettings,
        first_order: bool = False,
        relative: bool = True,
        adapt_scale: bool = True,
        reference: Keypoints | None = None,
    ) -> None:
        check_steering(anchors, settings)
        self._source, self._anchors, self._settings = source, anchors, settings
        self._first_order = first_order
        self._relative, self._adapt_scale = relative, adapt_scale
        self._frames = 0
        self._follow = None if reference is None and relative else self._transfer(reference or source)
        self._smooth = (OneEuro(settings.smooth), OneEuro(settings.smooth)) if settings.smooth else None
        self.beyond = OutOfRange()

    def __call__(self, driving: Keypoints) -> Keypoints:
        """The next frames of the clip, (B, K, 2), on the device of the photo's keypoints."""
        if self._follow is None:
            turns = None if driving.jacobians is None else driving.jacobians[:1]
            self._follow = self._transfer(Keypoints(driving.points[:1], turns))
        followed = self._follow(self._steadied(driving))
        self._frames += len(driving.points)
        return followed

    def _steadied(self, driving: Keypoints) -> Keypoints:
        if self._smooth is None:
            return driving
        points = self._smooth[0](driving.points.double().cpu().numpy())
        turns = driving.jacobians
        if turns is not None:
            steady = self._smooth[1](turns.flatten(2).double().cpu().numpy())
            turns = torch.from_numpy(steady).to(turns).view_as(turns)
        return Keypoints(torch.from_numpy(points).to(driving.points), turns)

    def _transfer(self, reference: Keypoints) -> Callable[[Keypoints], Keypoints]:
        if has_pose(self._anchors) and (self._relative or self._settings.steered or self._settings.clamp):
            return self._head_transfer(reference if self._relative else self._source)
        if not self._relative:
            return lambda driving: driving
        if self._first_order:
            return FirstOrderTransfer(self._source, reference, self._adapt_scale).relative
        source, rigid = self._source.points[0], rigid_weights(self._anchors, self._source.points.shape[1])
        similarity = MotionTransfer(source, reference.points[0], rigid.to(source.device), self._adapt_scale)
        return lambda driving: Keypoints(similarity.relative(driving.points))

    def _head_transfer(self, reference: Keypoints) -> Callable[[Keypoints], Keypoints]:
        source = self._source.points
        transfer = HeadTransfer(
            source[0].float().cpu().numpy(),
            reference.points[0].float().cpu().numpy(),
            self._anchors,
            self._settings,
            self._adapt_scale,
        )

        def follow(driving: Keypoints) -> Keypoints:
            points = transfer.follow(driving.points.float().cpu().numpy(), self._frames, self.beyond)
            return Keypoints(torch.from_numpy(points).to(source))

        return follow
