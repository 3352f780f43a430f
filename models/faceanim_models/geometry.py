"""Points, grids and warps.

Coordinates are x right, y down, in [-1, 1]: -1 is the centre of the first pixel and 1 the centre of
the last (``align_corners=True``, everywhere in this package). A pixel position p of an axis with n
pixels is ``2 p / (n - 1) - 1``, at any resolution.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F


def identity_grid(height: int, width: int, like: Tensor) -> Tensor:
    """The sampling grid that changes nothing, (1, H, W, 2) as x, y, float32, on the device of ``like``."""
    x = torch.linspace(-1, 1, width, device=like.device)
    y = torch.linspace(-1, 1, height, device=like.device)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]


def warp(image: Tensor, grid: Tensor) -> Tensor:
    """Eq. 1 of the paper, ``bilinear_warp(I, F)``: sample ``image`` (B, C, H, W) at ``grid`` (B, h, w, 2).

    Returns (B, C, h, w) in the type of ``image``. Beyond the edge the edge pixel is repeated. Sampled
    in float32: in half precision the positions alone would be off by up to half a pixel.
    """
    with in_full_precision(image):
        sampled = F.grid_sample(image.float(), grid.float(), padding_mode="border", align_corners=True)
    return sampled.to(image.dtype)


def in_full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Switches autocast off for the device of ``like``: positions do not survive 8 bits of mantissa."""
    return nullcontext() if like.is_meta else torch.autocast(like.device.type, enabled=False)


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """Bilinear resize of (B, C, h, w); the corners stay in place, and shrinking low-passes."""
    if image.shape[-2:] == (height, width):
        return image
    if height >= image.shape[-2] and width >= image.shape[-1]:
        return F.interpolate(image, (height, width), mode="bilinear", align_corners=True)
    # torch's own low-pass (antialias=True) shifts a picture whose corners stay: 1.5 pixels at a quarter.
    rows, columns = (
        _tent_weights(image.shape[-2], height, image),
        _tent_weights(image.shape[-1], width, image),
    )
    with in_full_precision(image):
        return (rows @ (image.float() @ columns.T)).to(image.dtype)


def _tent_weights(before: int, after: int, like: Tensor) -> Tensor:
    """(after, before): what each pixel counts for each resized one, a tent as wide as the shrinking asks."""
    centres = torch.linspace(0, before - 1, after, device=like.device)[:, None]
    reach = max(1.0, (before - 1) / max(after - 1, 1))
    distance = (torch.arange(before, device=like.device) - centres).abs()
    weights = (1 - distance / reach).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)


def resize_grid(grid: Tensor, height: int, width: int) -> Tensor:
    """Resize a sampling grid (B, h, w, 2) to (B, height, width, 2). Grids are smooth: no low-pass."""
    moved = F.interpolate(grid.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=True)
    return moved.permute(0, 2, 3, 1)


def gaussian_heatmaps(points: Tensor, height: int, width: int, sigma: float) -> Tensor:
    """(B, K, 2) -> (B, K, H, W): a Gaussian of height 1 and standard deviation ``sigma`` at each point."""
    # The Gaussian separates: K (H + W) exponentials instead of K H W.
    x = torch.linspace(-1, 1, width, device=points.device)
    y = torch.linspace(-1, 1, height, device=points.device)
    along_x = torch.exp(-0.5 * ((x - points[..., 0:1]) / sigma) ** 2)  # (B, K, W)
    along_y = torch.exp(-0.5 * ((y - points[..., 1:2]) / sigma) ** 2)  # (B, K, H)
    return along_y[..., :, None] * along_x[..., None, :]


def fit_similarity(source: Tensor, target: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The rotation, scale and shift that carry ``source`` onto ``target`` with the least squared error.

    Closed form in two dimensions (Umeyama 1991): with points as complex numbers about their weighted
    means, the linear part is ``sum(w conj(s) t) / sum(w |s|^2)``.

    Args:
        source, target: (B, K, 2).
        weights: (K,), non-negative, not all zero; None for equal ones.

    Returns:
        The linear part (B, 2, 2), to be applied as ``linear @ point``, and the shift (B, 2).
    """
    w = torch.full_like(source[0, :, 0], 1.0) if weights is None else weights
    w = (w / w.sum())[:, None]  # (K, 1)
    source_mean, target_mean = (w * source).sum(-2), (w * target).sum(-2)  # (B, 2)
    s, t = source - source_mean[:, None], target - target_mean[:, None]
    # A face squeezed into one point has no scale; the floor keeps the division defined.
    energy = (w * s.square()).sum((-2, -1)).clamp_min(1e-8)
    cos = (w * (s * t)).sum((-2, -1)) / energy
    sin = (w[:, 0] * (s[..., 0] * t[..., 1] - s[..., 1] * t[..., 0])).sum(-1) / energy
    linear = torch.stack((cos, -sin, sin, cos), dim=-1).unflatten(-1, (2, 2))
    shift = target_mean - (linear @ source_mean[..., None])[..., 0]
    return linear, shift
