"""Whether half precision keeps the picture: what a clip's first batch shows beside float32."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from faceanim_cli.pictures import Image

What: TypeAlias = Literal["keypoints", "pictures"]

logger = logging.getLogger(__name__)

# What half precision may change at most in the first batch's last frame.
LIMITS: dict[What, tuple[float, str]] = {
    "keypoints": (2.0, "pixels"),  # of the networks' size, any keypoint
    "pictures": (1.0, "levels of 255"),  # on average over the picture
}


@dataclass(frozen=True)
class PrecisionCheck:
    """What has still to be compared with float32. Frozen: an animator's copies start from the same one."""

    weights: Path
    """Named in the warning."""
    dtype: torch.dtype
    """What convolutions run in."""
    due: frozenset[What]

    @classmethod
    def of(cls, weights: Path, dtype: torch.dtype) -> "PrecisionCheck":
        """Everything, unless it is float32 already."""
        return cls(weights, dtype, frozenset() if dtype == torch.float32 else frozenset(LIMITS))

    def compared(self, what: What, difference: float) -> tuple[bool, "PrecisionCheck"]:
        """Whether half precision stays, said if not, and what is due from then on.

        Args:
            what: has been compared.
            difference: in the unit of its limit; NaN is too much.
        """
        limit, unit = LIMITS[what]
        precision = str(self.dtype).removeprefix("torch.")
        logger.info("%s in %s differ from float32 by %.2f %s", what, precision, difference, unit)
        if difference <= limit:
            return True, replace(self, due=self.due - {what})
        logger.warning(
            "%s: %s in %s differ from float32 by %.1f %s; going on in float32",
            self.weights,
            what,
            precision,
            difference,
            unit,
        )
        return False, replace(self, due=frozenset())


def keypoint_difference(found: Tensor, wanted: Tensor, size: int) -> float:
    """The largest, in pixels of a picture ``size`` wide, between points (B, K, 2) in [-1, 1]."""
    return float((found - wanted).abs().max() * size / 2)


def picture_difference(found: Image, wanted: Image) -> float:
    """The mean, in levels of 255."""
    return float(np.abs(found.astype(np.float32) - wanted).mean())
