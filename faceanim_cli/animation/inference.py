"""Inference: batches that fit into memory, in the fastest precision that keeps the picture."""

import logging
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from faceanim_cli.animation.image_batches import DeviceCopies, Download, to_frames
from faceanim_cli.animation.networks import Code, Detected, Networks, PhotoDetail
from faceanim_cli.animation.photo_detail import detailed_frames, refine_frames
from faceanim_cli.device import in_parts
from faceanim_cli.motion.motion_batch import part_of
from faceanim_cli.pictures import Image
from faceanim_models import Keypoints, LivePortraitModel, PhotoCode
from faceanim_models.photo_detail import with_photo_detail

Compared: TypeAlias = Literal["keypoints", "pictures"]

logger = logging.getLogger(__name__)

# What half precision may change at most in the first batch's last frame.
LIMITS: dict[Compared, tuple[float, str]] = {
    "keypoints": (2.0, "pixels"),  # of the networks' size, any keypoint
    "pictures": (1.0, "levels of 255"),  # on average over the picture
}


class Inference:
    """Runs the networks for all faces of an animator: they share its device, batch size and precision.

    The first batch in half precision is compared with float32. Where they differ visibly, float32 it is from
    then on, for every face, and a warning says so.

    Args:
        networks: to begin with.
        weights: named in the warning.
        batch: driving frames to work on at a time; halved when memory runs out.
        size: side of the frames that ``paint`` gives, pixels.

    Attributes:
        networks: those in use; others once half precision was given up.
        copies: to and from the device.
    """

    def __init__(self, networks: Networks, weights: Path, batch: int, size: int) -> None:
        self.networks, self.batch, self.size = networks, batch, size
        self.device = networks.device
        self.copies = DeviceCopies(self.device)
        self._weights = weights
        self._exact: Networks | None = None
        self._unchecked: set[Compared] = set() if networks.dtype == torch.float32 else set(LIMITS)
        if isinstance(networks.model, LivePortraitModel):  # whose motion network is in float32 anyway
            self._unchecked.discard("keypoints")

    def detect(self, frames: Tensor) -> list[Detected]:
        """The motion in frames (B, 3, H, W) in [0, 1], in as many pieces as memory asks for.

        Args:
            frames: of the networks' size.
        """

        def detect(part: slice) -> list[Detected]:
            with self.networks.inference():
                return [self.networks.detect(frames[part])]

        everything = slice(0, len(frames))
        found = in_parts(detect, everything, self.device, self._use_batch)
        if not self.must_compare("keypoints"):
            return found
        exact = self.exact()
        with exact.inference():
            wanted = exact.detect(frames[-1:])
        half_size = frames.shape[-1] / 2
        if self.keeps(
            "keypoints", float((found[-1].motion[0][-1:] - wanted.motion[0]).abs().max() * half_size)
        ):
            return found
        self.networks = exact
        return in_parts(detect, everything, self.device, self._use_batch)

    def paint(
        self, networks: Networks, code: Code, keypoints: Keypoints, detail: PhotoDetail | None = None
    ) -> list[Download]:
        """Frames, uint8 (B, size, size, 3), of a photo with its keypoints; in pieces as ``detect``.

        Args:
            networks, code, keypoints: see ``Networks.paint``.
            detail: of the photo, (S, S): frames show it and are as large.
        """

        def paint(part: slice) -> list[Download]:
            with networks.inference():
                if detail is None or not isinstance(code, PhotoCode):
                    pictures = networks.paint(code, part_of(keypoints, part))
                    return [to_frames(pictures, self.size, self.copies)]
                wanted, refiner = part_of(keypoints, part), networks.large_details
                painted = networks.paint_parts(code, wanted)
                if self.device.type == "cpu":
                    frames = detailed_frames(painted, detail.band)
                    if refiner is not None:
                        codes = detail.patches_of(len(frames))
                        refine_frames(frames, refiner, wanted.points.float(), codes)
                    return [Download(torch.from_numpy(frames), None)]
                done = []
                # Large ones, one after the other, are less in memory.
                for frame, points in zip(painted.frames(), wanted.points.split(1), strict=True):
                    large = with_photo_detail(*frame, detail.band)
                    if refiner is not None:
                        large = refiner(large, points, detail.patches_of(1))
                    done.append(to_frames(large, large.shape[-1], self.copies))
                return done

        return in_parts(paint, slice(0, len(keypoints.points)), self.device, self._use_batch)

    def exact(self) -> Networks:
        """The networks in float32, kept as long as there is something to compare with them."""
        if self._exact is None:
            self._exact = self.networks.exact()
        return self._exact

    def must_compare(self, what: Compared) -> bool:
        """Whether this has still to be compared with float32."""
        return what in self._unchecked

    def keeps(self, what: Compared, difference: float) -> bool:
        """Whether half precision may stay; if not, it is said, and nothing needs to be compared any more.

        Args:
            what: has been compared.
            difference: from float32, in the unit of ``LIMITS``; NaN is too much.
        """
        limit, unit = LIMITS[what]
        precision = str(self.networks.dtype).removeprefix("torch.")
        logger.info("%s in %s differ from float32 by %.2f %s", what, precision, difference, unit)
        if difference <= limit:
            self._unchecked.discard(what)
            self._exact = self._exact if self._unchecked else None
            return True
        self._unchecked.clear()
        self._exact = None
        logger.warning(
            "%s: %s in %s differ from float32 by %.1f %s; going on in float32",
            self._weights,
            what,
            precision,
            difference,
            unit,
        )
        return False

    def _use_batch(self, frames: int) -> None:
        self.batch = min(self.batch, frames)


def mean_difference(found: Image, wanted: Image) -> float:
    """Of two pictures, in levels of 255."""
    return float(np.abs(found.astype(np.float32) - wanted).mean())
