"""Presets of settings: the paper's, and the shipped model's, which is the default."""

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal, TypeAlias, TypeVar

from faceanim_cli.errors import UsageError
from faceanim_cli.training.settings import (
    DetailLossWeights,
    DetailTrainingSettings,
    FirstOrderLossWeights,
    FirstOrderTrainingSettings,
    KeypointLossWeights,
    KeypointTrainingSettings,
    LossWeights,
    MotionTrainingSettings,
    RunSettings,
    SuperResolutionSettings,
)
from faceanim_cli.weights.catalogue import ANIMATION, shipped_weights

PresetName: TypeAlias = Literal["shipped", "paper"]
Settings = TypeVar("Settings", bound=RunSettings)
Weights = TypeVar("Weights", LossWeights, FirstOrderLossWeights, KeypointLossWeights, DetailLossWeights)

# Eq. 6: L_p + L_D + L_G, nothing else but that the keypoints are the paper's ten landmarks.
PAPER_LOSSES = LossWeights(
    **{field.name: 0.0 for field in fields(LossWeights)}
    | {"perceptual": 1.0, "adversarial": 1.0, "keypoints": 20.0}
)
# What is ours and not the paper's is left away: similarity and segmenter of the dense motion network, and
# free keypoints beside the anchored ones.
PAPER_MOTION: Mapping[str, Any] = types.MappingProxyType(
    {
        "losses": PAPER_LOSSES,
        "perceptual": "vgg19",
        "optimizer": "swats",
        "keypoints": "paper",
        "similarity": False,
        "segmenter": False,
        "free_keypoints": False,
        "encoder_weights": "imagenet",
    }
)
PAPER_SUPER_RESOLUTION: Mapping[str, Any] = types.MappingProxyType(
    {"perceptual_weight": 0.0, "optimizer": "swats"}  # Eq. 7 alone
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
    chosen = {**(PAPER_MOTION if preset == "paper" else {}), **_stated(given)}
    if chosen.get("init") is not None and given.get("encoder_weights") is None:
        chosen.pop("encoder_weights", None)  # those of init
    weights = chosen.get("losses", LossWeights())
    if chosen.get("keypoints") == "free":  # no landmark tells them where to be; equivariance holds them
        weights = replace(weights, keypoints=0.0, landmark_motion=0.0, equivariance=10.0)
    chosen["losses"] = loss_weights(weights, losses)
    return _settings(MotionTrainingSettings, chosen, "the animation networks")


def first_order_settings(
    preset: PresetName, losses: Sequence[str] = (), **given: Any
) -> FirstOrderTrainingSettings:
    """The original's settings, for weights of first-order-model to go on from; otherwise as above.

    Raises:
        UsageError: a setting that means nothing to these networks.
    """
    networks = f"first-order-model's networks, which {given.get('init')} holds"
    _refuse_paper(preset, networks)
    chosen = _stated(given) | {"losses": loss_weights(FirstOrderLossWeights(), losses)}
    return _settings(FirstOrderTrainingSettings, chosen, networks)


def keypoint_settings(
    preset: PresetName, losses: Sequence[str] = (), **given: Any
) -> KeypointTrainingSettings:
    """The settings of the keypoint detector's own stage; otherwise as above.

    Raises:
        UsageError: a setting that means nothing to it.
    """
    _refuse_paper(preset, "--stage keypoints")
    chosen = _stated(given) | {"losses": loss_weights(KeypointLossWeights(), losses)}
    chosen.setdefault("init", shipped_weights(ANIMATION))
    if chosen.get("perceptual") is not None:
        raise UsageError(_meaningless(f"--perceptual {chosen['perceptual']}", "--stage keypoints"))
    return _settings(KeypointTrainingSettings, chosen, "--stage keypoints")


def detail_settings(preset: PresetName, losses: Sequence[str] = (), **given: Any) -> DetailTrainingSettings:
    """The settings of the refiner of larger results; otherwise as above.

    Raises:
        UsageError: a setting that means nothing to it.
    """
    _refuse_paper(preset, "--stage details")
    chosen = _stated(given) | {"losses": loss_weights(DetailLossWeights(), losses)}
    chosen.setdefault("init", shipped_weights(ANIMATION))
    return _settings(DetailTrainingSettings, chosen, "--stage details")


def super_resolution_settings(
    preset: PresetName, losses: Sequence[str] = (), **given: Any
) -> SuperResolutionSettings:
    """The settings of super-resolution; otherwise as above.

    Raises:
        UsageError: a setting that means nothing to it.
    """
    if losses:
        raise UsageError(_meaningless(f"--loss {losses[0]}", "--stage sr"))
    chosen = {**(PAPER_SUPER_RESOLUTION if preset == "paper" else {}), **_stated(given)}
    return _settings(SuperResolutionSettings, chosen, "--stage sr")


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


def _settings(kind: type[Settings], chosen: Mapping[str, Any], trained: str) -> Settings:
    """The settings, all of which must mean something to what is ``trained``."""
    known = {field.name for field in fields(kind)}
    for name, value in chosen.items():
        if name not in known:
            raise UsageError(_meaningless(_option(name, value), trained))
    settings = kind(**chosen)
    if "swats_tolerance" in chosen and settings.optimizer != "swats":
        option = _option("swats_tolerance", chosen["swats_tolerance"])
        raise UsageError(f"{option}: is SWATS's; add --optimizer swats, or leave it away")
    return settings


def _refuse_paper(preset: PresetName, trained: str) -> None:
    if preset != "shipped":
        raise UsageError(_meaningless(f"--preset {preset}", trained))


def _meaningless(option: str, trained: str) -> str:
    return f"{option}: means nothing to {trained}; leave it away"


def _option(name: str, value: Any) -> str:
    """A setting as it is written on the command line."""
    name = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {value}"


def _stated(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
