"""LivePortrait's motion: the driver's head rotation, expression, scale and translation, given to the photo.

Its keypoints have no names: which of them move lips and lids, and which entries of the expression an absolute
driver may set without changing whose face it is, are the authors' constants.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from faceanim_cli.motion.limits import OutOfRange, shortened
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.pictures import Points
from faceanim_models.liveportrait.motion_extractor import HeadMotion

LIPS = (6, 12, 14, 17, 19, 20)
EYES = (11, 13, 15, 16, 18)
# Entries of the expression (keypoint: axes) that absolute motion takes from the driver. The others carry
# identity.
ABSOLUTE: dict[int, tuple[int, ...]] = {
    **dict.fromkeys((1, 2, 6, *range(11, 21)), (0, 1, 2)),
    3: (1,), 4: (1,), 5: (2,), 8: (2,), 9: (1, 2),
}  # fmt: skip

# How far a head goes before it is held back (``limits.shortened``): what leaves it in its frame and its photo
# to go by. Chosen by what the frame holds, not measured.
TURN = np.radians(45.0)  # from the photo's pose
GROWTH = np.log(1.5)  # of its size, either way
SHIFT = 0.5  # of its place, in half frames


@dataclass(frozen=True)
class LivePortraitTransfer:
    """What stays the same for a photo and a driver.

    Attributes:
        source: the photo's motion, a batch of one.
        reference: of the driver's frame whose pose and expression stand for the photo's, a batch of one.
        settings: relative or absolute, and the multipliers. With ``pose`` 1 and ``expression`` 0, or the
            other way round, the motion is the authors' of the region of that name.
    """

    source: HeadMotion
    reference: HeadMotion
    settings: MotionSettings = field(default_factory=MotionSettings)

    def follow(self, driving: HeadMotion, first_frame: int = 0, beyond: OutOfRange | None = None) -> Tensor:
        """Keypoints (B, K, 3) for the photo's person to follow the driver's ``driving``, before stitching.

        Args:
            driving: of frames in order.
            first_frame: number of the first.
            beyond: where frames that are held back are noted.
        """
        s, source, pose = self.settings, self.source, self.settings.pose
        assert source.canonical is not None
        # The frame that motion counts from: the driver's reference, or the photo itself.
        start = self.reference if s.relative else source
        turn = driving.rotation @ start.rotation.mT
        if pose != 1:
            turn = scaled_rotations(turn, pose)
        change = driving.expression - start.expression
        if not s.relative:
            change = change * absolute_entries(change)
        expression = source.expression + self._shares(change) * change
        # A head that comes nearer is pose and expression both: the authors' regions leave the scale alone.
        nearer = torch.ones_like(driving.scale)
        if s.relative:
            nearer = (driving.scale / start.scale) ** (pose * s.expression)
        shift = pose * (driving.translation - start.translation)
        if s.clamp:
            turn, nearer, shift = _held_back(turn, nearer, shift, first_frame, beyond or OutOfRange())
        moved = HeadMotion(
            turn @ source.rotation,
            expression,
            source.scale * nearer,
            source.translation + shift,
            source.canonical.expand(len(turn), -1, -1),
        )
        return moved.keypoints()

    def _shares(self, like: Tensor) -> Tensor:
        """How much of the expression's change each keypoint takes on, (K, 1)."""
        s = self.settings
        shares = like.new_full((like.shape[1], 1), s.expression)
        shares[list(LIPS)] *= s.mouth
        shares[list(EYES)] *= s.eyes
        return shares


def absolute_entries(like: Tensor) -> Tensor:
    """(K, 3): 1 for entries of the expression that absolute motion takes from the driver, 0 for others."""
    entries = torch.zeros_like(like[0])
    for keypoint, axes in ABSOLUTE.items():
        entries[keypoint, list(axes)] = 1
    return entries


def scaled_rotations(rotations: Tensor, factor: float) -> Tensor:
    """Rotations (B, 3, 3) about the same axes by ``factor`` times the angle."""
    return _rotations(_rotation_vectors(rotations) * factor).to(rotations)


def _held_back(
    turn: Tensor, nearer: Tensor, shift: Tensor, first_frame: int, beyond: OutOfRange
) -> tuple[Tensor, Tensor, Tensor]:
    """Motion away from the photo's pose; what is within the limits stays as it is."""
    held = []
    for reason, motion, limit in (
        ("turn", _rotation_vectors(turn), TURN),
        ("growth", nearer.double().log().cpu().numpy(), GROWTH),
        ("shift", shift[:, :2].double().cpu().numpy(), SHIFT),
    ):
        short, over = shortened(motion, limit)
        beyond.note(reason, first_frame, over)
        held.append((torch.from_numpy(short), torch.from_numpy(over)[:, None].to(turn.device)))
    (vectors, far), (growth, large), (place, off) = held
    turn = torch.where(far[..., None], _rotations(vectors.numpy()).to(turn), turn)
    place = torch.nn.functional.pad(place, (0, 1)).to(shift)
    return turn, torch.where(large, growth.exp().to(nearer), nearer), torch.where(off, place, shift)


def _rotation_vectors(rotations: Tensor) -> Points:
    """(B, 3, 3) to (B, 3): the axes, as long as the angles in radians."""
    return np.stack([cv2.Rodrigues(r)[0][:, 0] for r in rotations.double().cpu().numpy()])


def _rotations(vectors: Points) -> Tensor:
    return torch.from_numpy(np.stack([cv2.Rodrigues(vector)[0] for vector in vectors]))
