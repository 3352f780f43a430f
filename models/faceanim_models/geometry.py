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
    return sample_at(image, grid, "border")


def sample_at(image: Tensor, grid: Tensor, padding_mode: str) -> Tensor:
    """``grid_sample`` in float32, bilinear, corners aligned; the result has the type of ``image``.

    Args:
        image: (B, C, H, W).
        grid: (B, h, w, 2), x and y in [-1, 1].
        padding_mode: beyond the edge, ``border`` repeats the edge pixel and ``zeros`` is black.
    """
    with in_full_precision(image):
        if _by_rows(image, grid):
            sampled = sample_rows(image[0].float(), grid.float(), padding_mode)
        else:
            sampled = F.grid_sample(
                image.float(), grid.float(), padding_mode=padding_mode, align_corners=True
            )
    return sampled.to(image.dtype)


def _by_rows(image: Tensor, grid: Tensor) -> bool:
    """Whether :func:`sample_rows` does it: one image for the whole batch, many channels, nothing to train."""
    one = image.shape[0] == 1 or image.stride(0) == 0
    trained = torch.is_grad_enabled() and (image.requires_grad or grid.requires_grad)
    suits = image.device.type == "cpu" and image.shape[1] >= 16 and min(image.shape[2:]) >= 2
    return one and suits and not trained and not torch.compiler.is_compiling()


def sample_rows(image: Tensor, grid: Tensor, padding_mode: str) -> Tensor:
    """:func:`sample_at` of one image, all channels of a pixel at a time, on a CPU.

    With channels last a pixel's channels are a row of a table, and a sample is the weighted sum of four rows,
    which torch has as ``embedding_bag``: from 16 channels on twice to five times as fast as ``grid_sample``,
    and the result lies in memory as convolutions want it.

    Args:
        image: (C, H, W), float32, H and W at least 2.
        grid: (B, h, w, 2), float32.
        padding_mode: as in :func:`sample_at`.

    Returns:
        (B, C, h, w), channels last.
    """
    height, width = image.shape[-2:]
    left, from_left, from_right = _neighbours(grid[..., 0], width, padding_mode)
    top, from_top, from_bottom = _neighbours(grid[..., 1], height, padding_mode)
    first = (top * width + left).to(torch.int32)
    rows = torch.stack((first, first + 1, first + width, first + width + 1), dim=-1)
    weights = torch.stack(
        (from_top * from_left, from_top * from_right, from_bottom * from_left, from_bottom * from_right),
        dim=-1,
    )
    sampled = F.embedding_bag(
        rows.view(-1, 4),
        image.permute(1, 2, 0).reshape(height * width, -1),
        mode="sum",
        per_sample_weights=weights.view(-1, 4),
    )
    return sampled.view(*grid.shape[:3], -1).permute(0, 3, 1, 2)


def _neighbours(places: Tensor, size: int, padding_mode: str) -> tuple[Tensor, Tensor, Tensor]:
    """The pixel before each place in [-1, 1] of an axis; its weight, and that of the pixel after it.

    The pixel is never the last of the ``size``. Weights are 0 for both where neither is next to the place.
    """
    at = (places + 1) * ((size - 1) / 2)
    if padding_mode == "border":
        at.clamp_(0, size - 1)
    # What is not a number samples as such, but needs a pixel.
    near = at.floor().nan_to_num_(0.0).clamp_(0, size - 2)
    past = at - near
    return near, (1 - past.abs()).clamp_min_(0), (1 - (past - 1).abs()).clamp_min_(0)


def in_full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Switches autocast off for the device of ``like``: positions do not survive 8 bits of mantissa."""
    return nullcontext() if like.is_meta else torch.autocast(like.device.type, enabled=False)


def working_type(like: Tensor) -> torch.dtype:
    """What convolutions compute in on the device of ``like``: autocast's type, or that of ``like``."""
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype


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
        if image.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # A picture with channels last has rows of pixels as they are needed, and here, turned, columns.
            turned = _weighted_rows(image.float().permute(0, 2, 3, 1), rows).transpose(1, 2)
            return _weighted_rows(turned, columns).permute(0, 3, 2, 1).to(image.dtype)
        return (rows @ (image.float() @ columns.T)).to(image.dtype)


def _weighted_rows(table: Tensor, weights: Tensor) -> Tensor:
    """``weights`` (n, H) times each table of rows (B, H, W, C), most of them zero: (B, n, W, C), on a CPU."""
    batch, height = table.shape[:2]
    counts, at = weights.topk(int((weights > 0).sum(1).amax()), dim=1)
    at = at + height * torch.arange(batch)[:, None, None]
    rows = F.embedding_bag(
        at.flatten(0, 1),
        table.reshape(batch * height, -1),
        mode="sum",
        per_sample_weights=counts.repeat(batch, 1),
    )
    return rows.view(batch, len(weights), *table.shape[2:])


def _tent_weights(before: int, after: int, like: Tensor) -> Tensor:
    """(after, before): what each pixel counts for each resized one, a tent as wide as the shrinking asks."""
    centres = torch.linspace(0, before - 1, after, device=like.device)[:, None]
    reach = max(1.0, (before - 1) / max(after - 1, 1))
    distance = (torch.arange(before, device=like.device) - centres).abs()
    weights = (1 - distance / reach).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)


def resize_grid(grid: Tensor, height: int, width: int) -> Tensor:
    """Resize a sampling grid (B, h, w, 2) to (B, height, width, 2). Grids are smooth: no low-pass."""
    if grid.shape[1:3] == (height, width):
        return grid
    moved = F.interpolate(grid.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=True)
    return moved.permute(0, 2, 3, 1)


def limit_grid(grid: Tensor, reach: Tensor | None) -> Tensor:
    """A sampling grid (B, H, W, 2) of which each place keeps the share ``reach`` (B, 1, h, w) of its motion.

    0 is none: the place stays as it is in the photo. None leaves the grid as it is.
    """
    if reach is None:
        return grid
    height, width = grid.shape[1:3]
    still = identity_grid(height, width, like=grid)
    return still + (grid - still) * resize(reach, height, width).permute(0, 2, 3, 1)


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


def soft_argmax(logits: Tensor) -> Tensor:
    """Softmax over the spatial axes of (B, K, H, W), then the expected position: (B, K, 2)."""
    height, width = logits.shape[-2:]
    weights = logits.flatten(-2).softmax(-1).unflatten(-1, (height, width))
    x = torch.linspace(-1, 1, width, device=logits.device)
    y = torch.linspace(-1, 1, height, device=logits.device)
    return torch.stack(((weights.sum(-2) * x).sum(-1), (weights.sum(-1) * y).sum(-1)), dim=-1)
