"""Thin-Plate-Spline Motion Model (Zhao and Zhang, CVPR 2022), to run the checkpoints of its authors.

An implementation of its architecture with the names and shapes of its checkpoints. Groups of five keypoints
each make a thin-plate spline, which bends the picture where first-order-model's keypoints only turn and
stretch it, and the result is painted over the photo's own pixels, moved, at four resolutions. All sampling
and all resizing is with ``align_corners=True``; beyond the photo's edge is black.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_models.animation_model import Keypoints, PhotoCode
from faceanim_models.backbones import BasicBlock, resnet_stage
from faceanim_models.blocks import ConvBlock, EnlargingBlock
from faceanim_models.first_order import (
    AntialiasedShrink,
    FirstOrderGenerated,
    Hourglass,
    PreactivatedBlock,
)
from faceanim_models.geometry import (
    gaussian_heatmaps,
    identity_grid,
    in_full_precision,
    limit_grid,
    resize_grid,
    sample_at,
    working_type,
)

M = TypeVar("M", bound=nn.Module)

SHRINK = 4  # the dense motion network sees the photo that much smaller


@dataclass(frozen=True)
class ThinPlateSplineSettings:
    """What rebuilds a :class:`ThinPlateSplineModel`. The defaults are those of vox-256."""

    splines: int = 10
    points: int = 5  # keypoints of each spline
    encoder_widths: tuple[int, ...] = (64, 128, 256, 512)  # of the keypoint detector's ResNet-18
    motion_widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 1024)  # as first-order-model's
    occlusion_widths: tuple[int, int] = (74, 37)  # channels of the maps that finer occlusions come from
    generator_widths: tuple[int, int, int, int] = (64, 128, 256, 512)  # at full size, after each halving
    variance: float = 0.01  # of the keypoints' Gaussians, in [-1, 1] units squared
    stiffness: float = 0.01  # added to the diagonal of the splines' systems
    image_size: int = 256  # pixels


class SplineMotion(NamedTuple):
    """What the dense motion network says of one batch of driving frames."""

    grid: Tensor  # (B, h, w, 2): where each pixel of the result is found in the photo, [-1, 1]
    occlusions: list[Tensor]  # (B, 1, h', w') in [0, 1], from the smallest to the full size
    mixture: Tensor  # (B, splines + 1, h, w): the weight of each candidate motion, summing to 1


class ThinPlateSplineModel(nn.Module):
    """Keypoint detector, dense motion and inpainting network, used as an ``AnimationModel`` is."""

    def __init__(self, settings: ThinPlateSplineSettings) -> None:
        super().__init__()
        self.settings = settings
        self.kp_detector = SplineKeypointDetector(settings)
        self.dense_motion_network = SplineDenseMotion(settings)
        self.inpainting_network = InpaintingNetwork(settings)

    def detect(self, images: Tensor) -> Keypoints:
        """Keypoints of images (B, 3, H, W) in [0, 1]."""
        return Keypoints(self.kp_detector(images))

    def encode_photo(self, photo: Tensor, keypoints: Keypoints | None = None) -> PhotoCode:
        """All that depends on the photo (B, 3, H, W) alone; keypoints are detected unless given."""
        points = (self.detect(photo) if keypoints is None else keypoints).points
        thumbnail = self.dense_motion_network.down(photo)
        return PhotoCode(photo, thumbnail, points, self.inpainting_network.encode(photo))

    def forward(self, code: PhotoCode, keypoints: Keypoints) -> tuple[FirstOrderGenerated, SplineMotion]:
        """Frames that show the photo's person with the driving ``keypoints``."""
        motion: SplineMotion = self.dense_motion_network(code.thumbnail, code.keypoints, keypoints.points)
        motion = motion._replace(grid=limit_grid(motion.grid, code.reach))
        generated: FirstOrderGenerated = self.inpainting_network(code.photo, code.features, motion)
        return generated, motion


class SplineKeypointDetector(nn.Module):
    """Images (B, 3, H, W) to keypoints (B, K, 2) in [-1, 1], the points of a spline in a row.

    Always in float32: the splines amplify what keypoints tremble.
    """

    full_precision = True

    def __init__(self, settings: ThinPlateSplineSettings) -> None:
        super().__init__()
        self.fg_encoder = ResNet18(settings.encoder_widths, 2 * settings.splines * settings.points)

    def forward(self, images: Tensor) -> Tensor:
        with in_full_precision(images):
            points: Tensor = 2 * torch.sigmoid(self.fg_encoder(images.float())) - 1
            return points.view(len(images), -1, 2)


class ResNet18(nn.Module):
    """torchvision's, of any widths: images (B, 3, H, W) to ``outputs`` numbers."""

    def __init__(self, widths: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        first = widths[0]
        self.conv1 = nn.Conv2d(3, first, 7, stride=2, padding=3, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(first)
        self.stages = [f"layer{number}" for number in range(1, len(widths) + 1)]
        for name, before, width in zip(self.stages, (first, *widths), widths, strict=False):
            stride = 1 if before == width else 2
            self.add_module(name, resnet_stage(BasicBlock, before, width, 2, stride))
        self.fc = nn.Linear(widths[-1], outputs)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        numbers: Tensor = self.fc(x.mean((2, 3)))
        return numbers


class SplineDenseMotion(nn.Module):
    """Mixes candidate motions pixel by pixel: the background that stays, and the splines."""

    def __init__(self, settings: ThinPlateSplineSettings) -> None:
        super().__init__()
        self.settings = settings
        candidates, keypoints = settings.splines + 1, settings.splines * settings.points
        self.down = AntialiasedShrink(SHRINK)
        self.hourglass = with_instance_norms(
            Hourglass(keypoints + 1 + 3 * candidates, settings.motion_widths)
        )
        last = self.hourglass.out_channels
        self.maps = nn.Conv2d(last, candidates, 7, padding=3)
        widths = (last, *settings.occlusion_widths)
        self.up = with_instance_norms(nn.ModuleList(EnlargingBlock(a, b) for a, b in pairwise(widths)))
        before_last = 2 * settings.motion_widths[1]
        self.occlusion = nn.ModuleList(nn.Conv2d(c, 1, 7, padding=3) for c in (before_last, *widths))

    def forward(
        self, thumbnail: Tensor, source: Tensor, driving: Tensor, background: Tensor | None = None
    ) -> SplineMotion:
        """Dense motion from the driving frame's geometry back to the photo's.

        Args:
            thumbnail: what :attr:`down` makes of the photo, (B, 3, h, w).
            source, driving: keypoints of photo and driving frame, (B, K, 2).
            background: affine maps (B, 3, 3) of homogeneous places that move the background; None: it stays.
        """
        s, (batch, _, height, width) = self.settings, thumbnail.shape
        with in_full_precision(thumbnail):
            grid = identity_grid(height, width, like=source)  # (1, h, w, 2)
            first = grid if background is None else homogeneous(grid) @ background[:, None].mT
            first = first[..., :2] if background is None else first[..., :2] / first[..., 2:]
            splines = thin_plate_splines(
                source.float().unflatten(1, (s.splines, s.points)),
                driving.float().unflatten(1, (s.splines, s.points)),
                grid,
                s.stiffness,
            )
            grids = torch.cat((first[:, None].expand(batch, 1, -1, -1, -1), splines), dim=1)
            # One photo sampled by all candidates at once: they lie below one another in one tall grid.
            tall = grids.reshape(batch, -1, width, 2)
            views = sample_at(thumbnail.float(), tall, "zeros").unflatten(2, (s.splines + 1, height))
            moved = gaussian_heatmaps(driving.float(), height, width, s.variance**0.5)
            moved = moved - gaussian_heatmaps(source.float(), height, width, s.variance**0.5)
            x = torch.cat((F.pad(moved, (0, 0, 0, 0, 1, 0)), views.transpose(1, 2).flatten(1, 2)), dim=1)
        maps = self.hourglass.maps(x.to(working_type(thumbnail)))
        mixture = self.maps(maps[-1]).float().softmax(1)
        with in_full_precision(thumbnail):
            moved_grid = (mixture[..., None] * grids).sum(1)
        seen = maps[-2:]
        for up in self.up:
            seen.append(up(seen[-1]))
        occlusions = [
            torch.sigmoid(conv(features).float()) for conv, features in zip(self.occlusion, seen, strict=True)
        ]
        return SplineMotion(moved_grid, occlusions, mixture)


class InpaintingNetwork(nn.Module):
    """Paints over the photo's own pixels, moved, where they do not show what is needed."""

    def __init__(self, settings: ThinPlateSplineSettings) -> None:
        super().__init__()
        widths = settings.generator_widths
        pairs = list(pairwise(widths))
        self.first = with_instance_norms(ConvBlock(3, widths[0], kernel=7, bias=True))
        self.down_blocks = with_instance_norms(nn.ModuleList(ConvBlock(a, b, bias=True) for a, b in pairs))
        # At each level what came up lies before the photo's features; at the deepest there is nothing below.
        inputs = [widths[3], 2 * widths[2], 2 * widths[1]]
        self.resblock = with_instance_norms(
            nn.ModuleList(PreactivatedBlock(width) for width in inputs for _ in range(2))
        )
        self.up_blocks = with_instance_norms(
            nn.ModuleList(EnlargingBlock(a, b) for a, b in zip(inputs, widths[2::-1], strict=True))
        )
        self.final = nn.Conv2d(widths[0], 3, 7, padding=3)

    def encode(self, photo: Tensor) -> list[Tensor]:
        """Features of the photo (B, 3, H, W), once: at full size, then after each of three halvings."""
        features = [self.first(photo)]
        for block in self.down_blocks:
            features.append(F.avg_pool2d(block(features[-1]), 2))
        return features

    def forward(self, photo: Tensor, features: list[Tensor], motion: SplineMotion) -> FirstOrderGenerated:
        """Frames (B, 3, H, W) in [0, 1] from the photo, its :meth:`encode` features and dense motion."""
        *occlusions, shown = motion.occlusions

        def moved(image: Tensor) -> Tensor:
            return sample_at(image, resize_grid(motion.grid, *image.shape[-2:]), "zeros")

        x = moved(features[3]) * occlusions[0].to(features[3].dtype)
        for level, (up, skip) in enumerate(zip(self.up_blocks, features[2::-1], strict=True)):
            x = up(self.resblock[2 * level + 1](self.resblock[2 * level](x)))
            occlusion = motion.occlusions[level + 1].to(x.dtype)
            photo_there = moved(skip) * occlusion
            if level < 2:
                x = torch.cat((x, photo_there.to(x.dtype)), dim=1)
            else:
                x = x * (1 - occlusion) + photo_there
        warped = moved(photo)
        painted = torch.sigmoid(self.final(x).float())
        return FirstOrderGenerated(painted * (1 - shown) + warped * shown, warped)


def thin_plate_splines(source: Tensor, driving: Tensor, grid: Tensor, stiffness: float) -> Tensor:
    """The splines that carry driving keypoints onto the photo's, on a grid (Bookstein 1989).

    Args:
        source, driving: (B, S, P, 2), the P points of each of S splines.
        grid: places (1, h, w, 2) in the driving frame.
        stiffness: added to every diagonal entry of the linear systems, the affine part's too.

    Returns:
        (B, S, h, w, 2): where each place is found in the photo.
    """
    points = driving.shape[2]
    corner = homogeneous(driving)  # (B, S, P, 3)
    system = F.pad(radial((driving[:, :, :, None] - driving[:, :, None]).square().sum(-1)), (0, 3, 0, 3))
    system[..., :points, points:] = corner
    system[..., points:, :points] = corner.mT
    system = system + stiffness * torch.eye(points + 3, device=driving.device)
    parameters = torch.linalg.solve(system, F.pad(source, (0, 0, 0, 3)))  # (B, S, P + 3, 2)
    distance = (grid[:, None, :, :, None] - driving[:, :, None, None]).square().sum(-1)  # (B, S, h, w, P)
    places = torch.cat((radial(distance), homogeneous(grid)[:, None].expand(*distance.shape[:4], 3)), dim=-1)
    return torch.einsum("bshwp,bspc->bshwc", places, parameters)


def radial(squared: Tensor) -> Tensor:
    """``r^2 log r^2`` of squared distances, 0 at 0."""
    return squared * torch.log(squared + 1e-9)


def homogeneous(places: Tensor) -> Tensor:
    """(..., 2) as (..., 3), the third 1."""
    return F.pad(places, (0, 1), value=1.0)


def with_instance_norms(network: M) -> M:
    """The network with an instance norm, with weight and bias, in the place of each batch norm."""
    for module in list(network.modules()):
        for name, norm in list(module.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                module.add_module(name, nn.InstanceNorm2d(norm.num_features, affine=True))
    return network
