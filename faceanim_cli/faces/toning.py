"""Keeps the colours of toned photos (black and white, sepia, blueprint) in what the networks paint."""

import cv2
import numpy as np
import numpy.typing as npt

from faceanim_cli.pictures import Image

ToneCurve = npt.NDArray[np.uint8]
"""The colour of each brightness, (256, 1, 3)."""

# How far pixels may lie from the colour of their brightness, in levels of 255: JPEG's noise in photos of one
# tone stays below; of 90 photos and clips in colour the palest were 3.1 and 12.4 levels off.
MEAN_LEVELS, MOST_LEVELS = 2.5, 10.5
MOST_SHARE = 99.0  # percent of the pixels that ``MOST_LEVELS`` is for
SIDE = 128  # pixels at which a photo is looked at: averages some of JPEG's noise away


def tone_curve(photo: Image) -> ToneCurve | None:
    """The curve that all pixels of a photo, uint8 RGB (H, W, 3), lie on; None for a photo with colours."""
    small = np.asarray(cv2.resize(photo, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    brightness = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).reshape(-1)
    pixels = small.reshape(-1, 3)
    counts = np.bincount(brightness, minlength=256)
    there = np.flatnonzero(counts)
    curve = np.empty((256, 3))
    for channel in range(3):
        sums = np.bincount(brightness, weights=pixels[:, channel], minlength=256)
        curve[:, channel] = np.interp(np.arange(256), there, sums[there] / counts[there])
    off = np.abs(pixels - curve[brightness]).max(1)
    if off.mean() > MEAN_LEVELS or np.percentile(off, MOST_SHARE) > MOST_LEVELS:
        return None
    return np.rint(curve).astype(np.uint8)[:, None]


def toned(image: Image, curve: ToneCurve) -> Image:
    """An image, uint8 RGB (H, W, 3), with the colours of a curve and its own brightness."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.LUT(grey, curve), np.uint8)
