"""How maps lie in memory, for inference on a CPU: torch's own rearrangements go number by number there."""

import torch
from torch import Tensor
from torch.nn import functional as F

NARROW = 32  # columns of a matrix


def channels_last(maps: Tensor) -> Tensor:
    """(B, C, H, W) with the channels of a pixel side by side in memory, as convolutions want it."""
    if not _by_blocks(maps) or not maps.is_contiguous():
        return maps.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = maps.shape
    rows = _transposed(maps.flatten(2))
    return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


def channels_first(maps: Tensor) -> Tensor:
    """(B, C, H, W) with the pixels of a channel side by side in memory, as all but convolutions want it."""
    if not _by_blocks(maps) or not maps.is_contiguous(memory_format=torch.channels_last):
        return maps.contiguous()
    return _transposed(maps.permute(0, 2, 3, 1).flatten(1, 2)).view(maps.shape)


def pixel_shuffle(maps: Tensor, factor: int = 2) -> Tensor:
    """``F.pixel_shuffle``: (B, C f f, H, W) -> (B, C, f H, f W)."""
    if not _by_blocks(maps):
        return F.pixel_shuffle(maps, factor)
    batch, channels, height, width = maps.shape
    folded = maps.unflatten(1, (channels // factor**2, factor, factor))
    pixels = maps.new_empty(batch, channels // factor**2, height, factor, width, factor)
    for row in range(factor):
        for column in range(factor):
            pixels[:, :, :, row, :, column] = folded[:, :, row, column]
    return pixels.view(batch, -1, factor * height, factor * width)


def pixel_unshuffle(maps: Tensor, factor: int = 2) -> Tensor:
    """``F.pixel_unshuffle``: (B, C, f H, f W) -> (B, C f f, H, W)."""
    if not _by_blocks(maps):
        return F.pixel_unshuffle(maps, factor)
    batch, channels, height, width = maps.shape
    folded = maps.new_empty(batch, channels * factor**2, height // factor, width // factor)
    for number in range(factor**2):
        row, column = divmod(number, factor)
        folded[:, number :: factor**2] = maps[:, :, row::factor, column::factor]
    return folded


def _by_blocks(maps: Tensor) -> bool:
    """Whether it is done by hand: not for autograd, nor where torch.compile and torch.export look on."""
    return maps.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _transposed(matrices: Tensor) -> Tensor:
    """(B, N, M) to (B, M, N): of a matrix torch transposes blocks of 60 x 60, three times as fast."""
    batch, rows, columns = matrices.shape
    if columns < NARROW:  # blocks would be half empty
        return matrices.mT.contiguous()
    result = matrices.new_empty(batch, columns, rows)
    for there, here in zip(result, matrices, strict=True):
        there.copy_(here.T)
    return result
