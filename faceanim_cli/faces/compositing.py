"""Pastes an animated crop back into its photo.

Two nested soft edges make the seam disappear, because they do one thing each. At the crop's border, over
``SEAM`` of its side, the pasted picture fades into the photo. Just inside of it, over ``REACH`` of the side,
motion fades: the sampling grid of the networks goes from none to all of it. So the fading pixels are those of
a photo that stands still against the same photo, and shoulders or hair that the crop cuts are not torn; the
neck and the background next to the head stretch a little instead. What is left of a difference there is the
networks' colour, which is measured in the same pixels, where it is all that differs, and taken away.

Where the crop ends with the photo itself there is nothing to fade into, and motion is free. Where another
face is near, the border is half-way between the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from faceanim_cli.faces.framing import Box, crop_image, crop_region, resized
from faceanim_cli.pictures import Floats, Image, Mask

SEAM = 0.04  # of the crop's side: where the pasted picture fades into the photo
# And, inside of that, where motion fades: slowly, so that hair does not fold when a head moves by a tenth of
# the side. A face box takes the middle 0.57, in which 0.95 or more of the motion is left.
REACH = 0.2
TINT_SIDE = 16  # pixels: colour differences are measured and corrected at this size, smoothly


def edge_distance(crop: Box, image_size: tuple[int, int], face: Box, others: Sequence[Box]) -> Mask:
    """How far each pixel of a crop lies from where its picture must have faded, in crop sides.

    Args:
        crop: whole-pixel square of an image.
        image_size: (width, height) of the image.
        face: the face that the crop frames.
        others: the other faces of the image; half-way to them is a border, too.

    Returns:
        (S, S), S the crop's side: 0 at the border, negative beyond the border with another face.
    """
    side = int(crop.w)
    width, height = image_size
    place = (np.arange(side, dtype=np.float32) + 0.5) / side
    far = np.full(side, np.inf, np.float32)
    x = np.minimum(place if crop.x > 0 else far, place[::-1] if crop.x + side < width else far)
    y = np.minimum(place if crop.y > 0 else far, place[::-1] if crop.y + side < height else far)
    distance = np.minimum(y[:, None], x[None, :])
    # In face sides, so that a large face in front keeps more of the space between the two.
    columns = crop.x + side * place[None, :]
    rows = crop.y + side * place[:, None]
    own = np.hypot(columns - face.cx, rows - face.cy) / face.side
    for other in others:
        theirs = np.hypot(columns - other.cx, rows - other.cy) / other.side
        gap = (theirs - own) / (1 / face.side + 1 / other.side) / side
        distance = np.minimum(distance, gap.astype(np.float32))
    return distance


def seam_mask(distance: Mask) -> Mask:
    """How much of the pasted picture shows, (S, S) in [0, 1], from ``edge_distance``."""
    return _smooth_step(distance / SEAM)


def motion_reach(distance: Mask) -> Mask:
    """How much of the motion is left, (S, S) in [0, 1]: none where the mask still fades."""
    return _smooth_step((distance - SEAM) / REACH)


class Patch:
    """The place of one animated face in a photo; what is the same for all frames is worked out once.

    Args:
        photo: uint8 (H, W, 3).
        crop: whole-pixel square that the face was cut out by.
        distance: ``edge_distance`` of that crop.
    """

    def __init__(self, photo: Image, crop: Box, distance: Mask) -> None:
        height, width = photo.shape[:2]
        self._side = int(crop.w)
        self._rows, self._columns, self._inner = crop_region(crop, (width, height))
        mask = seam_mask(distance)
        self._mask = np.ascontiguousarray(mask[self._inner])
        self._rest = 1 - self._mask
        # Pixels that both are still in and show: there photo and result must agree.
        fading = ((mask > 0) & (mask < 1)).astype(np.float32)
        self._still = _thumbnail(fading)[..., None]
        self._photo = _thumbnail(crop_image(photo, crop, self._side))

    def paste(self, image: Image, face_frame: Image) -> None:
        """Lay a result of the networks, uint8 (S, S, 3), into ``image``, which is changed in place."""
        face = resized(face_frame, (self._side, self._side))
        face = self._with_photos_colour(face)[self._inner]
        below = image[self._rows, self._columns]
        image[self._rows, self._columns] = cv2.blendLinear(
            np.ascontiguousarray(face), np.ascontiguousarray(below), self._mask, self._rest
        )

    def _with_photos_colour(self, face: Image) -> Image:
        weight = float(self._still.sum())
        if weight < 1:
            return face  # the crop is the whole photo
        difference = (self._photo - _thumbnail(face)) * self._still
        tint = difference.sum((0, 1)) / weight
        return face if np.abs(tint).max() < 0.5 else np.clip(np.rint(face + tint), 0, 255).astype(np.uint8)


def _thumbnail(image: Image | Mask) -> Floats:
    return np.asarray(cv2.resize(image, (TINT_SIDE, TINT_SIDE), interpolation=cv2.INTER_AREA), np.float32)


def _smooth_step(x: Mask) -> Mask:
    """0 below 0, 1 above 1, without a crease between: a linear ramp shows one at both ends."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)
