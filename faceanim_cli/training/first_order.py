"""Fine-tune first-order-model's networks from a checkpoint, perhaps on one person's clips.

faceanim train --data DATA --init vox-adv-cpk.pth.tar --out RUN

Loss terms and weights are those of the original's training code (``modules/model.py`` and
``config/vox-256.yaml`` of github.com/AliaksandrSiarohin/first-order-model; MIT licence, Aliaksandr Siarohin
2019), described in §3.3 of Siarohin et al., "First Order Motion Model for Image Animation", NeurIPS 2019.
"""

import math
from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.training.equivariance import RandomDeformation
from faceanim_cli.training.loop import train
from faceanim_cli.training.motion import pair_stage, training_clips
from faceanim_cli.training.perceptual import PerceptualLoss, perceptual_loss
from faceanim_cli.training.progress import Listener, TrainingResult
from faceanim_cli.training.settings import FirstOrderLossWeights, FirstOrderTrainingSettings
from faceanim_cli.training.stage import Stage
from faceanim_cli.weights.load import load_weights
from faceanim_models import FirstOrderModel, FirstOrderSettings
from faceanim_models.first_order import inverse


class FirstOrderObjective(nn.Module):
    """Rebuild the driving frame from the source frame of the same clip, by keypoints found without labels.

    Args:
        model: in training mode, as loaded: its batch norms are not folded.
        perceptual: of the first term; None: there is no such term.
        weights: of the terms.
    """

    def __init__(
        self, model: FirstOrderModel, perceptual: PerceptualLoss | None, weights: FirstOrderLossWeights
    ) -> None:
        super().__init__()
        self.model, self.perceptual, self.weights = model, perceptual, weights

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss, a scalar; its terms by name, unweighted; and the generated frames, (B, 3, H, W).

        Of ``batch`` (see ``PairDataset``) only ``source`` and ``driving`` are looked at. What a
        discriminator says of the frames comes on top, from :mod:`faceanim_cli.training.adversarial`.
        """
        w = self.weights
        source, driving = batch["source"], batch["driving"]
        # One by one, as in the original: each batch is normalised by its own statistics.
        code = self.model.encode_photo(source)
        points, jacobians, _ = keypoints = self.model.detect(driving)
        generated, _ = self.model(code, keypoints)
        terms = {}
        if self.perceptual is not None and w.perceptual:
            with torch.no_grad():
                target = self.perceptual.maps(driving)
            terms["perceptual"] = self.perceptual(generated.image, target)
        if w.equivariance or w.equivariance_jacobian:
            deformation = RandomDeformation(len(driving), driving.device)
            deformed = self.model.detect(deformation.images(driving))
            terms["equivariance"] = (points - deformation.points(deformed.points)).abs().mean()
            if jacobians is not None and deformed.jacobians is not None:
                back = deformation.jacobians(deformed.points) @ deformed.jacobians  # (B, K, 2, 2)
                identity = torch.eye(2, device=back.device)
                terms["equivariance_jacobian"] = (identity - inverse(jacobians) @ back).abs().mean()
        zero = torch.zeros((), device=source.device)  # a discriminator may be the only one to say anything
        loss = sum((getattr(w, name) * term for name, term in terms.items()), zero)
        return loss, {name: term.detach() for name, term in terms.items()}, generated.image


def train_first_order(
    settings: FirstOrderTrainingSettings, listener: Listener | None = None
) -> TrainingResult | None:
    """Train the networks in ``settings.init`` on the clips in ``settings.data``; see :func:`loop.train`.

    Raises:
        UnreadableInputError: no usable data.
        UsageError: a size that the networks cannot halve as often as they do.
        WeightsError: ``init`` or ``perceptual`` does not fit. And what the loop raises.
    """
    return train(settings, lambda fabric: _stage(settings, fabric), listener)


def _stage(settings: FirstOrderTrainingSettings, fabric: Fabric) -> Stage:
    perceptual = perceptual_loss(settings.perceptual, settings.offline)
    model = _build(settings)
    clips = training_clips(settings, fabric)
    objective = FirstOrderObjective(model, perceptual, settings.losses)
    return pair_stage(settings, clips, model, objective, settings.losses)


def _build(settings: FirstOrderTrainingSettings) -> FirstOrderModel:
    model = load_weights(settings.init) if settings.init else None
    if not isinstance(model, FirstOrderModel):
        raise WeightsError(
            f"{settings.init}: not first-order-model's networks, which are needed to go on from"
        )
    unit = _size_unit(model.settings)
    if settings.size % unit:
        raise UsageError(f"--size {settings.size}: these networks need a multiple of {unit}")
    model.settings = replace(model.settings, image_size=settings.size)
    return model.train()


def _size_unit(s: FirstOrderSettings) -> int:
    """Pixels: a size is a multiple of these, for all parts to halve it as often as they do."""
    return math.lcm(
        s.keypoint_shrink << len(s.keypoint_widths) - 1,
        s.motion_shrink << len(s.motion_widths) - 1,
        1 << len(s.generator_widths) - 1,
    )
