"""Augmentation of expressions: a mouth that is wider or more open than it was, brows that are higher.

People smile and frown in few ways in the data, and a detector that has seen them guesses from the rest of the
face. Moved by a known amount, mouth and brows are where the picture shows them and nowhere else.
"""

from typing import NamedTuple

import cv2
import numpy as np

from faceanim_cli.pictures import Floats, Points

LEFT_EYE, RIGHT_EYE, LIPS, CORNERS = slice(36, 42), slice(42, 48), slice(48, 60), (48, 54)
BROWS = (slice(17, 22), slice(22, 27))
SMALLEST = 8.0  # pixels between the eyes: of smaller faces nothing is told apart
# Reach: of a mouth in its widths, along and across; of a brow in eye distances, along, up and down.
MOUTH_ALONG, MOUTH_ACROSS = 0.85, 0.6
BROW_ALONG, BROW_UP, BROW_DOWN = 0.42, 0.35, 0.2
STRIDE = 4  # pixels: changes are worked out so far apart
ITERATIONS = 30  # of where a landmark comes to lie: each takes away a quarter of what is left, at least


class Expression(NamedTuple):
    """A change of the face; all 0 is none."""

    width: float = 0.0  # of the mouth, and what is about it: 0.1 is a tenth wider, about
    smile: float = 0.0  # corners of the mouth up, in mouth widths
    opening: float = 0.0  # what the mouth is taller by, as the width
    brows: tuple[float, float] = (0.0, 0.0)  # up, in eye distances: on the picture's left and right


def random_expression(rng: np.random.Generator) -> Expression:
    """A change as training sees it."""

    def some(probability: float, most: float) -> float:
        return float(rng.uniform(-most, most)) if rng.random() < probability else 0.0

    width, smile, opening = some(0.7, 0.22), some(0.4, 0.12), some(0.4, 0.2)
    both = some(0.7, 0.09)
    brows = tuple(both + float(rng.uniform(-0.03, 0.03)) if both else 0.0 for _ in BROWS)
    return Expression(width, smile, opening, (brows[0], brows[1]))


def change_expression(image: Floats, landmarks: Points, change: Expression) -> tuple[Floats, Points]:
    """The picture with the changed face, and where its landmarks are then.

    Args:
        image: (3, S, S) float32.
        landmarks: (80, 2) in [-1, 1]; NaN beyond the 68 where one is not known.
        change: see :class:`Expression`.

    Returns:
        Both as given where the face is too small.
    """
    size = image.shape[-1]
    pixels = (landmarks.astype(np.float64) + 1) * ((size - 1) / 2)
    face = _Face(pixels, change)
    if face.eyes < SMALLEST:
        return image, landmarks
    cells = np.arange(0, size + STRIDE, STRIDE, dtype=np.float64)
    coarse = face.sources(np.stack(np.meshgrid(cells, cells), axis=-1))
    matrix = np.array([[STRIDE, 0, 0], [0, STRIDE, 0]], np.float64)
    from_x, from_y = (
        np.asarray(cv2.warpAffine(coarse[..., axis].astype(np.float32), matrix, (size, size)))
        for axis in (0, 1)
    )
    picture = np.ascontiguousarray(image.transpose(1, 2, 0))
    moved = cv2.remap(picture, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    places = pixels
    for _ in range(ITERATIONS):  # the pixel that comes from the landmark's
        places = pixels + places - face.sources(places)
    found = (places * (2 / (size - 1)) - 1).astype(landmarks.dtype)
    return np.ascontiguousarray(moved.transpose(2, 0, 1)), found


class _Face:
    """Where the pixels of a changed face come from."""

    def __init__(self, landmarks: Points, change: Expression) -> None:
        between = landmarks[RIGHT_EYE].mean(0) - landmarks[LEFT_EYE].mean(0)
        self.eyes = float(np.hypot(*between))  # pixels between them
        self.along = between / max(self.eyes, 1e-6)
        self.across = np.array((-self.along[1], self.along[0]))  # down
        self.mouth = landmarks[LIPS].mean(0)
        width = float(np.hypot(*(landmarks[CORNERS[1]] - landmarks[CORNERS[0]])))
        self.width = max(width, self.eyes / 2)  # from the side a mouth is narrow, and what is about it is not
        self.brows = [landmarks[brow].mean(0) for brow in BROWS]
        self.change = change

    def sources(self, points: Points) -> Points:
        """For points (..., 2) of the changed picture those of the picture as it was; pixels."""
        change = self.change
        u, v = self._seen_from(points, self.mouth, self.width)
        near = np.exp(-(((u / MOUTH_ALONG) ** 2 + (v / MOUTH_ACROSS) ** 2) ** 2))
        along = -self.width * change.width * u * near
        across = -self.width * (change.opening * v - 2 * change.smile * (u * u - 0.08)) * near
        for brow, up in zip(self.brows, change.brows, strict=True):
            u, v = self._seen_from(points, brow, self.eyes)
            reach = np.where(v > 0, BROW_DOWN, BROW_UP)  # the lids stay
            across = across + self.eyes * up * np.exp(-((u / BROW_ALONG) ** 4) - (v / reach) ** 4)
        shift: Points = along[..., None] * self.along + across[..., None] * self.across
        return points + shift

    def _seen_from(self, points: Points, centre: Points, unit: float) -> tuple[Points, Points]:
        """Along the line between the eyes and across it."""
        away = (points - centre) / unit
        return away @ self.along, away @ self.across
