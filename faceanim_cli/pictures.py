"""Types that all layers share: arrays of pixels and points, and the progress callback."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[np.uint8]
"""One picture or frame: RGB in [0, 255], (H, W, 3)."""

Frames: TypeAlias = npt.NDArray[np.uint8]
"""Several pictures of one size: RGB in [0, 255], (N, H, W, 3)."""

Mask: TypeAlias = npt.NDArray[np.float32]
"""A weight in [0, 1] for each pixel, (H, W)."""

Points: TypeAlias = npt.NDArray[np.floating[Any]]
"""Points as x, y, (..., 2); in pixels or in [-1, 1], as the place where it is used says."""

Landmarks: TypeAlias = npt.NDArray[np.float32]
"""The 68 landmarks of each frame as x, y in pixels, (N, 68, 2); NaN where no face was found."""

Matrix: TypeAlias = npt.NDArray[np.float64]
"""A linear or affine map, usually (2, 3)."""

Floats: TypeAlias = npt.NDArray[np.float32]
"""Any other numbers; the shape is told where it is used."""

Flags: TypeAlias = npt.NDArray[np.bool_]
"""Yes or no for each entry."""

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called as ``progress(done, total)``; the total is None while nobody knows it."""
