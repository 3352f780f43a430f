"""Eq. 3: distance between feature maps of a network that was trained to see (Johnson et al. 2016)."""

from pathlib import Path

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_cli.errors import WeightsError

STAGES = (2, 5, 8, 10, 12)  # layers of SqueezeNet 1.1's features after which the maps are compared


class PerceptualLoss(nn.Module):
    """Mean L1 distance between the channel-normalised SqueezeNet 1.1 features of two images.

    Each position's feature vector is scaled to length 1 first (Zhang et al. 2018), so that no stage
    outweighs the others. Compared at each of ``scales`` of the image.

    Args:
        weights: safetensors file with the keys of torchvision's ``squeezenet1_1().features``; None lets
            torchvision fetch its ImageNet weights.
        scales: factors of the image's size.
    """

    def __init__(self, weights: Path | None, scales: tuple[float, ...] = (1.0, 0.5)) -> None:
        super().__init__()
        if weights is None:
            network = torchvision.models.squeezenet1_1(weights="DEFAULT")
        else:
            network = torchvision.models.squeezenet1_1(weights=None)
            try:
                tensors = load_file(weights)
                network.features.load_state_dict(
                    {key.removeprefix("features."): t for key, t in tensors.items()}
                )
            except (RuntimeError, OSError, SafetensorError) as error:
                raise WeightsError(f"{weights}: not SqueezeNet 1.1 features: {error}") from error
        self.features = network.features[: STAGES[-1] + 1].eval().requires_grad_(False)
        self.scales = scales
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Normalised feature maps of (B, 3, H, W) in [0, 1], for all scales and stages."""
        maps = []
        for scale in self.scales:
            x = images if scale == 1 else F.interpolate(images, scale_factor=scale, mode="area")
            x = (x - self.mean) / self.std
            for index, layer in enumerate(self.features):
                x = layer(x)
                if index in STAGES:
                    maps.append(F.normalize(x.float(), dim=1))
        return maps

    def forward(self, images: Tensor, target: list[Tensor]) -> Tensor:
        """Distance of ``images`` to the :meth:`maps` of their targets: mean over pixels, sum over stages."""
        # The L1 norm of a unit vector grows with the root of its length: divided out, all stages count alike.
        distances = [
            (a - b).abs().sum(1).mean() / a.shape[1] ** 0.5
            for a, b in zip(self.maps(images), target, strict=True)
        ]
        return torch.stack(distances).sum() / len(self.scales)
