"""What several of LivePortrait's networks are made of.

Modules are called as the published weights call them, so that a file's keys are the networks'.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvNorm2d(nn.Module):
    """Convolution of 3x3 and batch normalisation: (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


class ConvNorm3d(nn.Module):
    """The same with 3x3x3: (B, in, D, H, W) -> (B, out, D, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.norm: nn.Module = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


class ResidualBlock3d(nn.Module):
    """``x + conv2(relu(norm2(conv1(relu(norm1(x))))))``; shape unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1: nn.Module = nn.BatchNorm3d(channels)
        self.norm2: nn.Module = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        return x + y


def corner_grid(depth: int, height: int, width: int, like: Tensor) -> Tensor:
    """Places of a volume's cells, (D, H, W, 3) as x, y, z; -1 and 1 are the outermost cells' centres."""
    axes = [torch.linspace(-1, 1, size, device=like.device) for size in (width, height, depth)]
    z, y, x = torch.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    return torch.stack((x, y, z), dim=-1)


def sample_volume(volume: Tensor, grid: Tensor) -> Tensor:
    """Trilinear samples of (B, C, D, H, W) at (B, d, h, w, 3), in float32; zero beyond the edge.

    The published weights were trained with ``align_corners=False`` on grids whose corners are aligned, so the
    grid that changes nothing shifts the border by half a cell. That is kept: with the other reading the
    picture is another.
    """
    return F.grid_sample(volume.float(), grid.float(), align_corners=False)
