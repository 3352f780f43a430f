"""The training stages by name, and checks before a run."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from faceanim_cli.errors import WeightsError
from faceanim_cli.training.first_order import train_first_order
from faceanim_cli.training.keypoints import train_keypoints
from faceanim_cli.training.large_details import train_details
from faceanim_cli.training.motion import train_motion
from faceanim_cli.training.presets import (
    PresetName,
    detail_settings,
    first_order_settings,
    keypoint_settings,
    motion_settings,
    super_resolution_settings,
)
from faceanim_cli.training.progress import Listener, TrainingResult
from faceanim_cli.training.settings import (
    DetailTrainingSettings,
    FirstOrderTrainingSettings,
    KeypointTrainingSettings,
    MotionTrainingSettings,
    RunSettings,
    SuperResolutionSettings,
)
from faceanim_cli.training.super_resolution import train_super_resolution
from faceanim_cli.weights.imagenet import imagenet_file
from faceanim_cli.weights.inspect import describe

StageName: TypeAlias = Literal["motion", "keypoints", "details", "sr"]

NETWORKS: dict[StageName, tuple[str, ...]] = {  # that a stage goes on from
    "motion": ("animation", "first-order"),
    "keypoints": ("animation",),
    "details": ("animation",),
    "sr": ("super-resolution",),
}

PRETRAINED = frozenset({"none", "squeezenet", "vgg19", "imagenet"})  # names; all else is a file


def stage_settings(
    stage: StageName,
    preset: PresetName,
    losses: Sequence[str] = (),
    *,
    init: Path | None = None,
    **given: Any,
) -> RunSettings:
    """The settings of a stage, for the networks in ``init`` where it goes on from some.

    Args:
        stage: its name.
        preset: where to start.
        losses: changes of the loss weights, each NAME=WEIGHT.
        init: weights to go on from.
        given: fields of the stage's settings; None leaves the preset's.

    Raises:
        UsageError: an option that means nothing to the stage, or to the networks in ``init``.
        WeightsError: ``init`` is no weights file, or holds networks of another stage.
    """
    network = None if init is None else describe(init).network
    if network is not None and network not in NETWORKS[stage]:
        wanted = " or ".join(NETWORKS[stage])
        raise WeightsError(f"{init}: holds a {network} network; --stage {stage} goes on from {wanted}")
    if stage == "sr":
        return super_resolution_settings(preset, losses, init=init, **given)
    if stage == "keypoints":
        return keypoint_settings(preset, losses, init=init, **given)
    if stage == "details":
        return detail_settings(preset, losses, init=init, **given)
    if network == "first-order":
        return first_order_settings(preset, losses, init=init, **given)
    return motion_settings(preset, losses, init=init, **given)


def fetch_pretrained(settings: RunSettings, report: Callable[[str], None], progress: bool = False) -> None:
    """See to the ImageNet weights that a run needs before its data are prepared: fetch what is not here.

    Of the processes of a machine the first fetches. It joins the others, which wait for it, when it has.

    Args:
        settings: the run's.
        report: told what is fetched, from where and to where.
        progress: whether a bar is drawn on stderr meanwhile.

    Raises:
        WeightsError: they cannot, or must not, be fetched; says what to fetch by hand. A file is not there.
    """
    files = {"--perceptual": settings.perceptual}
    if isinstance(settings, MotionTrainingSettings):
        files["--encoder-weights"] = settings.encoder_weights
    for option, choice in files.items():
        if choice not in PRETRAINED and not Path(choice).is_file():
            raise WeightsError(f"{option} {choice}: no such file, nor a name that -h lists")
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    for network, option in settings.pretrained.items():
        imagenet_file(network, option, offline=settings.offline, report=report, progress=progress)


def train_stage(settings: RunSettings, listener: Listener | None = None) -> TrainingResult | None:
    """Train what the settings are for; see :func:`loop.train`."""
    if isinstance(settings, SuperResolutionSettings):
        return train_super_resolution(settings, listener)
    if isinstance(settings, KeypointTrainingSettings):
        return train_keypoints(settings, listener)
    if isinstance(settings, DetailTrainingSettings):
        return train_details(settings, listener)
    if isinstance(settings, FirstOrderTrainingSettings):
        return train_first_order(settings, listener)
    assert isinstance(settings, MotionTrainingSettings)
    return train_motion(settings, listener)
