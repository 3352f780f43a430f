"""Train the animation networks: keypoint detector, dense motion and generator, together (paper §3.3).

One process:               faceanim train --data DATA --out RUN
One node, eight GPUs:      faceanim train --data DATA --out RUN --devices 8
Two nodes, eight GPUs each, on each of them, with DATA and RUN on a disk that both see:
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m faceanim_cli train --data DATA --out RUN
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from lightning_fabric import Fabric
from torch import nn

from faceanim_cli.data.clips import Clip, open_clips, read_manifest
from faceanim_cli.data.landmarks import DENSE_ANCHORS, PAPER_ANCHORS, Anchors
from faceanim_cli.data.pairs import Augmentation, PairDataset
from faceanim_cli.errors import UnreadableInputError, WeightsError
from faceanim_cli.training.adversarial import Adversary
from faceanim_cli.training.loop import Stage, train
from faceanim_cli.training.motion_losses import LossWeights, MotionObjective
from faceanim_cli.training.perceptual import PerceptualLoss, SqueezeNetLoss, features_of, perceptual_loss
from faceanim_cli.training.progress import Listener, TrainingResult
from faceanim_cli.training.settings import RunSettings
from faceanim_cli.training.validation import EVERY, ValidationScores, sample_grid, validate
from faceanim_cli.weights.load import load_weights
from faceanim_models import (
    AnimationModel,
    AnimationSettings,
    DenseMotionSettings,
    GeneratorSettings,
    KeypointDetectorSettings,
    PatchDiscriminator,
    PatchDiscriminatorSettings,
)

SHIPPED_DISCRIMINATOR = PatchDiscriminatorSettings((32, 64, 128, 256))  # takes 5 % of a step

KeypointsName: TypeAlias = Literal["dense", "paper", "free"]


@dataclass(frozen=True)
class TrainingSettings(RunSettings):
    """Settings of a run of the animation networks."""

    cache: Path | None = None  # decoded clips; None: out / "cache"
    size: int = 256  # pixels
    keypoints: KeypointsName | None = (
        None  # anchored to 29 places, the paper's 10, or free; None: init's, dense
    )
    similarity: bool = True  # the motions to choose from include the head's as a whole
    box_prior: bool = True  # the detector is given Viola-Jones's box, more often than not
    losses: LossWeights = field(default_factory=LossWeights)
    discriminator: PatchDiscriminatorSettings = SHIPPED_DISCRIMINATOR
    discriminator_side: int = 128  # pixels of the window on the face that it judges


def shipped_architecture(
    size: int, anchors: Anchors = DENSE_ANCHORS, similarity: bool = True
) -> AnimationSettings:
    """The settings of the shipped model, or of one like it with other keypoints or candidate motions.

    Without anchors there are as many keypoints, found freely.
    """
    k = len(anchors or DENSE_ANCHORS)
    return AnimationSettings(
        KeypointDetectorSettings(k),
        DenseMotionSettings(k, use_similarity=similarity, photo_channels=4),
        GeneratorSettings(k),
        anchors,
        size,
    )


def train_motion(settings: TrainingSettings, listener: Listener | None = None) -> TrainingResult | None:
    """Train the animation networks on the clips in ``settings.data``; for the rest see :func:`loop.train`.

    Raises:
        UnreadableInputError: no usable data.
        WeightsError: ``init`` or ``perceptual`` does not fit. And what the loop raises.
    """
    return train(settings, lambda fabric: _stage(settings, fabric), listener)


def _stage(settings: TrainingSettings, fabric: Fabric) -> Stage:
    train_clips, val_clips = _clips(settings, fabric)
    perceptual = perceptual_loss(settings.perceptual)
    model = _build(settings, perceptual)
    # Free keypoints: where eyes and mouth are is still told.
    anchors = model.settings.anchors or DENSE_ANCHORS
    augmentation = Augmentation() if settings.box_prior else Augmentation(box_dropped=1.0)
    people = len({clip.identity for clip in train_clips})

    def pairs(count: int) -> PairDataset:
        return PairDataset(train_clips, anchors, settings.size, count, settings.seed, augmentation)

    def judge(averaged: nn.Module) -> tuple[ValidationScores, np.ndarray[Any, Any]]:
        assert isinstance(averaged, AnimationModel)
        scores = validate(averaged, val_clips, settings.size)
        return scores, sample_grid(averaged, val_clips, settings.size)

    return Stage(
        network=model,
        objective=MotionObjective(model, perceptual, settings.losses, anchors),
        data=pairs,
        about=f"{len(train_clips)} clips of {people} people, {len(val_clips)} to validate on; "
        f"{settings.size} pixels",
        judge=judge if val_clips else None,
        adversary=_adversary(settings),
    )


def _clips(settings: TrainingSettings, fabric: Fabric) -> tuple[list[Clip], list[Clip]]:
    """Those to train on, and those to validate on."""
    # Decoding runs clips side by side anyway. And a loader process forked after OpenCV's own threads have run
    # would wait for them for ever if it set their number itself.
    cv2.setNumThreads(1)
    records = read_manifest(settings.data)
    cache = settings.cache or settings.out / "cache"
    with fabric.rank_zero_first():  # the first process fills the cache
        train_clips = list(open_clips([r for r in records if r.split == "train"], cache))
        val_clips = list(open_clips([r for r in records if r.split == "val"], cache))
    if not train_clips:
        raise UnreadableInputError(f"{settings.data}: no readable clip with split 'train' in manifest.csv")
    return train_clips, [clip for clip in val_clips if len(clip.frames) > EVERY]


def _adversary(settings: TrainingSettings) -> Adversary | None:
    weights = settings.losses
    if not weights.adversarial:
        return None
    discriminator = PatchDiscriminator(settings.discriminator)
    side = min(settings.discriminator_side, settings.size)
    return Adversary(discriminator, weights.adversarial, weights.feature_matching, settings.size, side)


def _build(settings: TrainingSettings, perceptual: PerceptualLoss | None) -> AnimationModel:
    """The networks to train, from ``init`` or fresh."""
    anchors = {"dense": DENSE_ANCHORS, "paper": PAPER_ANCHORS, "free": ()}[settings.keypoints or "dense"]
    if settings.init is None:
        model = AnimationModel(shipped_architecture(settings.size, anchors, settings.similarity))
        if model.dense_motion.segmenter is not None:
            squeezenet = perceptual if isinstance(perceptual, SqueezeNetLoss) else None
            imagenet = squeezenet.features if squeezenet else features_of("squeezenet1_1", None)
            model.dense_motion.segmenter.start_from_imagenet(imagenet.state_dict())
    else:
        loaded = load_weights(settings.init)
        if not isinstance(loaded, AnimationModel):
            raise WeightsError(
                f"{settings.init}: first-order-model's networks, which animate and eval use as they are; "
                "train goes on from faceanim's own"
            )
        model = loaded
        if settings.keypoints and model.settings.anchors != anchors:
            raise WeightsError(
                f"{settings.init}: its keypoints are not those of --keypoints {settings.keypoints}"
            )
        if not settings.similarity and model.settings.motion.use_similarity:
            raise WeightsError(
                f"{settings.init}: mixes in the head's similarity; --no-similarity needs others"
            )
        model.settings = replace(model.settings, image_size=settings.size)
        if model.dense_motion.segmenter is not None:
            model.dense_motion.segmenter.freeze_encoder()
    if not model.dense_motion.settings.use_similarity:
        model.dense_motion.rigidity.requires_grad_(False)  # weighs the keypoints of a similarity
    return model.train()
