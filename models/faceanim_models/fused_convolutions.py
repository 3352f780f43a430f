"""Convolutions on a CPU that add and cut off (ReLU) in the pass that computes them, for inference.

oneDNN does so with what it has in registers; torch by itself reads and writes the whole map again for each.
The operators are those of torch.compile's CPU backend. They are not public: they are tried before they are
used, and where they are missing or compute something else, networks stay as they are. Where a map is doubled
before a convolution, the doubling is made part of it besides, see ``blocks.EnlargingBlock.merge``.
"""

import copy
import logging
import math
from functools import cache
from itertools import pairwise, product
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_models import blocks, first_order, super_resolver
from faceanim_models.backbones import BasicBlock, ResNet
from faceanim_models.memory_layout import channels_first, pixel_shuffle

logger = logging.getLogger(__name__)

OPERATORS = (
    "_reorder_convolution_weight",
    "_reorder_convolution_transpose_weight",
    "_convolution_pointwise",
    "_convolution_pointwise_",
    "_convolution_transpose_pointwise",
)
OUTPUTS = 16  # channels that oneDNN computes at a time
LARGE_KERNEL = 5  # of smaller ones the weights that are added cost what is gained
SOUND = 1e3  # weights of trained networks are far below; with larger ones numbers may overflow in any frame
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}  # of the largest number


def fuse_convolutions(network: blocks.M) -> blocks.M:
    """The network with fused convolutions where it is known how, changed in place; for inference on a CPU.

    Args:
        network: as ``fold_batch_norms`` gives it, in float32; ``cast_convolutions`` comes afterwards.
    """
    fused = nn.Sequential(network)
    _fuse_children(fused)
    return cast(blocks.M, fused[0])


@cache
def can_fuse(dtype: torch.dtype) -> bool:
    """Whether this torch, on this CPU, has operators that give what its plain ones do in this type."""
    if not all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS):
        logger.info("convolutions are not fused: this torch has other operators")
        return False
    with torch.random.fork_rng(devices=()):  # the caller's random numbers stay what they would be
        plain = nn.Sequential(blocks.UNet(4, (8, 16)), super_resolver.ResidualBlock(8))
        x = torch.rand(2, 4, 8, 8)
        plain = blocks.fold_batch_norms(plain)
        fused = fuse_convolutions(copy.deepcopy(plain))
    blocks.cast_convolutions(plain, dtype)
    blocks.cast_convolutions(fused, dtype)
    autocast = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
    try:
        with torch.inference_mode(), autocast:
            wanted = plain(x).float()
            fused(x)  # packs the weights
            found = fused(x).float()
    except RuntimeError as error:  # other arguments, or a type that this CPU does not have
        logger.info("convolutions in %s are not fused: %s", dtype, error)
        return False
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    logger.info("fused convolutions in %s differ by %.1g from plain ones", dtype, difference)
    return difference <= TOLERANCE[dtype]


class FusedConvolution(nn.Module):
    """A convolution, plain or transposed; then what is added to it, and a ReLU, if asked for.

    Args:
        conv: on a CPU, padded with zeros, its weights of the type that it computes in.
        relu: whether a ReLU follows.
    """

    def __init__(self, conv: nn.Module, relu: bool = False) -> None:
        super().__init__()
        assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
        self.conv, self.act = conv, "relu" if relu else "none"
        self._packed: Tensor | None = (
            None  # the weights as oneDNN wants them, once they are known to be sound
        )

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """(B, in, H, W) -> (B, out, h, w), channels last; ``added`` is as large, and overwritten."""
        conv, operators = self.conv, torch.ops.mkldnn
        x = x.to(conv.weight.dtype, memory_format=torch.channels_last)
        if added is not None:
            added = added.to(conv.weight.dtype, memory_format=torch.channels_last)
        out: Tensor
        if self._packed is None:
            if not self._stays_finite(x, added):
                # As torch does it, which keeps NaN: out of oneDNN's ReLU it comes as 0, and nobody sees it.
                out = conv(x) if added is None else added + conv(x)
                return out.relu_() if self.act == "relu" else out
            self._pack(x.shape)
        if isinstance(conv, nn.ConvTranspose2d):
            out = operators._convolution_transpose_pointwise(
                x, self._packed, conv.bias, *self._shape, self.act, [], ""
            )
        elif added is None:
            out = operators._convolution_pointwise(x, self._packed, conv.bias, *self._shape, self.act, [], "")
        else:
            relu = "relu" if self.act == "relu" else None
            out = operators._convolution_pointwise_.binary(
                added, x, self._packed, conv.bias, *self._shape, "add", None, relu, [], None
            )
        return out

    def _stays_finite(self, x: Tensor, added: Tensor | None) -> bool:
        """Whether weights are sound, and no number that comes of these maps can overflow."""
        weight = self.conv.weight.float().abs()
        outputs = 1 if isinstance(self.conv, nn.ConvTranspose2d) else 0
        most = weight.transpose(0, outputs).flatten(1).sum(1).amax() * x.abs().amax()
        for more in (self.conv.bias, added):
            if more is not None:
                most = most + more.abs().amax()
        return float(weight.amax()) < SOUND and float(most) < torch.finfo(x.dtype).max

    def _pack(self, shape: torch.Size) -> None:
        weight, operators = self.conv.weight, torch.ops.mkldnn
        transposed = isinstance(self.conv, nn.ConvTranspose2d)
        name = f"_reorder_convolution{'_transpose' if transposed else ''}_weight"
        self._packed = getattr(operators, name)(weight, *self._shape, shape)

    @property
    def _shape(self) -> tuple[object, ...]:
        conv = self.conv
        if isinstance(conv, nn.ConvTranspose2d):
            return conv.padding, conv.output_padding, conv.stride, conv.dilation, conv.groups
        return conv.padding, conv.stride, conv.dilation, conv.groups


class FusedResidual(nn.Module):
    """``shortcut(x) + last(first(x))``; a ReLU of that is part of ``last``."""

    def __init__(self, first: nn.Module, last: FusedConvolution, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.last, self.shortcut = first, last, shortcut

    def forward(self, x: Tensor) -> Tensor:
        added = x if self.shortcut is None else self.shortcut(x)
        # A copy, for x may be wanted elsewhere, too.
        added = added.to(self.last.conv.weight.dtype, memory_format=torch.channels_last, copy=True)
        return cast(Tensor, self.last(self.first(x), added))


class BlockConvolution(nn.Module):
    """A convolution with few outputs, of blocks of pixels: oneDNN computes 16 outputs in the time of one.

    The outputs of f x f pixels are those of one convolution with stride f and a kernel larger by f - 1. With
    7 x 7 weights and three outputs, f is 2 and the time a third.

    Args:
        conv: ``suits`` says which.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        outputs, kernel = conv.out_channels, conv.kernel_size[0]
        self.factor = factor = math.isqrt(OUTPUTS // outputs)
        larger = kernel + factor - 1
        blocked = nn.Conv2d(
            conv.in_channels, outputs * factor**2, larger, factor, kernel // 2, bias=conv.bias is not None
        )
        weight = conv.weight.new_zeros(outputs, factor, factor, conv.in_channels, larger, larger)
        with torch.no_grad():
            for y, x in product(range(factor), repeat=2):
                weight[:, y, x, :, y : y + kernel, x : x + kernel] = conv.weight
            blocked.weight.copy_(weight.flatten(0, 2))
            if blocked.bias is not None and conv.bias is not None:
                blocked.bias.copy_(conv.bias.repeat_interleave(factor**2))
        self.conv = FusedConvolution(blocked)

    @staticmethod
    def suits(conv: nn.Conv2d) -> bool:
        """Whether it gains: few outputs of a large kernel, padded with zeros to the input's size."""
        kernel = conv.kernel_size[0]
        few = 4 * conv.out_channels <= OUTPUTS and kernel >= LARGE_KERNEL and conv.groups == 1
        square = kernel % 2 == 1 and conv.kernel_size == (kernel, kernel)
        padded = conv.padding == (kernel // 2, kernel // 2) and conv.padding_mode == "zeros"
        return few and square and padded and conv.stride == conv.dilation == (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W)."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.factor, 0, -height % self.factor))  # to whole blocks
        return pixel_shuffle(channels_first(self.conv(x)), self.factor)[..., :height, :width]


class FusedUpBlock(nn.Module):
    """A ``blocks.UpBlock`` that neither doubles nor concatenates maps: it adds two convolutions."""

    def __init__(self, block: blocks.UpBlock) -> None:
        super().__init__()
        conv, below = block.merge.conv, block.reduce.conv.out_channels
        self.reduce = fuse_convolutions(block.reduce)
        enlarging = blocks.EnlargingBlock(below, conv.out_channels)
        enlarging.conv = blocks.of_inputs(conv, slice(0, below))
        enlarging.merge()
        self.enlarge = FusedConvolution(enlarging.conv)
        skipping = blocks.of_inputs(conv, slice(below, conv.in_channels), bias=False)
        self.merge = FusedConvolution(skipping, relu=True)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return cast(Tensor, self.merge(skip, self.enlarge(self.reduce(x))))


def _fuse_children(network: nn.Module) -> None:
    for name, child in list(network.named_children()):
        fused = _fused(child)
        if fused is None:
            _fuse_children(child)
        else:
            setattr(network, name, fused)
    if isinstance(network, nn.Sequential):
        _fuse_relus(network)
    elif isinstance(network, ResNet) and isinstance(network.bn1, nn.Identity):  # what comes before its layers
        network.conv1, network.relu = FusedConvolution(network.conv1, relu=True), nn.Identity()


def _fuse_relus(network: nn.Sequential) -> None:
    """Each convolution that a ReLU follows takes it in."""
    kept = [(name, child) for name, child in network.named_children() if not isinstance(child, nn.Identity)]
    for (name, conv), (after, relu) in pairwise(kept):
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(relu, nn.ReLU):
            setattr(network, name, FusedConvolution(conv, relu=True))
            setattr(network, after, nn.Identity())


def _fused(block: nn.Module) -> nn.Module | None:
    """What a block is replaced with; None for a kind that stays, or whose norms could not be folded."""
    fused: nn.Module | None = None
    match block:
        case blocks.UpBlock() if _folded(block.reduce.norm, block.merge.norm):
            fused = FusedUpBlock(block)
        case blocks.ResidualBlock() if _folded(block.norm):
            fused = FusedResidual(fuse_convolutions(block.first), FusedConvolution(block.conv, relu=True))
        case blocks.JoinBlock() if _folded(block.norm):
            fused = FusedConvolution(block.conv, relu=True)
        case nn.Conv2d() if BlockConvolution.suits(block):
            fused = BlockConvolution(block)
        case super_resolver.ResidualBlock():
            fused = FusedResidual(FusedConvolution(block.first, relu=True), FusedConvolution(block.second))
        case BasicBlock() if _folded(block.bn1, block.bn2):
            last = FusedConvolution(block.conv2, relu=True)
            fused = FusedResidual(FusedConvolution(block.conv1, relu=True), last, block.downsample)
        case first_order.PreactivatedBlock() if _folded(block.norm2):
            first = nn.Sequential(block.norm1, nn.ReLU(), FusedConvolution(block.conv1, relu=True))
            fused = FusedResidual(first, FusedConvolution(block.conv2))
    return fused


def _folded(*norms: nn.Module) -> bool:
    return all(isinstance(norm, nn.Identity) for norm in norms)
