"""LivePortrait's motion network: a frame to head pose, expression and canonical keypoints.

A ConvNeXt V2 (Woo et al. 2023) with seven linear heads.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_models.geometry import in_full_precision

BINS = 66  # of each angle, 3 degrees wide
DEGREES_A_BIN = 3.0
FIRST_BIN = -97.5  # degrees
EPS = 1e-6  # of all its layer norms
STEM = 4  # pixels a side that the first convolution takes together


class HeadMotion(NamedTuple):
    """What a batch of frames shows of their heads' motion, and of their shape.

    Keypoints are ``scale (canonical @ rotation + expression) + (t_x, t_y, 0)``: :meth:`keypoints`.
    """

    rotation: Tensor  # (B, 3, 3), applied to row vectors
    expression: Tensor  # (B, K, 3), in head sizes
    scale: Tensor  # (B, 1)
    translation: Tensor  # (B, 3); the third is of no use
    # (B, K, 3): the keypoints of this person's head, at rest and from the front; a driver's are of no use.
    canonical: Tensor | None = None

    def keypoints(self) -> Tensor:
        """(B, K, 3): x, y in [-1, 1] of the frame, z into it."""
        assert self.canonical is not None, "a driver's motion tells nothing of the shape of its head"
        flat = self.translation * self.translation.new_tensor([1.0, 1.0, 0.0])
        return self.scale[..., None] * (self.canonical @ self.rotation + self.expression) + flat[:, None]


class MotionExtractor(nn.Module):
    """Frames (B, 3, 256, 256), RGB in [0, 1], to their :class:`HeadMotion`.

    Args:
        num_keypoints: K.
        depths: blocks of each stage.
        widths: channels of each stage, at 1/4, 1/8, 1/16 and 1/32 of the frame's size.
    """

    full_precision = True

    def __init__(self, num_keypoints: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> None:
        super().__init__()
        self.num_keypoints = num_keypoints
        self.detector = ConvNeXtV2(num_keypoints, depths, widths)

    def forward(self, frames: Tensor) -> HeadMotion:
        """See the class; in float32 throughout, as angles do not survive a half's mantissa."""
        with in_full_precision(frames):
            raw = self.detector(frames.float())
            rotation = rotation_matrix(*(degrees(raw[angle]) for angle in ("fc_pitch", "fc_yaw", "fc_roll")))
            canonical, expression = (
                raw[name].unflatten(1, (self.num_keypoints, 3)) for name in ("fc_kp", "fc_exp")
            )
        return HeadMotion(rotation, expression, raw["fc_scale"], raw["fc_t"], canonical)


def degrees(logits: Tensor) -> Tensor:
    """The angle that logits (B, 66) of its bins expect, in degrees, (B,)."""
    bins = torch.arange(logits.shape[1], device=logits.device, dtype=logits.dtype)
    return DEGREES_A_BIN * (logits.softmax(1) * bins).sum(1) + FIRST_BIN


def rotation_matrix(pitch: Tensor, yaw: Tensor, roll: Tensor) -> Tensor:
    """(B, 3, 3) for row vectors, ``(Rz(roll) Ry(yaw) Rx(pitch))^T``, of angles (B,) in degrees."""
    (cx, cy, cz), (sx, sy, sz) = (
        [function(angle.deg2rad()) for angle in (pitch, yaw, roll)] for function in (torch.cos, torch.sin)
    )
    one, zero = torch.ones_like(cx), torch.zeros_like(cx)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=-1).view(-1, 3, 3)

    about_x = matrix(one, zero, zero, zero, cx, -sx, zero, sx, cx)
    about_y = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    about_z = matrix(cz, -sz, zero, sz, cz, zero, zero, zero, one)
    return (about_z @ about_y @ about_x).mT


class ConvNeXtV2(nn.Module):
    """The backbone and its heads: (B, 3, H, W) to the raw numbers of each head, by its name."""

    def __init__(self, num_keypoints: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> None:
        super().__init__()
        first = nn.Sequential(nn.Conv2d(3, widths[0], STEM, STEM), ChannelNorm(widths[0]))
        downs = (nn.Sequential(ChannelNorm(a), nn.Conv2d(a, b, 2, 2)) for a, b in pairwise(widths))
        self.downsample_layers = nn.ModuleList((first, *downs))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width) for _ in range(depth)))
            for depth, width in zip(depths, widths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=EPS)
        self.heads = {
            "fc_kp": 3 * num_keypoints, "fc_exp": 3 * num_keypoints, "fc_t": 3, "fc_scale": 1,
            "fc_pitch": BINS, "fc_yaw": BINS, "fc_roll": BINS,
        }  # fmt: skip
        for name, outputs in self.heads.items():
            self.add_module(name, nn.Linear(widths[-1], outputs))

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """See the class."""
        x = frames
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        features = self.norm(x.mean((2, 3)))
        return {name: self.get_submodule(name)(features) for name in self.heads}


class ConvNeXtBlock(nn.Module):
    """``x + pwconv2(grn(gelu(pwconv1(norm(dwconv(x))))))``; (B, C, H, W) unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = GlobalResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.dwconv(x).permute(0, 2, 3, 1))  # channels last: (B, H, W, C)
        y = self.pwconv2(self.grn(F.gelu(self.pwconv1(y))))
        return x + y.permute(0, 3, 1, 2)


class GlobalResponseNorm(nn.Module):
    """Channels of (B, H, W, C) compete by their energy over the picture (ConvNeXt V2, eq. 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        energy = x.square().sum((1, 2), keepdim=True).sqrt()
        share = energy / (energy.mean(-1, keepdim=True) + EPS)
        return self.gamma * (x * share) + self.beta + x


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        normal: Tensor = super().forward(x.permute(0, 2, 3, 1))
        return normal.permute(0, 3, 1, 2)
