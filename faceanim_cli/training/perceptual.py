"""Eq. 3: distance between feature maps of a network that was trained to see (Johnson et al. 2016)."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.imagenet import imagenet_file, read_imagenet


class PerceptualLoss(nn.Module):
    """Mean L1 distance between feature maps of two images, at some scales of the image.

    Args:
        features: layers of a classifier, up to the last that is compared.
        stages: the layers after which the maps are compared.
        scales: factors of the image's size.
        unit_vectors: scale each position's feature vector to length 1 first (Zhang et al. 2018), so that no
            stage outweighs the others.
    """

    SMALLEST = 16  # pixels a side that VGG-19's four poolings leave something of

    def __init__(
        self, features: nn.Sequential, stages: Sequence[int], scales: Sequence[float], unit_vectors: bool
    ) -> None:
        super().__init__()
        self.features = features[: max(stages) + 1].eval().requires_grad_(False)
        self.stages, self.scales, self.unit_vectors = stages, scales, unit_vectors
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps of (B, 3, H, W) in [0, 1], for all scales and stages."""
        maps = []
        for scale in self.scales:
            if scale != 1 and min(images.shape[-2:]) * scale < self.SMALLEST:
                continue
            x = images if scale == 1 else F.interpolate(images, scale_factor=scale, mode="area")
            x = (x - self.mean) / self.std
            for index, layer in enumerate(self.features):
                x = layer(x)
                if index in self.stages:
                    maps.append(F.normalize(x.float(), dim=1) if self.unit_vectors else x.float())
        return maps

    def forward(self, images: Tensor, target: list[Tensor]) -> Tensor:
        """Distance of ``images`` to the :meth:`maps` of their targets."""
        return self.distance(self.maps(images), target)

    def distance(self, maps: list[Tensor], target: list[Tensor]) -> Tensor:
        """Between the :meth:`maps` of two images."""
        pairs = zip(maps, target, strict=True)
        if not self.unit_vectors:  # as first-order-model: mean over features, sum over stages and scales
            return torch.stack([(a - b).abs().mean() for a, b in pairs]).sum()
        # Mean over pixels and scales, sum over stages. The L1 norm of a unit vector grows with the root of
        # its length: divided out, all stages count alike.
        distances = [(a - b).abs().sum(1).mean() / a.shape[1] ** 0.5 for a, b in pairs]
        return torch.stack(distances).sum() * len(self.stages) / len(distances)


class SqueezeNetLoss(PerceptualLoss):
    """SqueezeNet 1.1: a tenth of VGG-19's work.

    Not LPIPS: that distance weighs the features of other weights by what people find alike. These are as
    ImageNet left them, all alike.

    Args:
        weights: file with the keys of torchvision's ``squeezenet1_1().features``, or of the whole classifier.
        scales: see :class:`PerceptualLoss`.
    """

    SMALLEST = 17
    STAGES = (2, 5, 8, 10, 12)  # the first ReLU, then every other fire module

    def __init__(self, weights: Path, scales: Sequence[float] = (1.0, 0.5)) -> None:
        super().__init__(features_of("squeezenet1_1", weights), self.STAGES, scales, unit_vectors=True)


class VGG19Loss(PerceptualLoss):
    """VGG-19 on an image pyramid, the paper's network, compared where first-order-model compares it.

    Args:
        weights: file with the keys of torchvision's ``vgg19().features``, or of the whole classifier.
        scales: see :class:`PerceptualLoss`.
    """

    STAGES = (1, 6, 11, 20, 29)  # the ReLU after the first convolution of each of the five blocks

    def __init__(self, weights: Path, scales: Sequence[float] = (1.0, 0.5, 0.25, 0.125)) -> None:
        super().__init__(features_of("vgg19", weights), self.STAGES, scales, unit_vectors=False)


def perceptual_loss(choice: str, offline: bool = False) -> PerceptualLoss | None:
    """The loss that ``choice`` names: squeezenet, which ships, vgg19, none, or a file of either's features.

    Raises:
        WeightsError: the weights are not here and cannot be fetched, or the file holds neither.
    """
    if choice == "none":
        return None
    if choice == "squeezenet":
        return SqueezeNetLoss(imagenet_file("squeezenet1_1", "--perceptual"))
    if choice == "vgg19":
        return VGG19Loss(imagenet_file("vgg19", "--perceptual", offline=offline))
    file = Path(choice)
    if not file.is_file():
        raise WeightsError(f"--perceptual {choice}: no such file; the names are squeezenet, vgg19 and none")
    squeezenet = any(".squeeze." in key for key in read_imagenet(file))
    return SqueezeNetLoss(file) if squeezenet else VGG19Loss(file)


def features_of(network: str, weights: Path) -> nn.Sequential:
    """The convolutional part of one of torchvision's classifiers, with the weights in a file.

    Raises:
        WeightsError: they do not fit.
    """
    with torch.device("meta"):  # the file replaces all there is: nothing need be drawn
        features: nn.Sequential = torchvision.models.get_model(network, weights=None).features
    tensors = {
        key.removeprefix("features."): tensor
        for key, tensor in read_imagenet(weights).items()
        if not key.startswith("classifier.")
    }
    try:
        features.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{weights}: not {network}'s features: {reason}") from error
    return features
