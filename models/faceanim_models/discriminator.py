"""The discriminator of Eqs. 4 and 5: patches, least squares."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations


@dataclass(frozen=True)
class PatchDiscriminatorSettings:
    """What rebuilds a :class:`PatchDiscriminator`."""

    widths: tuple[int, ...] = (64, 128, 256, 384)  # channels after each halving


class PatchDiscriminator(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to one score for each patch, (B, 1, h, w): 1 real, 0 generated.

    Least squares (Mao et al. 2017) wants raw scores: no sigmoid. Spectral normalisation keeps the
    score smooth without statistics over the batch, which real and generated halves would leak through.
    """

    def __init__(self, settings: PatchDiscriminatorSettings) -> None:
        super().__init__()
        self.settings = settings
        layers: list[nn.Module] = []
        channels = 3
        for width in settings.widths:
            layers.append(parametrizations.spectral_norm(nn.Conv2d(channels, width, 4, stride=2, padding=1)))
            channels = width
        self.blocks = nn.ModuleList(layers)
        self.score = parametrizations.spectral_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores (B, 1, H / 2^n, W / 2^n), and the features of each block for feature matching."""
        features = []
        x = images * 2 - 1
        for block in self.blocks:
            x = torch.nn.functional.leaky_relu(block(x), 0.2)
            features.append(x)
        return self.score(x), features
