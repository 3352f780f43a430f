"""Distances of how much detail there is, place by place, whatever it is.

What is made lies a pixel or two beside the truth: compared pixel by pixel, or feature by feature, it had
better be blurred. That it is as rough there as the truth is asked for besides.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

STAGES = 2  # of the feature maps: later ones say what is seen, not how sharply
LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
WINDOW = 8  # pixels a side, every half of it


def contrast_distance(maps: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Mean L1 distance of local standard deviations of feature maps, ``PerceptualLoss.maps`` of both."""
    distances = [
        (_deviation(a) - _deviation(b)).abs().sum(1).mean() / a.shape[1] ** 0.5
        for a, b in zip(maps[:STAGES], target[:STAGES], strict=True)
    ]
    return torch.stack(distances).sum()


def sharpness_distance(images: Tensor, target: Tensor) -> Tensor:
    """Mean L1 distance of the :func:`sharpness` of images (B, 3, H, W)."""
    return (sharpness(images) - sharpness(target)).abs().mean()


def sharpness(images: Tensor) -> Tensor:
    """How large the Laplacian is, as its root mean square in windows: (B, 3, H, W) to (B, 3, h, w)."""
    kernel = images.new_tensor(LAPLACIAN).float().expand(images.shape[1], 1, 3, 3)
    with torch.autocast(images.device.type, enabled=False):
        edges = F.conv2d(images.float(), kernel, groups=images.shape[1])
    return (F.avg_pool2d(edges.square(), WINDOW, WINDOW // 2) + 1e-6).sqrt()


def _deviation(maps: Tensor) -> Tensor:
    smaller = min(maps.shape[-2:])
    side, step = (6, 3) if smaller > 24 else (min(4, smaller), 2)  # cells
    mean = F.avg_pool2d(maps, side, step)
    variance = F.avg_pool2d(maps.square(), side, step) - mean.square()
    # Far below what unit vectors of so many features vary by; it keeps the root's slope finite.
    return (variance.clamp_min(0) + 1e-4 / maps.shape[1]).sqrt()
