"""Train the animation networks: keypoint detector, dense motion and generator, together (paper §3.3).

One process:               faceanim train --data DATA --out RUN
One node, eight GPUs:      faceanim train --data DATA --out RUN --devices 8
Two nodes, eight GPUs each, on each of them, with DATA and RUN on a disk that both see:
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m faceanim_cli train --data DATA --out RUN
"""

from dataclasses import replace
from typing import NamedTuple

import cv2
from lightning_fabric import Fabric
from torch import nn

from faceanim_cli.data.clip_files import clips_with_landmarks
from faceanim_cli.data.clips import Clip, open_clips
from faceanim_cli.data.landmarks import DENSE_ANCHORS, PAPER_ANCHORS, Anchors
from faceanim_cli.data.pairs import Augmentation, PairDataset
from faceanim_cli.errors import UnreadableInputError, WeightsError
from faceanim_cli.pictures import Image
from faceanim_cli.training.adversarial import AdversarialLoss
from faceanim_cli.training.loop import train
from faceanim_cli.training.motion_losses import MotionObjective
from faceanim_cli.training.perceptual import PerceptualLoss, SqueezeNetLoss, features_of, perceptual_loss
from faceanim_cli.training.progress import Listener, TrainingResult
from faceanim_cli.training.settings import (
    ClipSettings,
    FirstOrderLossWeights,
    LossWeights,
    MotionTrainingSettings,
    PairSettings,
)
from faceanim_cli.training.stage import Stage
from faceanim_cli.training.validation import EVERY, ValidationScores, sample_grid, validate
from faceanim_cli.weights.load import Model, load_weights
from faceanim_models import (
    AnimationModel,
    AnimationSettings,
    DenseMotionSettings,
    GeneratorSettings,
    KeypointDetectorSettings,
    PatchDiscriminator,
)


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


def train_motion(settings: MotionTrainingSettings, listener: Listener | None = None) -> TrainingResult | None:
    """Train the animation networks on the clips in ``settings.data``; for the rest see :func:`loop.train`.

    Raises:
        UnreadableInputError: no usable data.
        WeightsError: ``init`` or ``perceptual`` does not fit. And what the loop raises.
    """
    return train(settings, lambda fabric: _stage(settings, fabric), listener)


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
    records = clips_with_landmarks(settings.data)
    cache = settings.cache or settings.out / "cache"
    with fabric.rank_zero_first():  # the first process fills the cache
        train = list(open_clips([r for r in records if r.split == "train"], cache))
        val = list(open_clips([r for r in records if r.split == "val"], cache))
    if not train:
        raise UnreadableInputError(f"{settings.data}: no readable clip with split 'train' in manifest.csv")
    return Clips(train, [clip for clip in val if len(clip.frames) > EVERY])


def pair_stage(
    settings: PairSettings,
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
    adversarial = None
    if weights.adversarial:
        adversarial = AdversarialLoss(
            PatchDiscriminator(settings.discriminator),
            weights.adversarial,
            weights.feature_matching,
            settings.size,
            min(settings.discriminator_side, settings.size),
        )

    def pairs(count: int) -> PairDataset:
        return PairDataset(clips.train, anchors, settings.size, count, settings.seed, augmentation)

    def scores(averaged: nn.Module) -> tuple[ValidationScores, Image]:
        assert isinstance(averaged, Model)
        return (
            validate(averaged, clips.val, settings.size),
            sample_grid(averaged, clips.val, settings.size),
        )

    people = len({clip.identity for clip in clips.train})
    return Stage(
        network=model,
        objective=objective,
        data=pairs,
        about=f"{len(clips.train)} clips of {people} people, {len(clips.val)} to validate on; "
        f"{settings.size} pixels",
        validate=scores if clips.val else None,
        unit="dB",
        adversarial=adversarial,
    )


def _stage(settings: MotionTrainingSettings, fabric: Fabric) -> Stage:
    clips = training_clips(settings, fabric)
    perceptual = perceptual_loss(settings.perceptual)
    model = _build(settings, perceptual)
    # Free keypoints: where eyes and mouth are is still told.
    anchors = model.settings.anchors or DENSE_ANCHORS
    augmentation = Augmentation() if settings.box_prior else Augmentation(box_dropped=1.0)
    objective = MotionObjective(model, perceptual, settings.losses, anchors)
    return pair_stage(settings, clips, model, objective, settings.losses, anchors, augmentation)


def _build(settings: MotionTrainingSettings, perceptual: PerceptualLoss | None) -> AnimationModel:
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
                f"{settings.init}: first-order-model's networks, which train_first_order goes on from"
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
