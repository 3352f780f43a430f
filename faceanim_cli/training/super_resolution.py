"""Train face super-resolution, apart from the animation networks (paper §3.2, §3.3, Eq. 7).

faceanim train --stage sr --data DATA --out RUN
"""

import math
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_cli.data.portraits import Portrait, PortraitDataset, framed_pair, load_portraits
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.image_metrics import psnr
from faceanim_cli.training.loop import train
from faceanim_cli.training.perceptual import PerceptualLoss, perceptual_loss
from faceanim_cli.training.progress import Listener, TrainingResult
from faceanim_cli.training.settings import SuperResolutionSettings
from faceanim_cli.training.stage import Stage
from faceanim_cli.training.validation import as_pictures
from faceanim_cli.weights.checkpoint import load_checkpoint
from faceanim_models import FaceSuperResolver

FRAME = 256  # pixels: the product's frame before super-resolution, at which a run is validated
BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class SuperResolutionScores:
    """Mean PSNR in dB (data range 1, RGB) over the validation portraits, framed as in the product."""

    clean: float  # input shrunk by averaging
    clean_bicubic: float  # of the plain enlargement of the same input
    degraded: float  # input soft, noisy and compressed besides
    degraded_bicubic: float

    @property
    def value(self) -> float:
        """What the network adds to the plain enlargement, mean of both kinds of input."""
        return (self.clean - self.clean_bicubic + self.degraded - self.degraded_bicubic) / 2

    def __str__(self) -> str:
        return (
            f"clean {self.clean:.2f} dB (bicubic {self.clean_bicubic:.2f}), "
            f"degraded {self.degraded:.2f} dB (bicubic {self.degraded_bicubic:.2f})"
        )


class SuperResolutionObjective(nn.Module):
    """What super-resolution is trained to do, as one module: a batch in, the loss out.

    Args:
        network: enlarges.
        perceptual: compares features; None for Eq. 7 alone.
        weight: of that comparison.
        share: of a batch that it is made for, in (0, 1].
    """

    def __init__(
        self, network: FaceSuperResolver, perceptual: PerceptualLoss | None, weight: float, share: float
    ) -> None:
        super().__init__()
        self.network, self.perceptual, self.weight, self.share = network, perceptual, weight, share

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss, a scalar; its terms by name, unweighted; and the enlarged crops (B, 3, 2 S, 2 S).

        For ``batch`` see ``PortraitDataset``.
        """
        result, wanted = self.network(batch["low"]), batch["high"]
        terms = {"pixels": (result - wanted).abs().mean()}  # Eq. 7
        loss = terms["pixels"]
        if self.perceptual is not None:
            few = math.ceil(self.share * len(result))
            with torch.no_grad():
                target = self.perceptual.maps(wanted[:few])
            terms["perceptual"] = self.perceptual(result[:few], target)
            loss = loss + self.weight * terms["perceptual"]
        return loss, {name: term.detach() for name, term in terms.items()}, result


def train_super_resolution(
    settings: SuperResolutionSettings, listener: Listener | None = None
) -> TrainingResult | None:
    """Train super-resolution on the photos in ``settings.data``; for the rest see :func:`loop.train`.

    The weights are best by what they add to the plain enlargement of the photos with split 'val'.

    Raises:
        UnreadableInputError: no usable data.
        WeightsError: ``init`` or ``perceptual`` does not fit. And what the loop raises.
    """
    return train(settings, lambda fabric: _stage(settings, fabric), listener)


def _stage(settings: SuperResolutionSettings, fabric: Fabric) -> Stage:
    portraits = load_portraits(settings.data, "train")
    held_out = load_portraits(settings.data, "val")
    if not portraits:
        raise UnreadableInputError(f"{settings.data}: no readable photo with split 'train' in manifest.csv")
    network = _build(settings)
    choice = settings.perceptual if settings.perceptual_weight else "none"
    perceptual = perceptual_loss(choice, settings.offline)
    people = len({portrait.identity for portrait in portraits})

    def pairs(count: int) -> PortraitDataset:
        return PortraitDataset(portraits, settings.size, count, settings.seed)

    def scores(averaged: nn.Module) -> tuple[SuperResolutionScores, None]:
        assert isinstance(averaged, FaceSuperResolver)
        return validate(averaged, held_out, fabric.device), None

    weight, share = settings.perceptual_weight, settings.perceptual_share
    return Stage(
        network=network,
        objective=SuperResolutionObjective(network, perceptual, weight, share),
        data=pairs,
        about=f"{len(portraits)} photos of {people} people, {len(held_out)} to validate on",
        validate=scores if held_out else None,
        unit="dB over bicubic",
        betas=BETAS,
    )


@torch.no_grad()
def validate(
    network: FaceSuperResolver, portraits: list[Portrait], device: torch.device, size: int = FRAME
) -> SuperResolutionScores:
    """Scores of a network in evaluation mode; what degrades a portrait is the same on every call."""
    sums = []
    for number, portrait in enumerate(portraits):
        row = []
        for plain in (1.0, 0.0):
            low, high = (image[None].to(device) for image in framed_pair(portrait, size, number, plain))
            bicubic = F.interpolate(low, scale_factor=network.SCALE, mode="bicubic", align_corners=False)
            (wanted,) = as_pictures(high)
            row += [psnr(as_pictures(image)[0], wanted) for image in (network(low), bicubic)]
        sums.append(row)
    return SuperResolutionScores(*torch.tensor(sums).mean(0).tolist())


def _build(settings: SuperResolutionSettings) -> FaceSuperResolver:
    if settings.init is None:
        return FaceSuperResolver(settings.architecture)
    network = load_checkpoint(settings.init, expected="super-resolution")
    assert isinstance(network, FaceSuperResolver)
    return network.train()
