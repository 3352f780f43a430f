"""Keypoints without landmarks: shoulders, clothes, hair and what else moves in a picture of a face.

A face's landmarks say where its bone is and what its muscles do. They say nothing of shoulders that turn,
hair that swings or a camera that shifts: by a driving frame's landmarks alone those stay where the photo has
them. These keypoints are learned from the pictures' own motion, as first-order-model's are (Siarohin et al.,
2019), each around a home of its own, so that a driver's left shoulder moves the photo's left shoulder.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from faceanim_models.blocks import ConvBlock, UNet
from faceanim_models.geometry import identity_grid, resize, soft_argmax
from faceanim_models.memory_layout import channels_first

# Where the keypoints are at home in the square around a face, x and y in [-1, 1]: clothes, shoulders, the
# sides and the top of the head, and what is behind it. Without homes all would gather at chin and hairline,
# which are the easiest to follow and tell nothing that a face's landmarks do not.
HOMES = (
    (0.0, 0.8), (-0.4, 0.8), (0.4, 0.8), (-0.8, 0.75), (0.8, 0.75),
    (-0.6, 0.3), (0.6, 0.3), (-0.6, -0.15), (0.6, -0.15),
    (-0.4, -0.65), (0.4, -0.65), (0.0, -0.75), (-0.8, -0.75), (0.8, -0.75),
)  # fmt: skip


@dataclass(frozen=True)
class FreeKeypointSettings:
    """What rebuilds a :class:`FreeKeypointDetector`."""

    homes: tuple[tuple[float, float], ...] = HOMES
    reach: float = 0.3  # how far a keypoint goes from its home, in [-1, 1] units
    input_size: int = 128  # pixels: images are brought to this size first
    stem: int = 16  # channels at half of it
    widths: tuple[int, ...] = (24, 48, 96, 128)  # U-Net channels from there on, at each half size
    temperature: float = 0.1  # of the spatial softmax


class FreeKeypointDetector(nn.Module):
    """Images (B, 3, H, W), RGB in [0, 1], to keypoints (B, F, 2), x and y in [-1, 1]."""

    def __init__(self, settings: FreeKeypointSettings) -> None:
        super().__init__()
        self.settings = settings
        self.stem = ConvBlock(3, settings.stem, kernel=5, stride=2)
        self.unet = UNet(settings.stem, settings.widths)
        self.heatmaps = nn.Conv2d(settings.widths[0], len(settings.homes), 3, padding=1)
        self.homes: Tensor
        self.register_buffer("homes", torch.tensor(settings.homes).view(-1, 2), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Keypoints (B, F, 2)."""
        size = self.settings.input_size
        logits = self.heatmaps(self.unet(self.stem(resize(images, size, size) - 0.5)))
        logits = channels_first(logits).float() / self.settings.temperature
        height, width = logits.shape[-2:]
        place = identity_grid(height, width, logits)  # (1, h, w, 2)
        away = (place - self.homes[:, None, None]).square().sum(-1)  # (F, h, w)
        return soft_argmax(logits.masked_fill(away > self.settings.reach**2, -torch.inf))
