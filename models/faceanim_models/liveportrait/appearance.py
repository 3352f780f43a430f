"""LivePortrait's appearance network: a photo to a volume of features, once."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_models.liveportrait.layers import ConvNorm2d, ResidualBlock3d


class AppearanceFeatureExtractor(nn.Module):
    """Photo (B, 3, 256, 256), RGB in [0, 1], to a volume (B, volume_channels, depth, 64, 64).

    Args:
        widths: channels at 1/1, 1/2 and 1/4 of the photo's size.
        volume_channels: of the volume.
        depth: slices of the volume.
        blocks: residual blocks that work on it.
    """

    def __init__(self, widths: tuple[int, ...], volume_channels: int, depth: int, blocks: int) -> None:
        super().__init__()
        self.volume_channels, self.depth = volume_channels, depth
        self.first = ConvNorm2d(3, widths[0])
        self.down_blocks = nn.ModuleList(ConvNorm2d(a, b) for a, b in pairwise(widths))
        self.second = nn.Conv2d(widths[-1], volume_channels * depth, 1)
        self.resblocks_3d = nn.Sequential()
        for number in range(blocks):
            self.resblocks_3d.add_module(f"3dr{number}", ResidualBlock3d(volume_channels))

    def forward(self, photo: Tensor) -> Tensor:
        """See the class."""
        x = F.relu(self.first(photo))
        for down in self.down_blocks:
            x = F.avg_pool2d(F.relu(down(x)), 2)
        x = self.second(x)
        volume: Tensor = self.resblocks_3d(x.unflatten(1, (self.volume_channels, self.depth)))
        return volume
