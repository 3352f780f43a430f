"""From the driver's keypoints to the photo's, frame after frame, in the way of the weights that are used."""

from collections.abc import Callable

import torch

from faceanim_cli.motion.head_model import Anchors
from faceanim_cli.motion.head_transfer import HeadTransfer, check_steering, has_pose
from faceanim_cli.motion.limits import OutOfRange
from faceanim_cli.motion.one_euro import OneEuro
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.motion.transfer import FirstOrderTransfer, MotionTransfer, rigid_weights
from faceanim_cli.pictures import Points
from faceanim_models import Keypoints


class Retargeting:
    """Turns the driving keypoints of one shot, batch by batch and in order, into those for the photo.

    Args:
        source: the photo's keypoints, a batch of one.
        anchors: which landmarks each keypoint is the mean of; empty for keypoints learned freely.
        settings: how the motion is steered.
        first_order: weights of first-order-model's family, which move as they always did.
        reference: keypoints of the driver's frame that stands for the photo's pose and expression, a batch
            of one; None for its first. Only relative motion has one.
        first_frame: number of the first frame, for what is noted in ``beyond``.

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
        reference: Keypoints | None = None,
        first_frame: int = 0,
    ) -> None:
        check_steering(anchors, settings)
        self._source, self._anchors, self._settings = source, anchors, settings
        self._first_order = first_order
        self._frame = first_frame
        unknown = reference is None and settings.relative
        self._transfer = None if unknown else self._choose_transfer(reference or source)
        self._smooth = (OneEuro(settings.smooth), OneEuro(settings.smooth)) if settings.smooth else None
        self.beyond = OutOfRange()

    def __call__(self, driving: Keypoints) -> Keypoints:
        """The next frames of the shot, (B, K, 2), on the device of the photo's keypoints."""
        if self._transfer is None:
            turns = None if driving.jacobians is None else driving.jacobians[:1]
            self._transfer = self._choose_transfer(Keypoints(driving.points[:1], turns))
        moved = self._transfer(self._steadied(driving))
        self._frame += len(driving.points)
        return moved

    def _steadied(self, driving: Keypoints) -> Keypoints:
        if self._smooth is None:
            return driving
        points = self._smooth[0](driving.points.double().cpu().numpy())
        turns = driving.jacobians
        if turns is not None:
            steady = self._smooth[1](turns.flatten(2).double().cpu().numpy())
            turns = torch.from_numpy(steady).to(turns).view_as(turns)
        return Keypoints(torch.from_numpy(points).to(driving.points), turns)

    def _choose_transfer(self, reference: Keypoints) -> Callable[[Keypoints], Keypoints]:
        settings, source = self._settings, self._source
        if has_pose(self._anchors) and (settings.relative or settings.steered or settings.clamp):
            return self._head_transfer(reference if settings.relative else source)
        if not settings.relative:
            return lambda driving: driving
        if self._first_order:
            return FirstOrderTransfer(source, reference, settings.adapt_scale).relative
        rigid = rigid_weights(self._anchors, source.points.shape[1]).to(source.points.device)
        similarity = MotionTransfer(source.points[0], reference.points[0], rigid, settings.adapt_scale)
        return lambda driving: Keypoints(similarity.relative(driving.points))

    def _head_transfer(self, reference: Keypoints) -> Callable[[Keypoints], Keypoints]:
        source = self._source.points
        transfer = HeadTransfer(_array(source[0]), _array(reference.points[0]), self._anchors, self._settings)

        def follow(driving: Keypoints) -> Keypoints:
            points = transfer.follow(_array(driving.points), self._frame, self.beyond)
            return Keypoints(torch.from_numpy(points).to(source))

        return follow


def _array(points: torch.Tensor) -> Points:
    return points.float().cpu().numpy()
