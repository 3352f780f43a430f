"""Sets of settings that belong together: the paper's, and the shipped model's, which is the default."""

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal, TypeAlias, TypeVar

from faceanim_cli.errors import UsageError
from faceanim_cli.training.settings import (
    FirstOrderLossWeights,
    FirstOrderTrainingSettings,
    LossWeights,
    MotionTrainingSettings,
    SuperResolutionSettings,
)

PresetName: TypeAlias = Literal["shipped", "paper"]
Weights = TypeVar("Weights", LossWeights, FirstOrderLossWeights)

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


def motion_settings(preset: PresetName, losses: Sequence[str] = (), **given: Any) -> MotionTrainingSettings:
    """The settings of a preset with others ``given`` instead; None leaves the preset's.

    Args:
        preset: where to start.
        losses: changes of the loss weights, each NAME=WEIGHT.
        given: fields of :class:`MotionTrainingSettings`.

    Raises:
        UsageError: no such loss, or settings that make no sense together.
    """
    chosen = {**MOTION[preset], **_stated(given)}
    weights = chosen.get("losses", LossWeights())
    if chosen.get("keypoints") == "free":  # no landmark tells them where to be; equivariance holds them
        weights = replace(weights, keypoints=0.0, landmark_motion=0.0, equivariance=10.0)
    return MotionTrainingSettings(**{**chosen, "losses": loss_weights(weights, losses)})


def first_order_settings(
    preset: PresetName,
    losses: Sequence[str] = (),
    *,
    keypoints: str | None = None,
    similarity: bool = True,
    box_prior: bool = True,
    **given: Any,
) -> FirstOrderTrainingSettings:
    """The original's settings, for weights of first-order-model to go on from; otherwise as above.

    Raises:
        UsageError: a setting that means nothing to these networks.
    """
    refused = {
        f"--preset {preset}": preset != "shipped",
        f"--keypoints {keypoints}": keypoints is not None,
        "--no-similarity": not similarity,
        "--no-box-prior": not box_prior,
    }
    for option in [option for option, is_given in refused.items() if is_given]:
        raise UsageError(
            f"{option}: is for faceanim's own networks, and {given.get('init')} holds first-order-model's; "
            "leave it away"
        )
    weights = loss_weights(FirstOrderLossWeights(), losses)
    return FirstOrderTrainingSettings(**_stated(given), losses=weights)


def super_resolution_settings(preset: PresetName, **given: Any) -> SuperResolutionSettings:
    """As :func:`motion_settings`, for the other stage."""
    return SuperResolutionSettings(**{**SUPER_RESOLUTION[preset], **_stated(given)})


def loss_weights(start: Weights, changes: Sequence[str]) -> Weights:
    """``start`` with changes written as NAME=WEIGHT.

    Raises:
        UsageError: no such loss, or not a number of at least 0.
    """
    names = [field.name for field in fields(start)]
    values: dict[str, float] = {}
    for change in changes:
        name, _, number = change.partition("=")
        try:
            values[name] = float(number)
        except ValueError:
            values[name] = math.nan
        if name not in names or not 0 <= values[name] < math.inf:
            raise UsageError(
                f"--loss {change}: write NAME=WEIGHT, 0 or more; the names are {', '.join(names)}"
            )
    return replace(start, **values)


def _stated(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
