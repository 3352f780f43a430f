"""Fine-tune first-order-model's networks from a checkpoint, perhaps on one person's clips.

faceanim train --data DATA --init vox-adv-cpk.pth.tar --out RUN
"""

import math
from dataclasses import dataclass, field, replace

from lightning_fabric import Fabric

from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.training.clip_stage import ClipSettings, clip_stage, training_clips
from faceanim_cli.training.first_order_losses import FirstOrderLossWeights, FirstOrderObjective
from faceanim_cli.training.loop import Stage, train
from faceanim_cli.training.perceptual import perceptual_loss
from faceanim_cli.training.progress import Listener, TrainingResult
from faceanim_cli.weights.load import load_weights
from faceanim_models import FirstOrderModel, FirstOrderSettings


@dataclass(frozen=True)
class FirstOrderTrainingSettings(ClipSettings):
    """Settings of a run of first-order-model's networks; ``init`` says which."""

    perceptual: str = "vgg19"  # as the original
    losses: FirstOrderLossWeights = field(default_factory=FirstOrderLossWeights)

    def __post_init__(self) -> None:
        super().__post_init__()
        seen = self.perceptual != "none" and self.losses.perceptual
        if not seen and not self.losses.adversarial:
            raise UsageError(
                "without the perceptual loss nothing teaches first-order-model's generator: "
                "give it a weight, or --loss adversarial=1"
            )


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
    clips = training_clips(settings, fabric)
    model = _build(settings)
    objective = FirstOrderObjective(model, perceptual_loss(settings.perceptual), settings.losses)
    return clip_stage(settings, clips, model, objective, settings.losses)


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
