"""Face super-resolution (paper §3.2, Fig. 3): five down-sampling and five up-sampling blocks, then x2."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_models.memory_layout import channels_first, pixel_shuffle, pixel_unshuffle

LEVELS = 5  # halvings, hence sizes inside are multiples of 32
BLOCK = 2  # pixels a side that the first block takes into the channels: its halving loses nothing
SCALE = 2  # the result's size in frame sizes
DETAIL = 8.0  # brings what is left of a frame without its 5x5 means to the size that layers are made for
PAINT = 0.1  # of the head's output: what is painted is small, and so should a training step's change be


@dataclass(frozen=True)
class FaceSuperResolverSettings:
    """What rebuilds a :class:`FaceSuperResolver`."""

    widths: tuple[int, ...] = (32, 48, 96, 128, 160)  # channels after each of the five halvings
    detail: int = 48  # channels of the last layers, at half the frame's size
    depth: int = 3  # residual blocks of those layers


class FaceSuperResolver(nn.Module):
    """Frames (B, 3, H, W) of any size, in [0, 1], to sharpened ones (B, 3, 2H, 2W), float32 in [0, 1].

    Five blocks of 3x3 convolutions halve the size, five deconvolutions double it again; all channels of
    down block i are concatenated to those of its mirror. The network paints the difference to the bicubic
    enlargement, from the frame without its local means: else all it learns at first is to tell colours.
    No batch normalisation: it costs sharpness (EDSR, Lim et al. 2017).

    On a processor, touching every pixel of a large map costs more than the arithmetic. So the first halving
    is a space-to-depth, and the fifth deconvolution and the enlargement are one deconvolution of stride 4 in
    its sub-pixel form (Shi et al. 2016): a convolution at half the frame's size, whose channels unfold into
    pixels. The bicubic enlargement is a convolution of the same kind.
    """

    SCALE = SCALE

    def __init__(self, settings: FaceSuperResolverSettings) -> None:
        super().__init__()
        if len(settings.widths) != LEVELS:
            raise ValueError(f"widths are for {LEVELS} levels, not {len(settings.widths)}")
        self.settings = settings
        widths, detail = settings.widths, settings.detail
        self.stem = nn.Sequential(convolution(3 * BLOCK**2, widths[0]), ResidualBlock(widths[0]))
        self.downs = nn.ModuleList(
            nn.Sequential(convolution(a, b, stride=2), nn.ReLU(True), convolution(b, b), nn.ReLU(True))
            for a, b in pairwise(widths)
        )
        outs = (*widths[1:-1][::-1], detail)  # of the up blocks, smallest map first
        self.ups = nn.ModuleList(
            UpBlock(a, skip, b)
            for a, skip, b in zip((widths[-1], *outs), reversed(widths[:-1]), outs, strict=False)
        )
        self.detail = nn.Sequential(*(ResidualBlock(detail) for _ in range(settings.depth)))
        self.head = nn.Conv2d(detail, 3 * (BLOCK * SCALE) ** 2, 3, padding=1)
        nn.init.zeros_(self.head.weight)  # start as the bicubic enlargement
        nn.init.zeros_(_bias(self.head))
        self.bicubic: Tensor
        self.register_buffer("bicubic", block_kernel(_bicubic), persistent=False)
        self.high_pass: Tensor
        self.register_buffer("high_pass", block_kernel(_high_pass), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        height, width = frames.shape[-2:]
        multiple = 2**LEVELS
        # Two pixels more on each side, repeated, as far as the enlargement looks.
        sides = (BLOCK, -width % multiple + BLOCK, BLOCK, -height % multiple + BLOCK)
        # About 0, where a rounding to bfloat16 stays below a quarter of an 8-bit level.
        padded = F.pad(frames - 0.5, sides, mode="replicate")
        pixels = pixel_unshuffle(padded, BLOCK)  # (B, 12, h + 2, w + 2), where h and w are half of H and W
        x = self.stem(F.conv2d(pixels, self.high_pass))  # (B, widths[0], h, w)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for up in self.ups[:-1]:
            x = F.relu_(up(x, skips.pop()))
        x = self.ups[-1](
            x, skips.pop()
        )  # a straight way from the stem to the head: the residual blocks only add
        painted = self.head(self.detail(x))  # (B, 48, h, w)
        enlarged = torch.add(F.conv2d(pixels, self.bicubic), painted, alpha=PAINT).clamp(-0.5, 0.5)
        enlarged = pixel_shuffle(channels_first(enlarged), BLOCK * SCALE)
        return enlarged[..., : SCALE * height, : SCALE * width].float().add_(0.5)


class ResidualBlock(nn.Module):
    """``x + f(x)`` with two 3x3 convolutions in f, without normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = convolution(channels, channels), convolution(channels, channels)
        nn.init.normal_(
            self.second.weight, std=0.3 * math.sqrt(2 / (9 * channels))
        )  # little more than x at first

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.second(F.relu_(self.first(x))))


class UpBlock(nn.Module):
    """(B, in, h, w) and a skip (B, skip, 2h, 2w) -> (B, out, 2h, 2w): deconvolved, concatenated, merged."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        # Kernel 4 is a multiple of the stride 2: no checkerboard from uneven overlap.
        deconv = nn.ConvTranspose2d(in_channels, skip_channels, 4, stride=2, padding=1)
        # He et al. 2015: four of the kernel's sixteen weights meet in each pixel.
        nn.init.normal_(deconv.weight, std=math.sqrt(2 / (4 * in_channels)))
        nn.init.zeros_(_bias(deconv))
        self.up = nn.Sequential(deconv, nn.ReLU(True))
        self.merge = convolution(2 * skip_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return cast(Tensor, self.merge(torch.cat((self.up(x), skip), dim=1)))


def convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """3x3, to be followed by a ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(_bias(conv))
    return conv


def block_kernel(picture_filter: Callable[[Tensor], Tensor]) -> Tensor:
    """A linear filter as a 3x3 convolution of 2x2 pixels in 12 channels to n x n pixels in 3 n^2.

    The filter takes (B, 1, H, W) to that size or a multiple of it and reaches no further than two pixels; it
    is asked what it makes of each single pixel.
    """
    reach = 3 * BLOCK  # the block itself and its neighbours, along each axis
    seen = picture_filter(torch.eye(reach**2).view(reach**2, 1, reach, reach))[:, 0]
    n = seen.shape[-1] // 3
    inner = slice(n, 2 * n)
    response = seen[:, inner, inner].reshape(3, BLOCK, 3, BLOCK, n * n)  # block y, y, block x, x; pixel
    response = response.permute(4, 1, 3, 0, 2).flatten(1, 2)  # (n * n, 4, 3, 3)
    kernel = torch.zeros(3, n * n, 3, BLOCK**2, 3, 3)
    for colour in range(3):
        kernel[colour, :, colour] = response
    return kernel.flatten(2, 3).flatten(0, 1)


def _bicubic(picture: Tensor) -> Tensor:
    return F.interpolate(picture, scale_factor=float(SCALE), mode="bicubic", align_corners=False)


def _high_pass(picture: Tensor) -> Tensor:
    return DETAIL * (picture - F.avg_pool2d(picture, 5, stride=1, padding=2))


def _bias(conv: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
