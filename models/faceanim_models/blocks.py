"""Convolution blocks that the networks share.

All of them keep to convolution, batch normalisation and ReLU: for inference the normalisation is
folded into the convolution (:func:`fold_batch_norms`) and costs nothing.
"""

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

M = TypeVar("M", bound=nn.Module)


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, ReLU. (B, in, H, W) -> (B, out, H / stride, W / stride)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, bias: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=bias)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)


class Mergeable(nn.Module):
    """What can compute the same with less, where nothing is left to train."""

    def merge(self) -> None:
        """Make it so, in place."""
        raise NotImplementedError


class EnlargingBlock(Mergeable, ConvBlock):
    """Every pixel doubled along both axes, then a 3x3 block: (B, in, H, W) -> (B, out, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.conv, nn.Conv2d):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        y: Tensor = self.relu(self.norm(self.conv(x)))
        return y

    def merge(self) -> None:
        """See ``Mergeable``: one transposed convolution of doubling and convolution.

        Of nine products with doubled pixels four are left: a 3x3 kernel meets only 2x2 different pixels, and
        weights that meet the same pixel are added beforehand. Twice as fast on a CPU, on maps above 8x8.
        """
        conv = self.conv
        merged = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 4, stride=2, padding=1)
        # Position i of the four along an axis is met by those of the three weights:
        meets = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        with torch.no_grad():
            merged.weight.copy_(torch.einsum("oiyx,ay,bx->ioab", conv.weight, meets, meets))
            if merged.bias is not None and conv.bias is not None:
                merged.bias.copy_(conv.bias)
        self.add_module("conv", merged)


class JoinBlock(ConvBlock):
    """A 1x1 block of maps and what is joined to them, (B, channels + joined, H, W) -> (B, channels, H, W)."""

    def __init__(self, channels: int, joined: int) -> None:
        super().__init__(channels + joined, channels, kernel=1)

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """``added``: (B, channels, H, W), what was left out of ``x`` makes of them; may be overwritten."""
        y: Tensor = self.norm(self.conv(x))
        return self.relu(y if added is None else y + added)  # type: ignore[no-any-return]


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
        merged: Tensor = self.merge(torch.cat((x, skip), dim=1))
        return merged


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
        pairs = list(pairwise(widths))
        self.downs = nn.ModuleList(ConvBlock(a, b, stride=2) for a, b in pairs)
        self.joins = nn.ModuleList(
            JoinBlock(width, extra) if extra else nn.Identity()
            for width, extra in zip(widths[1:], joined[1:], strict=True)
        )
        self.bottleneck = ResidualBlock(widths[-1])
        self.ups = nn.ModuleList(UpBlock(b, a, a) for a, b in reversed(pairs))

    def forward(
        self, x: Tensor, joined: Sequence[Tensor | None] = (), added: Sequence[Tensor | None] = ()
    ) -> Tensor:
        """(B, in, H, W) -> (B, widths[0], H, W). ``joined[i]``: (B, joined_i, H / 2^i, W / 2^i) or None.

        ``added[i]``: None, or for a level after the first see ``JoinBlock``.
        """
        levels = len(self.downs) + 1
        extras, more = list(joined) or [None] * levels, list(added) or [None] * levels
        x = self.stem(x if extras[0] is None else torch.cat((x, extras[0]), dim=1))
        skips = []
        for down, join, extra, known in zip(self.downs, self.joins, extras[1:], more[1:], strict=True):
            skips.append(x)
            x = down(x)
            x = x if extra is None else torch.cat((x, extra), dim=1)
            x = join(x) if known is None else join(x, known)
        x = self.bottleneck(x)
        for up in self.ups:
            x = up(x, skips.pop())
        return x


# How a convolution and the batch norm that follows it are called: in our blocks, in torchvision's ResNets,
# and in first-order-model's residual blocks, whose second norm follows the first convolution.
FOLDED = (
    ("conv", "norm"),
    ("conv1", "bn1"),
    ("conv2", "bn2"),
    ("conv3", "bn3"),
    ("0", "1"),
    ("conv1", "norm2"),
    ("compress", "norm"),  # LivePortrait's dense motion network
)


def fold_batch_norms(network: M) -> M:
    """A copy of ``network`` in evaluation mode in which each batch norm is folded into its convolution.

    The outputs are the same up to rounding. The copy cannot be trained.
    """
    # What is not folded is shared: large networks need not be in memory twice.
    own: dict[int, object] = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in network.parameters()}
    network = copy.deepcopy(network, own).eval()
    for module in network.modules():
        for conv_name, norm_name in FOLDED:
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    for module in list(network.modules()):
        if isinstance(module, Mergeable):
            module.merge()
    return network


def of_inputs(conv: nn.Conv2d, *inputs: slice, bias: bool = True) -> nn.Conv2d:
    """A padded convolution of some of another's input channels, with its bias or without one."""
    weight = torch.cat([conv.weight[:, some] for some in inputs], dim=1)
    kernel = weight.shape[-1]
    part = nn.Conv2d(weight.shape[1], conv.out_channels, kernel, padding=kernel // 2, bias=bias)
    with torch.no_grad():
        part.weight.copy_(weight)
        if part.bias is not None and conv.bias is not None:
            part.bias.copy_(conv.bias)
    return part


def lay_channels_last(network: nn.Module) -> None:
    """Put the weights of convolutions, in place, into the order in which their channels lie side by side."""
    for weights in network.parameters():
        if weights.ndim == 4:  # volumes are no faster for it
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)


def cast_convolutions(network: nn.Module, dtype: torch.dtype) -> None:
    """Keep the weights of convolutions in ``dtype``, in place, for inference under autocast in that type.

    Autocast alone would cast them in every call. Parts that say ``full_precision`` keep theirs.
    """
    if getattr(network, "full_precision", False):
        return
    if isinstance(network, nn.Conv2d | nn.ConvTranspose2d | nn.Conv3d):
        network.to(dtype)
    for child in network.children():
        cast_convolutions(child, dtype)
