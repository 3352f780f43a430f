"""The square crop that the networks see, and coordinates from image to crop and back.

Two kinds of coordinates, never mixed:

- A ``Box`` is made of edges: pixel ``i`` covers ``[i, i + 1)``, so a box with ``x=10, w=20`` holds the pixels
  10 to 29 and its centre is 20. Viola-Jones boxes and crops are given that way.
- A *point* ``(x, y)`` names pixel centres: the centre of the first pixel is (0, 0). Landmarks are given that
  way. An edge at ``e`` lies at the point coordinate ``e - 0.5``.

x points right and y down. A crop of side ``s`` shown at ``size`` pixels maps a point of the image to the
point ``u = (x + 0.5 - crop.x) * size / s - 0.5`` of the crop: the half-pixel rule that ``cv2.resize``
follows too, hence the points of ``crop_transform`` and the pixels of ``crop_image`` agree exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from faceanim_cli.errors import UsageError
from faceanim_cli.pictures import Image, Matrix, Points

# Side of the crop in face box sides, as in training: head, hair and neck. Talking-head clips are seldom wider
# than 1.8, and 2 would reach over their edges.
FRAME_SCALE = 1.75
TIGHTEST_SCALE = 1.25  # a crop shrinks to stay inside a small image, down to here; then it reaches over it
LARGEST_BOX = 3  # sides of the image: a larger crop shows repeated edge pixels, and takes memory for them
LEAST_ZOOM, MOST_ZOOM = 0.4, 4.0
MOTION_MARGIN = 1.3  # a moving face keeps this much of its own box inside the crop of its clip


@dataclass(frozen=True)
class Box:
    """Rectangle in pixels of its image: top-left corner (x right, y down), width, height."""

    x: float
    y: float
    w: float
    h: float

    @property
    def cx(self) -> float:
        """Centre, in edge coordinates (half a pixel more than the same place as a point)."""
        return self.x + self.w / 2

    @property
    def cy(self) -> float:
        """As ``cx``."""
        return self.y + self.h / 2

    @property
    def side(self) -> float:
        """The longer of width and height."""
        return max(self.w, self.h)

    @property
    def area(self) -> float:
        """Pixels covered."""
        return self.w * self.h

    def scaled(self, factor: float) -> Box:
        """The box grown (factor > 1) or shrunk about its centre."""
        w, h = self.w * factor, self.h * factor
        return Box(self.cx - w / 2, self.cy - h / 2, w, h)


def frame_crop(face: Box, image_size: tuple[int, int]) -> Box:
    """The square crop that frames one face as in training.

    ``FRAME_SCALE`` face sides around the centre of the box, moved to lie inside the image. Where the image
    is too small for that, the largest square that fits, but no smaller than ``TIGHTEST_SCALE`` face sides:
    then it reaches over the edge (``crop_image`` repeats the edge pixels).

    Args:
        face: face box, pixels of the image.
        image_size: (width, height) of the image.

    Returns:
        A square with whole-number corner and side.

    Raises:
        UsageError: the box is empty or lies outside the image.
    """
    _check_box(face, image_size)
    side = _fitting_side(FRAME_SCALE * face.side, TIGHTEST_SCALE * face.side, image_size)
    x = _inside(round(face.cx - side / 2), side, image_size[0])
    y = _inside(round(face.cy - side / 2), side, image_size[1])
    return Box(x, y, side, side)


def clip_crop(faces: Sequence[Box], image_size: tuple[int, int], scale: float = FRAME_SCALE) -> Box:
    """One square crop for a whole clip, the smallest that holds all boxes (paper, section 4).

    It gives the median face the framing of ``frame_crop`` around the median centre. When the face moves far,
    the crop moves, then grows, until it holds every box with a margin (``MOTION_MARGIN``), as far as the
    image reaches.

    Args:
        faces: face boxes of the clip, pixels of its frames, in any order.
        image_size: (width, height) of the frames.
        scale: the crop's side in sides of the median face, where that holds all boxes.

    Returns:
        A square with whole-number corner and side.

    Raises:
        UsageError: no box, an empty one, or one outside the frame.
    """
    if not faces:
        raise UsageError("no face boxes to frame a clip by")
    for face in faces:
        _check_box(face, image_size)
    cx = float(np.median([face.cx for face in faces]))
    cy = float(np.median([face.cy for face in faces]))
    median_side = float(np.median([face.side for face in faces]))

    wide = [face.scaled(MOTION_MARGIN) for face in faces]
    width, height = image_size
    left = max(0, math.floor(min(b.x for b in wide)))
    top = max(0, math.floor(min(b.y for b in wide)))
    right = min(width, math.ceil(max(b.x + b.w for b in wide)))
    bottom = min(height, math.ceil(max(b.y + b.h for b in wide)))

    must_hold = max(right - left, bottom - top)
    tightest = max(TIGHTEST_SCALE * median_side, must_hold)
    side = _fitting_side(max(scale * median_side, must_hold), tightest, image_size)
    # The nearest place to the median centre that holds the union. The image's edge cannot push the union out
    # again, because the union was cut to the image.
    x = min(max(round(cx - side / 2), right - side), left)
    y = min(max(round(cy - side / 2), bottom - side), top)
    return Box(_inside(x, side, width), _inside(y, side, height), side, side)


def square_crop(box: Box, image_size: tuple[int, int]) -> Box:
    """A crop given by hand (``--crop x,y,w,h``) as a whole-pixel square: its longer side, around its centre.

    Moved to lie inside the image where it fits there.

    Raises:
        UsageError: the box is empty or lies outside the image.
    """
    _check_box(box, image_size)
    side = max(1, round(box.side))
    x = _inside(round(box.cx - side / 2), side, image_size[0])
    y = _inside(round(box.cy - side / 2), side, image_size[1])
    return Box(x, y, side, side)


@dataclass(frozen=True)
class Framing:
    """How a crop that is found lies around its face.

    Attributes:
        zoom: how much larger the face is than usual, above 0; 2 is twice as large.
        shift: (x, y), how far the crop moves right and down, in sides of itself.

    Raises:
        UsageError: out of range.
    """

    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not LEAST_ZOOM <= self.zoom <= MOST_ZOOM:
            raise UsageError(f"a zoom of {self.zoom:g}: give {LEAST_ZOOM:g} to {MOST_ZOOM:g}")
        if not all(-1 <= share <= 1 for share in self.shift):
            x, y = self.shift
            raise UsageError(f"a shift of {x:g},{y:g}: give -1 to 1, in sides of the crop")

    def around(self, crop: Box, image_size: tuple[int, int]) -> Box:
        """The crop, a whole-pixel square, moved and made smaller or larger; it may reach over the image.

        Raises:
            UsageError: it lies outside the image, or is far larger.
        """
        side = max(1, round(crop.side / self.zoom))
        x = round(crop.cx + self.shift[0] * side - side / 2)
        y = round(crop.cy + self.shift[1] * side - side / 2)
        moved = Box(x, y, side, side)
        _check_box(moved, image_size)
        return moved


def crop_image(image: Image, crop: Box | None, size: int) -> Image:
    """The crop as a square picture, edge pixels repeated where it reaches over the image.

    Args:
        image: uint8 (H, W, 3), or (H, W).
        crop: whole-pixel square, see ``frame_crop``; None is the whole image, made a square.
        size: side of the result, pixels.

    Returns:
        uint8 (size, size, 3), geometrically as ``crop_transform(crop, size)`` says.

    Raises:
        ValueError: the crop is not a whole-pixel square.
        UsageError: it does not touch the image.
    """
    if crop is None:
        return resized(image, (size, size))
    x, y, side = _whole_square(crop)
    height, width = image.shape[:2]
    _check_box(crop, (width, height))
    part = image[max(y, 0) : y + side, max(x, 0) : x + side]
    over = (max(-y, 0), max(y + side - height, 0), max(-x, 0), max(x + side - width, 0))
    if any(over):
        part = np.asarray(cv2.copyMakeBorder(part, *over, cv2.BORDER_REPLICATE), np.uint8)
    return resized(part, (size, size))


def resized(image: Image, size: tuple[int, int]) -> Image:
    """An image at that size, (width, height); a copy even where that is its own size."""
    if (image.shape[1], image.shape[0]) == size:
        return image.copy()
    # Area averaging is the only one of OpenCV's filters that does not alias when it shrinks.
    shrinks = size[0] < image.shape[1] or size[1] < image.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def crop_region(crop: Box, image_size: tuple[int, int]) -> tuple[slice, slice, tuple[slice, slice]]:
    """Where a crop lies in its image: rows, columns, and (rows, columns) of the crop that show image.

    Args:
        crop: whole-pixel square.
        image_size: (width, height) of the image.

    Raises:
        ValueError: the crop is not a whole-pixel square.
        UsageError: it does not touch the image.
    """
    x, y, side = _whole_square(crop)
    width, height = image_size
    _check_box(crop, image_size)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    return slice(y0, y1), slice(x0, x1), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))


def crop_transform(crop: Box, size: int) -> Matrix:
    """(2, 3) matrix from a point of the image to that point of ``crop_image(image, crop, size)``, pixels."""
    scale_x, scale_y = size / crop.w, size / crop.h
    return np.array(
        [
            [scale_x, 0.0, (0.5 - crop.x) * scale_x - 0.5],
            [0.0, scale_y, (0.5 - crop.y) * scale_y - 0.5],
        ]
    )


def inverse_crop_transform(crop: Box, size: int) -> Matrix:
    """(2, 3) matrix from a point of the crop, ``size`` pixels wide, to that point of the image, pixels."""
    scale_x, scale_y = crop.w / size, crop.h / size
    return np.array(
        [
            [scale_x, 0.0, 0.5 * scale_x + crop.x - 0.5],
            [0.0, scale_y, 0.5 * scale_y + crop.y - 0.5],
        ]
    )


def transform_points(matrix: Matrix, points_px: Points) -> Points:
    """Points (..., 2) as x, y through a (2, 3) matrix; same shape."""
    return points_px @ matrix[:, :2].T + matrix[:, 2]


def _fitting_side(wanted: float, tightest: float, image_size: tuple[int, int]) -> int:
    """The wanted side, or less where the image is smaller, but not less than the tightest."""
    side = min(wanted, max(min(image_size), tightest))
    return max(1, math.ceil(side - 1e-9))


def _inside(start: int, side: int, length: int) -> int:
    """``start`` moved so that [start, start + side) lies in [0, length), or, when longer, holds it."""
    slack = length - side
    return min(max(start, min(slack, 0)), max(slack, 0))


def _check_box(box: Box, image_size: tuple[int, int]) -> None:
    width, height = image_size
    place = f"box {box.x:g},{box.y:g},{box.w:g},{box.h:g}"
    if not all(map(math.isfinite, (box.x, box.y, box.w, box.h))):
        raise UsageError(f"{place}: give x,y,w,h as numbers of pixels")
    if not (box.w > 0 and box.h > 0):
        raise UsageError(f"{place} is empty: give x,y,w,h with w and h above 0")
    if not (box.x < width and box.y < height and box.x + box.w > 0 and box.y + box.h > 0):
        raise UsageError(f"{place} lies outside the {width}x{height} image: give x,y,w,h in its pixels")
    if box.side > LARGEST_BOX * max(width, height):
        raise UsageError(
            f"{place} is more than {LARGEST_BOX} times as large as the {width}x{height} image: "
            "give x,y,w,h in its pixels"
        )


def _whole_square(crop: Box) -> tuple[int, int, int]:
    """(x, y, side) of a crop, which must be a square of whole pixels: only then is a slice exact."""
    x, y, side = int(crop.x), int(crop.y), int(crop.w)
    if (x, y, side, side) != (crop.x, crop.y, crop.w, crop.h):
        raise ValueError(
            f"not a whole-pixel square: {crop}; make one with frame_crop, clip_crop or square_crop"
        )
    return x, y, side
