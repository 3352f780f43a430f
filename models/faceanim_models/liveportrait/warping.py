"""LivePortrait's warping network: the photo's volume, moved from its keypoints to the driving ones."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_models.geometry import in_full_precision, working_type
from faceanim_models.liveportrait.layers import ConvNorm2d, ConvNorm3d, corner_grid, sample_volume

VARIANCE = 0.01  # of the keypoints' heat
SLOPE = 0.01  # of the leaky ReLU


class VolumeMotion(NamedTuple):
    """How a volume moves for a batch of driving frames."""

    deformation: Tensor  # (B, D, H, W, 3): where each cell is found in the photo's volume
    occlusion: Tensor  # (B, 1, H, W) in [0, 1]: 1 where the photo shows what is needed
    mask: Tensor  # (B, K + 1, D, H, W): the share of each candidate motion


class WarpingNetwork(nn.Module):
    """Volume (B, C, D, H, W) and keypoints of photo and frame, (B, K, 3), to features (B, out, H, W).

    Args:
        num_keypoints: K.
        volume_channels: C.
        depth: D.
        compressed: channels that the volume is brought down to for the candidates' views.
        hourglass: channels of the hourglass: of its last decoder block, then of its encoder's.
        out_channels: of the result.
    """

    def __init__(
        self,
        num_keypoints: int,
        volume_channels: int,
        depth: int,
        compressed: int,
        hourglass: tuple[int, ...],
        out_channels: int,
    ) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotion3d(
            num_keypoints, volume_channels, depth, compressed, hourglass
        )
        self.third = ConvNorm2d(volume_channels * depth, out_channels)
        self.fourth = nn.Conv2d(out_channels, out_channels, 1)

    def forward(self, volume: Tensor, source: Tensor, driving: Tensor) -> tuple[Tensor, VolumeMotion]:
        """The warped features, and by which motion."""
        motion = self.dense_motion_network(volume, source, driving)
        with in_full_precision(volume):
            moved = sample_volume(volume, motion.deformation).flatten(1, 2)
        x = F.leaky_relu(self.third(moved.to(working_type(moved))), SLOPE)
        return self.fourth(x) * motion.occlusion.to(x.dtype), motion


class DenseMotion3d(nn.Module):
    """Mixes candidate motions, one for each keypoint and one for the background, cell by cell."""

    def __init__(
        self,
        num_keypoints: int,
        volume_channels: int,
        depth: int,
        compressed: int,
        hourglass: tuple[int, ...],
    ) -> None:
        super().__init__()
        candidates = num_keypoints + 1
        self.compress = nn.Conv3d(volume_channels, compressed, 1)
        self.norm: nn.Module = nn.BatchNorm3d(compressed)
        self.hourglass = Hourglass3d(candidates * (1 + compressed), hourglass)
        self.mask = nn.Conv3d(self.hourglass.out_channels, candidates, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.out_channels * depth, 1, 7, padding=3)

    def forward(self, volume: Tensor, source: Tensor, driving: Tensor) -> VolumeMotion:
        """See :class:`WarpingNetwork`."""
        compressed = F.relu(self.norm(self.compress(volume)))
        size = compressed.shape[2:]
        with in_full_precision(volume):
            grid = corner_grid(size[0], size[1], size[2], volume)  # (D, H, W, 3)
            shifts = F.pad(source.float() - driving.float(), (0, 0, 1, 0))  # the background's is none
            candidates = grid + shifts[:, :, None, None, None]  # (B, K + 1, D, H, W, 3)
            # All candidates' views at once: they lie behind one another along the depth.
            views = sample_volume(compressed, candidates.flatten(1, 2))
            views = views.unflatten(2, (shifts.shape[1], size[0])).transpose(1, 2)  # (B, K + 1, C, D, H, W)
            heat = heatmaps(driving, grid) - heatmaps(source, grid)
            heat = F.pad(heat, (0, 0, 0, 0, 0, 0, 1, 0))[:, :, None]
        x = torch.cat((heat, views), dim=2).flatten(1, 2)
        features = self.hourglass(x.to(working_type(volume)))
        mask = self.mask(features).float().softmax(1)
        with in_full_precision(volume):
            deformation = torch.einsum("bndhw,bndhwc->bdhwc", mask, candidates)
        occlusion = torch.sigmoid(self.occlusion(features.flatten(1, 2)).float())
        return VolumeMotion(deformation, occlusion, mask)


def heatmaps(keypoints: Tensor, grid: Tensor) -> Tensor:
    """Keypoints (B, K, 3) as Gaussians of height 1 on a grid (D, H, W, 3): (B, K, D, H, W)."""
    # The Gaussian separates: exponentials along each axis instead of in each cell.
    x, y, z = grid[0, 0, :, 0], grid[0, :, 0, 1], grid[:, 0, 0, 2]
    points = keypoints.float()
    along = [
        torch.exp(-((axis - points[..., i : i + 1]) ** 2) / (2 * VARIANCE))
        for i, axis in enumerate((x, y, z))
    ]
    return torch.einsum("bkd,bkh,bkw->bkdhw", along[2], along[1], along[0])


class Hourglass3d(nn.Module):
    """Encoder and decoder that keep the depth; the encoder's maps are concatenated behind the decoder's.

    Args:
        in_channels: of the input, which is concatenated last.
        widths: channels of the last decoder block, then of the encoder's blocks.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        down = (in_channels, *widths[1:])
        self.encoder = nn.Module()
        self.encoder.down_blocks = nn.ModuleList(ConvNorm3d(a, b) for a, b in pairwise(down))
        self.decoder = nn.Module()
        # What comes up from below, and what the encoder had there.
        inputs = [down[-1], *(up + skip for up, skip in zip(widths[-2:0:-1], down[-2:0:-1], strict=True))]
        self.decoder.up_blocks = nn.ModuleList(
            ConvNorm3d(a, b) for a, b in zip(inputs, reversed(widths[:-1]), strict=True)
        )
        self.out_channels = widths[0] + in_channels
        self.decoder.conv = nn.Conv3d(self.out_channels, self.out_channels, 3, padding=1)
        self.decoder.norm = nn.BatchNorm3d(self.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) -> (B, out, D, H, W)."""
        skips = [x]
        for down in self.encoder.down_blocks:  # type: ignore[union-attr]
            x = F.avg_pool3d(F.relu(down(x)), (1, 2, 2))
            skips.append(x)
        x = skips.pop()
        for up in self.decoder.up_blocks:  # type: ignore[union-attr]
            x = F.interpolate(x, scale_factor=(1.0, 2.0, 2.0), mode="nearest")
            x = torch.cat((F.relu(up(x)), skips.pop()), dim=1)
        return F.relu(self.decoder.norm(self.decoder.conv(x)))  # type: ignore[operator]
