"""Train the animation networks: keypoint detector, dense motion and generator, together (paper §3.3).

One process:               faceanim train --data DATA --out RUN
One node, eight GPUs:      faceanim train --data DATA --out RUN --devices 8
Two nodes, eight GPUs each, on each of them, with DATA and RUN on a disk that both see:
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m faceanim_cli train --data DATA --out RUN
"""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from lightning_fabric import Fabric

from faceanim_cli.data.landmarks import DENSE_ANCHORS, PAPER_ANCHORS, Anchors
from faceanim_cli.data.pairs import Augmentation
from faceanim_cli.errors import WeightsError
from faceanim_cli.training.clip_stage import ClipSettings, clip_stage, training_clips
from faceanim_cli.training.loop import Stage, train
from faceanim_cli.training.motion_losses import LossWeights, MotionObjective
from faceanim_cli.training.perceptual import PerceptualLoss, SqueezeNetLoss, features_of, perceptual_loss
from faceanim_cli.training.progress import Listener, TrainingResult
from faceanim_cli.weights.load import load_weights
from faceanim_models import (
    AnimationModel,
    AnimationSettings,
    DenseMotionSettings,
    GeneratorSettings,
    KeypointDetectorSettings,
)

KeypointsName: TypeAlias = Literal["dense", "paper", "free"]


@dataclass(frozen=True)
class TrainingSettings(ClipSettings):
    """Settings of a run of the animation networks."""

    keypoints: KeypointsName | None = (
        None  # anchored to 29 places, the paper's 10, or free; None: init's, dense
    )
    similarity: bool = True  # the motions to choose from include the head's as a whole
    box_prior: bool = True  # the detector is given Viola-Jones's box, more often than not
    losses: LossWeights = field(default_factory=LossWeights)


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
    clips = training_clips(settings, fabric)
    perceptual = perceptual_loss(settings.perceptual)
    model = _build(settings, perceptual)
    # Free keypoints: where eyes and mouth are is still told.
    anchors = model.settings.anchors or DENSE_ANCHORS
    augmentation = Augmentation() if settings.box_prior else Augmentation(box_dropped=1.0)
    objective = MotionObjective(model, perceptual, settings.losses, anchors)
    return clip_stage(settings, clips, model, objective, settings.losses, anchors, augmentation)


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
