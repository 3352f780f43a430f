"""Scores of pictures against their truth, and of steadiness over time. Pictures are RGB (H, W, 3): uint8, or
float in [0, 1].

All work in float64: SSIM's variances are small differences of large numbers, and in float32 a flat frame is
off by 5e-4. That is why SSIM is not torchmetrics' here, which PSNR is: its two-dimensional convolution takes
0.15 s for a frame of 256 x 256 on one core and 2 s in float64, where the separable filter below takes 0.01 s,
and its mean includes a border that it fills by reflection, where Wang et al. and scikit-image count whole
windows only. Tests hold it to scikit-image and, inside that border, to torchmetrics.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from faceanim_cli.errors import FaceanimError
from faceanim_cli.pictures import Flags, Floats, Image

Picture: TypeAlias = npt.NDArray[Any]  # (H, W, 3), uint8 or float in [0, 1]
Unit: TypeAlias = npt.NDArray[np.float64]  # (H, W, 3) in [0, 1]

WINDOW = 11  # pixels: the Gaussian window's side (Wang et al. 2004)
SIGMA = 1.5  # pixels
C1, C2 = 0.01**2, 0.03**2  # for a data range of 1
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, finest scale first
SMALLEST_MS_SSIM = WINDOW * 2 ** (
    len(SCALE_WEIGHTS) - 1
)  # 176 pixels: a window must fit at the coarsest scale

# A pixel is occluded where flow there and flow back do not cancel (Ruder, Dosovitskiy and Brox 2016, Eq. 5).
OCCLUSION_SHARE, OCCLUSION_FLOOR = 0.01, 0.5  # of the squared lengths; and so many squared pixels


def as_unit(picture: Picture) -> Unit:
    """The picture as float64 in [0, 1]: 8-bit levels are divided by 255, floats taken as they are."""
    if picture.dtype == np.uint8:
        return picture.astype(np.float64) / 255
    return picture.astype(np.float64)


def as_bytes(picture: Picture) -> Image:
    """The picture as uint8, rounded and clipped."""
    if picture.dtype == np.uint8:
        return np.asarray(picture, np.uint8)
    return np.asarray(np.clip(np.rint(picture * 255.0), 0, 255), np.uint8)


def psnr(result: Picture, truth: Picture) -> float:
    """Peak signal-to-noise ratio of a frame: dB, higher is better, 0 to inf (the paper's Eq. 8)."""
    pair = [torch.from_numpy(as_unit(picture)) for picture in (result, truth)]
    return float(peak_signal_noise_ratio(pair[0], pair[1], data_range=1.0))


def ssim(result: Picture, truth: Picture) -> float:
    """Structural similarity: higher is better, -1 to 1 (the paper's Eqs. 9-10, Wang et al. 2004)."""
    if min(truth.shape[:2]) < WINDOW:
        raise FaceanimError(f"ssim needs frames of {WINDOW} pixels at least, not {_size(truth)}")
    x, y = as_unit(result), as_unit(truth)
    return float(np.mean([_similarity(x[..., c], y[..., c])[0] for c in range(3)]))


def ms_ssim(result: Picture, truth: Picture) -> float:
    """SSIM over five scales: higher is better, 0 to 1 (Wang, Simoncelli and Bovik, Asilomar 2003)."""
    if min(truth.shape[:2]) < SMALLEST_MS_SSIM:
        raise FaceanimError(f"ms-ssim needs frames of {SMALLEST_MS_SSIM} pixels at least, not {_size(truth)}")
    x, y = as_unit(result), as_unit(truth)
    product = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        coarsest = scale == len(SCALE_WEIGHTS) - 1
        values = [_similarity(x[..., c], y[..., c])[0 if coarsest else 1] for c in range(3)]
        product *= max(float(np.mean(values)), 0.0) ** weight  # negative ones have no such power: 0
        x, y = _halved(x), _halved(y)
    return product


def l1(result: Picture, truth: Picture) -> float:
    """Mean absolute error: lower is better, 0 to 1 (Siarohin et al. 2019)."""
    return float(np.abs(as_unit(result) - as_unit(truth)).mean())


@dataclass(frozen=True)
class Flow:
    """Where each pixel of a frame was in the frame before.

    Attributes:
        origin: (H, W, 2) float32, x and y in pixels of the frame before.
        seen: (H, W) bool, whether it was visible there.
    """

    origin: Floats
    seen: Flags


def flow_from_before(before: Picture, frame: Picture) -> Flow:
    """Dense optical flow (DIS, Kroeger et al. 2016) from ``frame`` back to the frame before it."""
    grey_before, grey = (cv2.cvtColor(as_bytes(p), cv2.COLOR_RGB2GRAY) for p in (before, frame))
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back = dis.calc(grey, grey_before, np.zeros((*grey.shape, 2), np.float32))
    there = dis.calc(grey_before, grey, np.zeros((*grey.shape, 2), np.float32))
    y, x = np.indices(grey.shape, dtype=np.float32)
    origin = np.stack((x, y), axis=-1) + back
    there_at_origin = cv2.remap(there, origin, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
    gap = np.square(back + there_at_origin).sum(-1)
    lengths = np.square(back).sum(-1) + np.square(there_at_origin).sum(-1)
    inside = (origin >= 0).all(-1) & (origin[..., 0] <= x.max()) & (origin[..., 1] <= y.max())
    return Flow(origin, inside & (gap <= OCCLUSION_SHARE * lengths + OCCLUSION_FLOOR))


def flicker(before: Picture, result: Picture, truth_before: Picture, truth: Picture) -> float:
    """Mean absolute error of the change from frame to frame: lower is better, 0 to 2 (ours)."""
    change = as_unit(result) - as_unit(before)
    wanted = as_unit(truth) - as_unit(truth_before)
    return float(np.abs(change - wanted).mean())


def warping_error(before: Picture, result: Picture, flow: Flow) -> float:
    """Mean squared change along the truth's motion: lower is better, 0 to 1 (Lai et al. 2018, Eq. 6)."""
    if not flow.seen.any():
        return float("nan")
    moved = cv2.remap(as_unit(before).astype(np.float32), flow.origin, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
    return float(np.square(as_unit(result) - moved)[flow.seen].mean())


def _similarity(x: Unit, y: Unit) -> tuple[float, float]:
    """Mean SSIM of two channels (H, W), and the mean of its contrast and structure factor alone."""
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance = _windowed(x * x) - mean_x**2 + _windowed(y * y) - mean_y**2
    structure = (2 * (_windowed(x * y) - mean_x * mean_y) + C2) / (variance + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return float((luminance * structure).mean()), float(structure.mean())


def _windowed(channel: Unit) -> Unit:
    """Gaussian mean around each pixel whose window lies inside the picture: (H - 10, W - 10)."""
    kernel = cv2.getGaussianKernel(WINDOW, SIGMA, cv2.CV_64F)
    rim = WINDOW // 2
    blurred: Unit = np.asarray(cv2.sepFilter2D(np.ascontiguousarray(channel), -1, kernel, kernel), np.float64)
    return blurred[rim:-rim, rim:-rim]


def _halved(picture: Unit) -> Unit:
    """Means of 2x2 pixels; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    even = picture[:height, :width]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _size(picture: Picture) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
