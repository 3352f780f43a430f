"""Convolution blocks that the networks share.

All of them keep to convolution, batch normalisation and ReLU: for inference the normalisation is
folded into the convolution (:func:`fold_batch_norms`) and costs nothing.
"""

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

M = TypeVar("M", bound=nn.Module)


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, ReLU. (B, in, H, W) -> (B, out, H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around which the input is carried: ``relu(x + f(x))``. Shape unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.conv(self.first(x))))


class UpBlock(nn.Module):
    """(B, in, h, w) and a skip (B, skip, 2h, 2w) -> (B, out, 2h, 2w); the skip is concatenated.

    The channels are brought down by a 1x1 convolution before the upsampling, where it costs a
    quarter of what it would cost after it.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = ConvBlock(in_channels, out_channels, kernel=1)
        self.merge = ConvBlock(out_channels + skip_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(self.reduce(x), scale_factor=2.0, mode="nearest")
        return self.merge(torch.cat((x, skip), dim=1))


class UNet(nn.Module):
    """Encoder and decoder with concatenating skips, and a place at each level for features from elsewhere.

    Args:
        in_channels: channels of the input, at the first (largest) level.
        widths: channels of each level; every level has half the height and width of the one before.
        joined: channels of the features joined at each level (0: none), same length as ``widths``.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], joined: Sequence[int] = ()) -> None:
        super().__init__()
        joined = tuple(joined) or (0,) * len(widths)
        if len(joined) != len(widths):
            raise ValueError(f"joined has {len(joined)} levels, widths has {len(widths)}")
        self.stem = ConvBlock(in_channels + joined[0], widths[0])
        pairs = list(zip(widths, widths[1:], strict=False))
        self.downs = nn.ModuleList(ConvBlock(a, b, stride=2) for a, b in pairs)
        self.joins = nn.ModuleList(
            ConvBlock(width + extra, width, kernel=1) if extra else nn.Identity()
            for width, extra in zip(widths[1:], joined[1:], strict=True)
        )
        self.bottleneck = ResidualBlock(widths[-1])
        self.ups = nn.ModuleList(UpBlock(b, a, a) for a, b in reversed(pairs))

    def forward(self, x: Tensor, joined: Sequence[Tensor | None] = ()) -> Tensor:
        """(B, in, H, W) -> (B, widths[0], H, W). ``joined[i]``: (B, joined_i, H / 2^i, W / 2^i) or None."""
        extras = list(joined) or [None] * (len(self.downs) + 1)
        x = self.stem(x if extras[0] is None else torch.cat((x, extras[0]), dim=1))
        skips = []
        for down, join, extra in zip(self.downs, self.joins, extras[1:], strict=True):
            skips.append(x)
            x = down(x)
            x = join(x if extra is None else torch.cat((x, extra), dim=1))
        x = self.bottleneck(x)
        for up in self.ups:
            x = up(x, skips.pop())
        return x


def fold_batch_norms(network: M) -> M:
    """A copy of ``network`` in evaluation mode in which each batch norm is folded into its convolution.

    The outputs are the same up to rounding. The copy cannot be trained.
    """
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        # Every normalised convolution of ours, and torchvision's ResNets, name the pair in one of these ways.
        for conv_name, norm_name in (("conv", "norm"), ("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")):
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return network
