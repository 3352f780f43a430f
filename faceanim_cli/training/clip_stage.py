"""What stages that learn from clips of people share: the clips, who judges the result, the discriminator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from lightning_fabric import Fabric
from torch import nn

from faceanim_cli.data.clips import Clip, open_clips, read_manifest
from faceanim_cli.data.landmarks import DENSE_ANCHORS, Anchors
from faceanim_cli.data.pairs import Augmentation, PairDataset
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.training.adversarial import Adversary
from faceanim_cli.training.first_order_losses import FirstOrderLossWeights
from faceanim_cli.training.loop import Stage
from faceanim_cli.training.motion_losses import LossWeights
from faceanim_cli.training.settings import RunSettings
from faceanim_cli.training.validation import EVERY, ValidationScores, sample_grid, validate
from faceanim_cli.weights.load import Model
from faceanim_models import PatchDiscriminator, PatchDiscriminatorSettings

SHIPPED_DISCRIMINATOR = PatchDiscriminatorSettings((32, 64, 128, 256))  # takes 5 % of a step


@dataclass(frozen=True)
class ClipSettings(RunSettings):
    """Settings of a run that learns from clips."""

    cache: Path | None = None  # decoded clips; None: out / "cache"
    size: int = 256  # pixels
    discriminator: PatchDiscriminatorSettings = SHIPPED_DISCRIMINATOR
    discriminator_side: int = 128  # pixels of the window on the face that it judges


class Clips(NamedTuple):
    """Those to train on, and those to validate on: of other people, and long enough to be scored."""

    train: list[Clip]
    val: list[Clip]


def training_clips(settings: ClipSettings, fabric: Fabric) -> Clips:
    """The clips of ``settings.data``, decoded into the cache.

    Raises:
        UnreadableInputError: no usable data.
    """
    # Decoding runs clips side by side anyway. And a loader process forked after OpenCV's own threads have run
    # would wait for them for ever if it set their number itself.
    cv2.setNumThreads(1)
    records = read_manifest(settings.data)
    cache = settings.cache or settings.out / "cache"
    with fabric.rank_zero_first():  # the first process fills the cache
        train = list(open_clips([r for r in records if r.split == "train"], cache))
        val = list(open_clips([r for r in records if r.split == "val"], cache))
    if not train:
        raise UnreadableInputError(f"{settings.data}: no readable clip with split 'train' in manifest.csv")
    return Clips(train, [clip for clip in val if len(clip.frames) > EVERY])


def clip_stage(
    settings: ClipSettings,
    clips: Clips,
    model: Model,
    objective: nn.Module,
    weights: LossWeights | FirstOrderLossWeights,
    anchors: Anchors = DENSE_ANCHORS,
    augmentation: Augmentation | None = None,
) -> Stage:
    """The stage that trains ``model`` on pairs of frames of the clips.

    Args:
        settings: the run's.
        clips: see :func:`training_clips`.
        model: in training mode.
        objective: what it is trained to do; holds the model.
        weights: of the losses: whether there is a discriminator.
        anchors: which landmarks make the points of a batch.
        augmentation: of the pairs; None for the usual.
    """
    adversary = None
    if weights.adversarial:
        side = min(settings.discriminator_side, settings.size)
        judge_network = PatchDiscriminator(settings.discriminator)
        adversary = Adversary(
            judge_network, weights.adversarial, weights.feature_matching, settings.size, side
        )

    def pairs(count: int) -> PairDataset:
        return PairDataset(clips.train, anchors, settings.size, count, settings.seed, augmentation)

    def judge(averaged: nn.Module) -> tuple[ValidationScores, np.ndarray[Any, Any]]:
        assert isinstance(averaged, Model)
        scores = validate(averaged, clips.val, settings.size)
        return scores, sample_grid(averaged, clips.val, settings.size)

    people = len({clip.identity for clip in clips.train})
    return Stage(
        network=model,
        objective=objective,
        data=pairs,
        about=f"{len(clips.train)} clips of {people} people, {len(clips.val)} to validate on; "
        f"{settings.size} pixels",
        judge=judge if clips.val else None,
        unit="dB",
        adversary=adversary,
    )
