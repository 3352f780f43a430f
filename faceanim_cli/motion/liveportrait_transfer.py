"""LivePortrait's motion: the driver's head rotation, expression, scale and translation, given to the photo.

Its keypoints have no names: which of them move lips and lids, and which entries of the expression an absolute
driver may set without changing whose face it is, are the authors' constants.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from faceanim_cli.motion.settings import MotionSettings
from faceanim_models.liveportrait.motion_extractor import HeadMotion

LIPS = (6, 12, 14, 17, 19, 20)
EYES = (11, 13, 15, 16, 18)
# Entries of the expression (keypoint: axes) that absolute motion takes from the driver. The others carry
# identity.
ABSOLUTE: dict[int, tuple[int, ...]] = {
    **dict.fromkeys((1, 2, 6, *range(11, 21)), (0, 1, 2)),
    3: (1,), 4: (1,), 5: (2,), 8: (2,), 9: (1, 2),
}  # fmt: skip


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

    def follow(self, driving: HeadMotion) -> Tensor:
        """Keypoints (B, K, 3) for the photo's person to follow the driver's ``driving``, before stitching."""
        s, source, pose = self.settings, self.source, self.settings.pose
        # The frame that motion counts from: the driver's reference, or the photo itself.
        start = self.reference if s.relative else source
        turn = driving.rotation @ start.rotation.mT
        rotation = (turn if pose == 1 else scaled_rotations(turn, pose)) @ source.rotation
        change = driving.expression - start.expression
        if not s.relative:
            change = change * absolute_entries(change)
        expression = source.expression + self._shares(change) * change
        # A head that comes nearer is pose and expression both: the authors' regions leave the scale alone.
        nearer = (driving.scale / start.scale) ** (pose * s.expression) if s.relative else 1.0
        translation = source.translation + pose * (driving.translation - start.translation)
        moved = HeadMotion(
            rotation,
            expression,
            (source.scale * nearer).expand(len(turn), 1),
            translation,
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
    turns = [cv2.Rodrigues(cv2.Rodrigues(r)[0] * factor)[0] for r in rotations.double().cpu().numpy()]
    return torch.from_numpy(np.stack(turns)).to(rotations)
