"""Pictures of results: source, driving frame, result and error side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faceanim_cli.evaluation.pictures import Picture, as_bytes, as_unit
from faceanim_cli.media import write_photo
from faceanim_cli.pictures import Image

TILE = 192  # pixels a side of each picture
GAP = 4  # white pixels between them
ERROR_GAIN = 4.0  # an error of a quarter of the range is white


@dataclass(frozen=True)
class Strip:
    """Source, driving, result, error: uint8 (TILE, W, 3)."""

    image: Image
    motion: float  # of the driving frame

    def save(self, path: Path) -> None:
        """As JPEG or PNG."""
        write_photo(path, self.image)


def strip_of(source: Picture, driving: Picture, result: Picture, motion: float) -> Strip:
    """The four pictures in a row."""
    error = np.abs(as_unit(result) - as_unit(driving)).mean(-1, keepdims=True).repeat(3, axis=-1)
    tiles = [source, driving, result, as_bytes(np.clip(ERROR_GAIN * error, 0, 1))]
    return Strip(in_a_row([tile(picture) for picture in tiles]), motion)


def tile(picture: Picture, side: int = TILE) -> Image:
    """The picture as uint8 (side, side, 3)."""
    levels: Any = as_bytes(picture)
    shrinks = levels.shape[0] > side
    resized = cv2.resize(levels, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.asarray(resized, np.uint8)


def in_a_row(tiles: Sequence[Image]) -> Image:
    """Tiles beside each other, with gaps."""
    gap = np.full((tiles[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for one in tiles for part in (one, gap)][:-1]
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def in_a_column(rows: Sequence[Image]) -> Image:
    """Rows below each other, with gaps."""
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    parts = [part for one in rows for part in (one, gap)][:-1]
    return np.ascontiguousarray(np.concatenate(parts, axis=0))
