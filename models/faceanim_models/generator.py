"""The generator (paper §3.1, steps 4 and 5): warp the photo, repaint what the warp cannot show."""

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from faceanim_models.blocks import ConvBlock, JoinBlock, Mergeable, ResidualBlock, UNet, of_inputs
from faceanim_models.dense_motion import DenseMotion
from faceanim_models.geometry import (
    identity_grid,
    resize,
    resize_grid,
    warp,
    working_type,
)
from faceanim_models.memory_layout import channels_first, channels_last, pixel_shuffle, pixel_unshuffle


@dataclass(frozen=True)
class GeneratorSettings:
    """What rebuilds a :class:`Generator`."""

    num_keypoints: int = 10
    widths: tuple[int, ...] = (32, 64, 128, 192)  # U-Net channels at 1/2, 1/4, 1/8 and 1/16 of the image
    photo_widths: tuple[int, ...] = (24, 64, 128)  # channels of the photo's features at 1/2, 1/4 and 1/8


class Generated(NamedTuple):
    """One batch of generated frames and what they are made of; images are (B, 3, H, W)."""

    image: Tensor  # I_t = E (1 - M) + R M, in [0, 1] up to a little overshoot of R
    warped: Tensor  # E, in [0, 1]
    change: Tensor  # R - E, in [-1, 1]
    mask: Tensor  # M: (B, 1, H, W) in [0, 1], 1 where the repainted pixel is taken

    @property
    def repainted(self) -> Tensor:
        """R: for training; who wants the image alone need not write it to memory."""
        return self.warped + self.change


class Generator(Mergeable):
    """Photo and dense motion to the animated frame.

    The warp (Eq. 1) is done on pixels at full size: E. A U-Net reads concat(E, F) and the occlusion
    map, and predicts R and M, composed by Eq. 2. R is predicted as a difference to E: painted from
    nothing through a half-size network it would never be as sharp, and M would shut it out. The U-Net
    works at half size, with pixels folded into channels and unfolded at the end: a full-size layer with
    few channels runs far below a CPU's peak.
    Beyond the paper, features of the photo, computed once, are warped with it and joined at each
    level, and the driving keypoints' heatmaps say where lids and lips are to be.
    """

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__()
        self.settings = settings
        p0, p1, p2 = settings.photo_widths
        self.photo_encoder = nn.ModuleList(
            (
                nn.Sequential(ConvBlock(12, p0), ResidualBlock(p0)),
                nn.Sequential(ConvBlock(p0, p1, stride=2), ResidualBlock(p1)),
                nn.Sequential(ConvBlock(p1, p2, stride=2), ResidualBlock(p2)),
            )
        )
        # E folded (12), F minus identity (2), occlusion (1)
        joined = (p0, p1 + settings.num_keypoints, p2, *(0,) * (len(settings.widths) - 3))
        self.unet = UNet(12 + 2 + 1, settings.widths, joined)
        self.head = nn.Conv2d(settings.widths[0], 4 * 4, 3, padding=1)  # R and M for 2x2 pixels
        # Start from the warp: R = E, and M = sigmoid(-1).
        nn.init.zeros_(self.head.weight)
        self.head.bias = nn.Parameter(torch.tensor([0.0] * 12 + [-1.0] * 4))
        self.projections: nn.ModuleList | None = None  # of the photo's features but the first

    def merge(self) -> None:
        """See ``Mergeable``: what the U-Net's 1x1 convolutions make of the photo is made once for all frames.

        They may come before the warp as well as after it, both are linear.
        """
        projections = []
        for join, width, features in zip(
            self.unet.joins, self.settings.widths[1:], self.settings.photo_widths[1:], strict=False
        ):
            assert isinstance(join, JoinBlock)
            conv, after = join.conv, width + features
            projections.append(of_inputs(conv, slice(width, after), bias=False))
            join.conv = of_inputs(conv, slice(0, width), slice(after, None))
        self.projections = nn.ModuleList(projections)
        self.head = copy.deepcopy(self.head)  # whose weights may be another network's, too
        with torch.no_grad():  # see where it is used
            for parameter in self.head.parameters():
                parameter[:12] *= 2

    def encode(self, photo: Tensor) -> list[Tensor]:
        """Features of the photo (B, 3, H, W), once: (B, photo_widths[i], H / 2^(i+1), W / 2^(i+1)).

        Merged, they have the U-Net's ``widths[i]`` in place of ``photo_widths[i]`` channels for i > 0.
        """
        features = []
        x = pixel_unshuffle(photo)
        for stage in self.photo_encoder:
            x = stage(x)
            features.append(x)
        if self.projections is not None:
            projected = [project(x) for project, x in zip(self.projections, features[1:], strict=True)]
            features = features[:1] + projected
        return features

    def forward(self, photo: Tensor, features: list[Tensor], motion: DenseMotion) -> Generated:
        """Generate frames from the photo (B, 3, H, W), its :meth:`encode` features, and dense motion.

        H and W must be multiples of 2^(1 + levels of the U-Net - 1), 16 for the default settings.
        """
        height, width = photo.shape[-2:]
        half = (height // 2, width // 2)
        warped = warp(photo, resize_grid(motion.grid, height, width))  # E, Eq. 1

        grid = resize_grid(motion.grid, *half)
        shift = (grid - identity_grid(*half, like=grid)).permute(0, 3, 1, 2)
        occlusion = resize(motion.occlusion, *half)
        x = torch.cat((pixel_unshuffle(warped), shift, occlusion), dim=1)
        x = channels_last(x.to(working_type(x)))

        levels = len(self.settings.widths)
        joined: list[Tensor | None] = [None] * levels
        added: list[Tensor | None] = [None] * levels
        for level, feature in enumerate(features):
            moved = warp(feature, resize_grid(motion.grid, *feature.shape[-2:]))
            if level and self.projections is not None:
                added[level] = moved
            else:
                joined[level] = moved
            if level == 1:
                heatmaps = channels_last(resize(motion.heatmaps, *feature.shape[-2:]).to(moved.dtype))
                before = joined[1]
                joined[1] = heatmaps if before is None else torch.cat((before, heatmaps), dim=1)

        painted = channels_first(self.head(self.unet(x, joined, added))).float()
        warped = warped.float()
        # tanh(x) = 2 sigmoid(2x) - 1, six times as fast on a CPU; merged, the head gives 2x
        colours = pixel_shuffle(painted[:, :12])
        share = torch.sigmoid(2 * colours if self.projections is None else colours)
        change = torch.add(share.new_full((), -1.0), share, alpha=2)  # R - E; a GPU is not waited for
        mask = torch.sigmoid(pixel_shuffle(painted[:, 12:]))  # M
        # Eq. 2, E (1 - M) + R M, in one pass over the pixels
        return Generated(torch.addcmul(warped, mask, change), warped, change, mask)
