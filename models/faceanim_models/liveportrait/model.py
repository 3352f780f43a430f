"""LivePortrait's networks as one module, built from a file's own sizes."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from faceanim_models.geometry import in_full_precision
from faceanim_models.liveportrait.appearance import AppearanceFeatureExtractor
from faceanim_models.liveportrait.motion_extractor import HeadMotion, MotionExtractor
from faceanim_models.liveportrait.spade_generator import SPADEGenerator
from faceanim_models.liveportrait.warping import VolumeMotion, WarpingNetwork


@dataclass(frozen=True)
class LivePortraitSettings:
    """Sizes of the networks; the defaults are the published ones'."""

    num_keypoints: int = 21
    appearance_widths: tuple[int, ...] = (64, 128, 256)
    volume_channels: int = 32
    depth: int = 16
    volume_blocks: int = 6
    motion_depths: tuple[int, ...] = (3, 3, 9, 3)
    motion_widths: tuple[int, ...] = (96, 192, 384, 768)
    compressed: int = 4
    hourglass: tuple[int, ...] = (32, 64, 128, 256, 512, 1024)
    warped_channels: int = 256
    generator_widths: tuple[int, int, int] = (512, 256, 64)
    generator_blocks: int = 6
    spade_hidden: int = 128
    stitching_widths: tuple[int, ...] = (128, 128, 64)
    lip_widths: tuple[int, ...] = (128, 128, 64)
    eye_widths: tuple[int, ...] = (256, 256, 128, 128, 64)
    image_size: int = 256  # pixels that photo and frames are seen at; the result has twice as many


class LivePortraitCode(NamedTuple):
    """A photo encoded once, for any number of driving frames."""

    volume: Tensor  # (B, C, D, H, W)
    keypoints: Tensor  # (B, K, 3)
    motion: HeadMotion

    def expand(self, batch: int) -> "LivePortraitCode":
        """Volume and keypoints of one photo seen as a batch of ``batch``, without copying."""
        volume, keypoints = (t.expand(batch, *t.shape[1:]) for t in (self.volume, self.keypoints))
        return LivePortraitCode(volume, keypoints, self.motion)


class LivePortraitModel(nn.Module):
    """Appearance, motion, warping, generator and the three small networks that mend keypoints."""

    SCALE = 2  # side of the result over that of the photo that is seen

    def __init__(self, settings: LivePortraitSettings) -> None:
        super().__init__()
        s, k = settings, settings.num_keypoints
        self.settings = s
        self.appearance = AppearanceFeatureExtractor(
            s.appearance_widths, s.volume_channels, s.depth, s.volume_blocks
        )
        self.motion = MotionExtractor(k, s.motion_depths, s.motion_widths)
        self.warping = WarpingNetwork(
            k, s.volume_channels, s.depth, s.compressed, s.hourglass, s.warped_channels
        )
        self.generator = SPADEGenerator(
            s.warped_channels, s.generator_widths, s.generator_blocks, s.spade_hidden
        )
        self.stitching = MLP((2 * 3 * k, *s.stitching_widths, 3 * k + 2))
        self.lips = MLP((3 * k + 2, *s.lip_widths, 3 * k))
        self.eyes = MLP((3 * k + 3, *s.eye_widths, 3 * k))

    def detect(self, frames: Tensor) -> HeadMotion:
        """The motion that driving frames (B, 3, 256, 256) show, without the shape of their heads."""
        motion: HeadMotion = self.motion(frames)
        return motion._replace(canonical=None)

    def encode_photo(self, photo: Tensor) -> LivePortraitCode:
        """All that depends on the photo (B, 3, 256, 256) alone."""
        motion = self.motion(photo)
        return LivePortraitCode(self.appearance(photo), motion.keypoints(), motion)

    def forward(self, code: LivePortraitCode, keypoints: Tensor) -> tuple[Tensor, VolumeMotion]:
        """Pictures (B, 3, 512, 512) of the photo's person with ``keypoints`` (B, K, 3), and their motion."""
        features, motion = self.warping(code.volume, code.keypoints, keypoints)
        return self.generator(features), motion

    def mended(
        self, source: Tensor, driving: Tensor, stitching: bool = True, lip_opening: float | None = None
    ) -> Tensor:
        """Driving keypoints (B, K, 3) as the photo bears them: stitched, and its open lips closed.

        Args:
            source: the photo's keypoints, (1, K, 3).
            driving: before.
            stitching: whether neck and shoulders stay where the photo's are.
            lip_opening: of the photo, as :meth:`lip_change` takes it; None leaves lips as they are.
        """
        points = self.stitched(source, driving) if stitching else driving
        if lip_opening is None:
            return points
        opening = source.new_full((1, 1), lip_opening)
        return points + self.lip_change(source, opening, torch.zeros_like(opening))

    def stitched(self, source: Tensor, driving: Tensor) -> Tensor:
        """Driving keypoints (B, K, 3), mended so that neck and shoulders stay where the photo's are.

        ``source``: the photo's, (B, K, 3), or (1, K, 3) for all.
        """
        source = source.expand_as(driving)
        with in_full_precision(driving):
            change: Tensor = self.stitching(torch.cat((source.flatten(1), driving.flatten(1)), dim=1).float())
            points = driving + change[:, :-2].reshape(driving.shape)
            return points + nn.functional.pad(change[:, None, -2:], (0, 1))

    def lip_change(self, source: Tensor, opening: Tensor, wanted: Tensor) -> Tensor:
        """What to add to keypoints (B, K, 3) for the lips to open as ``wanted``.

        Args:
            source: the photo's keypoints, (B, K, 3).
            opening, wanted: (B, 1), gap of the inner lips over the mouth's width.
        """
        with in_full_precision(source):
            change: Tensor = self.lips(torch.cat((source.flatten(1), opening, wanted), dim=1).float())
            return change.view(source.shape)

    def eye_change(self, source: Tensor, openings: Tensor, wanted: Tensor) -> Tensor:
        """What to add to keypoints (B, K, 3) for the eyes to open as ``wanted``.

        Args:
            source: the photo's keypoints, (B, K, 3).
            openings: of the photo's eyes, left and right in the picture, (B, 2), lid gap over eye width.
            wanted: of both, (B, 1).
        """
        with in_full_precision(source):
            change: Tensor = self.eyes(torch.cat((source.flatten(1), openings, wanted), dim=1).float())
            return change.view(source.shape)


class MLP(nn.Module):
    """Linear layers of the given widths, with ReLUs between."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, first) -> (B, last)."""
        y: Tensor = self.mlp(x)
        return y
