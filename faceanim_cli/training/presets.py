"""Sets of settings that belong together: the paper's, and the shipped model's, which is the default."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal, TypeAlias

from faceanim_cli.training.motion import TrainingSettings
from faceanim_cli.training.motion_losses import LossWeights, loss_weights
from faceanim_cli.training.super_resolution import SuperResolutionSettings

PresetName: TypeAlias = Literal["shipped", "paper"]

# Eq. 6: L_p + L_D + L_G, nothing else but that the keypoints are the paper's ten landmarks.
PAPER_LOSSES = LossWeights(
    **{field.name: 0.0 for field in fields(LossWeights)}
    | {"perceptual": 1.0, "adversarial": 1.0, "keypoints": 20.0}
)

MOTION: Mapping[PresetName, Mapping[str, Any]] = types.MappingProxyType(
    {
        "shipped": {},
        "paper": {
            "losses": PAPER_LOSSES,
            "perceptual": "vgg19",
            "optimizer": "swats",
            "keypoints": "paper",
        },
    }
)
SUPER_RESOLUTION: Mapping[PresetName, Mapping[str, Any]] = types.MappingProxyType(
    {"shipped": {}, "paper": {"perceptual_weight": 0.0, "optimizer": "swats"}}  # Eq. 7 alone
)


def motion_settings(preset: PresetName, losses: Sequence[str] = (), **given: Any) -> TrainingSettings:
    """The settings of a preset with others ``given`` instead; None leaves the preset's.

    Args:
        preset: where to start.
        losses: changes of the loss weights, each NAME=WEIGHT.
        given: fields of :class:`TrainingSettings`.

    Raises:
        UsageError: no such loss, or settings that make no sense together.
    """
    chosen = {**MOTION[preset], **_stated(given)}
    weights = chosen.get("losses", LossWeights())
    if chosen.get("keypoints") == "free":  # no landmark tells them where to be; equivariance holds them
        weights = replace(weights, keypoints=0.0, landmark_motion=0.0, equivariance=10.0)
    return TrainingSettings(**{**chosen, "losses": loss_weights(weights, losses)})


def super_resolution_settings(preset: PresetName, **given: Any) -> SuperResolutionSettings:
    """As :func:`motion_settings`, for the other stage."""
    return SuperResolutionSettings(**{**SUPER_RESOLUTION[preset], **_stated(given)})


def _stated(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
