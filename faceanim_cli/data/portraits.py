"""Pairs of low and high resolution for super-resolution, cut from portrait photos.

A data folder's manifest lists them beside its clips.
"""

import io
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image as PillowImage
from torch.utils.data import Dataset

from faceanim_cli.data.data_folder import read_manifest
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.faces.detector import FaceDetector
from faceanim_cli.faces.framing import FRAME_SCALE, Box, frame_crop
from faceanim_cli.media import read_photo
from faceanim_cli.pictures import Floats, Image, Matrix

SHOWN = 512  # pixels: side of the product's frame after super-resolution
FINEST = 1.0  # pixels of the result for one of the photo: an enlarged photo has no detail to teach
FILTERS = (
    PillowImage.Resampling.BOX,
    PillowImage.Resampling.BILINEAR,
    PillowImage.Resampling.BICUBIC,
    PillowImage.Resampling.LANCZOS,
)

# How the low-resolution picture comes to be. What super-resolution gets in use is a photo that was shrunk to
# 256 pixels, warped with bilinear interpolation and partly repainted: soft, and seldom sharp to the pixel.
# Photos and videos bring the noise and the blocks of their compression along, which must not be sharpened.
PLAIN = 0.15  # probability of the shrunk picture as it is; of all others:
WARPED = 0.6  # probability of a detour over another frame, with bilinear interpolation back
ZOOM = 0.08  # standard deviation of the log of the other frame's scale
BLURRED, BLUR = 0.5, 0.9  # probability of a Gaussian blur, its largest standard deviation in small pixels
NOISY, NOISE = 0.4, 4.0  # probability of noise, its largest standard deviation in 8-bit levels
RESIZED = 0.1  # probability of being resized to another size and back
COMPRESSED, QUALITY = 0.5, (40, 95)  # probability of JPEG, and its quality

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Portrait:
    """A photo, uint8 RGB (H, W, 3), and where its face is, in its pixels."""

    name: str
    identity: str
    image: Image
    face: Box


@dataclass(frozen=True)
class View:
    """A square of a photo, its centre and side in the photo's pixels, turned by degrees.

    Edge coordinates, see ``faces.framing``.
    """

    x: float
    y: float
    side: float
    turn: float = 0.0

    def of(self, photo: Image, size: int) -> Image:
        """What it shows, uint8 (size, size, 3), low-passed; mirrored beyond the photo's edge."""
        reach = math.ceil(self.side / 2) + 4  # room for the filter
        if self.turn:
            matrix = self.matrix(self.side)
            matrix[:2, 2] += reach - self.side / 2
            whole, border = (2 * reach, 2 * reach), cv2.BORDER_REFLECT_101
            cut = np.asarray(
                cv2.warpAffine(photo, matrix[:2], whole, flags=cv2.INTER_CUBIC, borderMode=border), np.uint8
            )
            x, y = float(reach), float(reach)
        else:  # nothing is interpolated before the resize
            left, top = round(self.x) - reach, round(self.y) - reach
            cut = _cut_out(photo, left, top, 2 * reach)
            x, y = self.x - left, self.y - top
        half = self.side / 2
        box = (x - half, y - half, x + half, y + half)
        shown = PillowImage.fromarray(cut).resize((size, size), PillowImage.Resampling.LANCZOS, box)
        return np.asarray(shown, np.uint8)

    def matrix(self, size: float) -> Matrix:
        """(3, 3): from points of the photo (first pixel's centre is 0) to points of the view at ``size``."""
        x, y = self.x - 0.5, self.y - 0.5
        matrix = np.vstack((cv2.getRotationMatrix2D((x, y), self.turn, size / self.side), (0.0, 0.0, 1.0)))
        matrix[:2, 2] += (size - 1) / 2 - x, (size - 1) / 2 - y
        return np.asarray(matrix, np.float64)


class PortraitDataset(Dataset[dict[str, torch.Tensor]]):
    """Pair ``index`` is drawn by a generator seeded with (seed, index): the same on every run and machine.

    Each item: ``low`` (3, S, S) and ``high`` (3, 2S, 2S), float in [0, 1], of the same place. Faces have
    about the size at which the product shows them, a square of ``FRAME_SCALE`` face sides at 512 pixels.

    Args:
        portraits: people are drawn evenly, then one of their photos.
        size: S, pixels.
        length: how many pairs there are.
        seed: of the draw.
    """

    def __init__(self, portraits: Sequence[Portrait], size: int, length: int, seed: int = 0) -> None:
        self.people = [
            [p for p in portraits if p.identity == who] for who in sorted({p.identity for p in portraits})
        ]
        self.size, self.length, self.seed = size, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.seed, index))
        photos = self.people[rng.integers(len(self.people))]
        portrait = photos[rng.integers(len(photos))]
        view = draw_view(portrait, self.size, rng)
        high = view.of(portrait.image, 2 * self.size)
        low = degraded(portrait.image, view, self.size, rng)
        colours = colour_table(rng)
        step = -1 if rng.random() < 0.5 else 1  # mirrored or not
        return {
            name: torch.from_numpy(np.stack([colours[c][image[:, ::step, c]] for c in range(3)]))
            for name, image in (("low", low), ("high", high))
        }


def load_portraits(data: Path, split: str) -> list[Portrait]:
    """The photos of one split (train or val) of a data folder, faces found by Viola-Jones.

    Unreadable ones are skipped with a warning; where no face is found, the middle of the photo is taken.

    Raises:
        UnreadableInputError: no manifest, a column missing.
    """
    detector = FaceDetector()
    portraits = []
    for row in read_manifest(data):
        if not row.is_photo or row.split != split:
            continue
        try:
            image = read_photo(row.path)
        except UnreadableInputError as error:
            log.warning("skipped: %s", error)
            continue
        faces = detector.detect(image)
        height, width = image.shape[:2]
        side = min(height, width) / FRAME_SCALE
        face = faces[0] if faces else Box((width - side) / 2, (height - side) / 2, side, side)
        portraits.append(Portrait(row.path.stem, row.identity, image, face))
    return portraits


def draw_view(portrait: Portrait, size: int, rng: np.random.Generator) -> View:
    """A square to show at 2 ``size`` pixels.

    Three of four lie in the frame that the product would show, the others anywhere. The zoom varies around
    the product's; a turn is rare, as it costs sharpness.
    """
    height, width = portrait.image.shape[:2]
    face = portrait.face
    scale = min(FINEST, SHOWN / (FRAME_SCALE * face.side) * float(np.exp(rng.uniform(-0.3, 0.45))))
    side = min(2 * size / scale, height, width)
    turn = float(rng.normal(0, 6)) if rng.random() < 0.3 else 0.0
    if rng.random() < 0.75:
        reach = max(FRAME_SCALE * face.side - side, 0.2 * side) / 2
        x, y = face.cx + rng.uniform(-reach, reach), face.cy + rng.uniform(-reach, reach)
    else:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
    x = float(np.clip(x, side / 2, width - side / 2))
    y = float(np.clip(y, side / 2, height - side / 2))
    return View(x, y, side, turn)


def degraded(photo: Image, view: View, size: int, rng: np.random.Generator, plain: float = PLAIN) -> Image:
    """What a view of a photo comes in as, uint8 (size, size, 3); with ``plain`` 1 only shrunk."""
    if rng.random() < plain:
        return _resized(view.of(photo, 2 * size), size, PillowImage.Resampling.BOX)
    if rng.random() < WARPED:
        low = _warped(photo, view, size, ZOOM, rng)
    else:
        low = _resized(view.of(photo, 2 * size), size, FILTERS[rng.integers(len(FILTERS))])
    if rng.random() < BLURRED:
        low = np.asarray(cv2.GaussianBlur(low, (0, 0), rng.uniform(0.2, BLUR)), np.uint8)
    if rng.random() < NOISY:
        noise = rng.normal(0, rng.uniform(0, NOISE), low.shape)
        if rng.random() < 0.5:  # a camera's noise, smoothed by its software and alike in all colours
            noise = cv2.GaussianBlur(noise.mean(-1), (0, 0), 0.7)[..., None] * 2
        low = np.clip(np.rint(low + noise), 0, 255).astype(np.uint8)
    if rng.random() < RESIZED:
        other = round(size * rng.uniform(0.75, 1.5))
        low = _resized(_resized(low, other, FILTERS[rng.integers(1, 4)]), size, FILTERS[rng.integers(1, 4)])
    if rng.random() < COMPRESSED:
        file = io.BytesIO()
        quality = int(rng.integers(QUALITY[0], QUALITY[1] + 1))
        PillowImage.fromarray(low).save(file, "JPEG", quality=quality, subsampling=int(rng.choice((0, 2))))
        low = np.asarray(PillowImage.open(file), np.uint8)
    return low


def framed_pair(portrait: Portrait, size: int, seed: int, plain: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The face framed as in the product: (3, S, S) degraded, and (3, 2S, 2S), float in [0, 1]."""
    height, width = portrait.image.shape[:2]
    crop = frame_crop(portrait.face, (width, height))
    view = View(crop.cx, crop.cy, crop.side)
    low = degraded(portrait.image, view, size, np.random.default_rng(seed), plain)
    high = view.of(portrait.image, 2 * size)
    pair = [torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255) for image in (low, high)]
    return pair[0], pair[1]


def colour_table(rng: np.random.Generator) -> Floats:
    """(3, 256): what each level of each colour becomes, in [0, 1]."""
    levels = np.arange(256, dtype=np.float32) / 255
    gain = np.exp(0.15 * rng.standard_normal() + 0.05 * rng.standard_normal((3, 1)))
    return np.clip(levels * gain + 0.03 * rng.standard_normal(), 0, 1).astype(np.float32)


def _warped(photo: Image, view: View, size: int, zoom: float, rng: np.random.Generator) -> Image:
    """The view at ``size``, by bilinear interpolation from one at another place and scale."""
    other_size = round(1.15 * size) + 2
    other_side = view.side * other_size / size * float(np.exp(zoom * rng.standard_normal()))
    pixel = other_side / other_size  # in the photo's pixels
    x, y = view.x + pixel * rng.uniform(-0.5, 0.5), view.y + pixel * rng.uniform(-0.5, 0.5)
    other = View(x, y, other_side, view.turn)
    matrix = (view.matrix(size) @ np.linalg.inv(other.matrix(other_size)))[:2]
    image = other.of(photo, other_size)
    border = cv2.BORDER_REFLECT_101
    return np.asarray(
        cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border), np.uint8
    )


def _cut_out(image: Image, left: int, top: int, side: int) -> Image:
    height, width = image.shape[:2]
    part = image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    over = (max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0))
    if any(over):
        part = np.asarray(cv2.copyMakeBorder(part, *over, cv2.BORDER_REFLECT_101), np.uint8)
    return part


def _resized(image: Image, size: int, kind: PillowImage.Resampling) -> Image:
    return np.asarray(PillowImage.fromarray(image).resize((size, size), kind), np.uint8)
