"""Train the animation networks: keypoint detector, dense motion and generator, together (paper §3.3).

One process:               faceanim train --data DATA --out RUN
One node, eight GPUs:      faceanim train --data DATA --out RUN --devices 8
Two nodes, eight GPUs each, on each of them, with DATA and RUN on a disk that both see:
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m faceanim_cli train --data DATA --out RUN
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import default_collate

from faceanim_cli.data.clips import CACHED_SIDE, Clip, open_clips
from faceanim_cli.data.data_folder import clips_with_landmarks
from faceanim_cli.data.landmarks import DENSE_ANCHORS, Anchors, expressive
from faceanim_cli.data.pairs import PairDataset
from faceanim_cli.errors import UnreadableInputError, WeightsError
from faceanim_cli.pictures import Image
from faceanim_cli.training.adversarial import AdversarialLoss
from faceanim_cli.training.architecture import (
    ANCHORS,
    SHIPPED_ANCHORS,
    add_free_keypoints,
    moved,
    set_mean_face,
    shipped_architecture,
)
from faceanim_cli.training.channel_pruning import PAIRS, prune_generator
from faceanim_cli.training.loop import train
from faceanim_cli.training.motion_losses import MotionObjective
from faceanim_cli.training.perceptual import perceptual_loss
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
from faceanim_cli.weights.imagenet import imagenet_file, read_imagenet
from faceanim_cli.weights.load import KeypointModel, load_weights
from faceanim_models import (
    AnimationModel,
    PatchDiscriminator,
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


def training_clips(settings: ClipSettings, fabric: Fabric, side: int = CACHED_SIDE) -> Clips:
    """The clips of ``settings.data``, decoded into the cache, their shorter side of at most ``side`` pixels.

    Raises:
        UnreadableInputError: no usable data.
    """
    # Decoding runs clips side by side anyway. And a loader process forked after OpenCV's own threads have run
    # would wait for them for ever if it set their number itself.
    cv2.setNumThreads(1)
    records = clips_with_landmarks(settings.data)
    cache = settings.cache or settings.out / "cache"
    with fabric.rank_zero_first():  # the first process fills the cache
        train = list(open_clips([r for r in records if r.split == "train"], cache, side=side))
        val = list(open_clips([r for r in records if r.split == "val"], cache, side=side))
    if not train:
        raise UnreadableInputError(f"{settings.data}: no readable clip with split 'train' in manifest.csv")
    return Clips(train, [clip for clip in val if len(clip.frames) > EVERY])


def pair_stage(
    settings: PairSettings,
    clips: Clips,
    model: KeypointModel,
    objective: nn.Module,
    weights: LossWeights | FirstOrderLossWeights,
    anchors: Anchors = DENSE_ANCHORS,
) -> Stage:
    """The stage that trains ``model`` on pairs of frames of the clips.

    Args:
        settings: the run's.
        clips: see :func:`training_clips`.
        model: in training mode.
        objective: what it is trained to do; holds the model.
        weights: of the losses: whether there is a discriminator.
        anchors: which landmarks make the points of a batch.
    """
    adversarial = None
    if weights.adversarial:
        adversarial = AdversarialLoss(
            PatchDiscriminator(settings.discriminator),
            weights.adversarial,
            weights.feature_matching,
            settings.size,
            min(settings.discriminator_side, settings.size),
            expressive(anchors),
        )

    def pairs(count: int) -> PairDataset:
        made = PairDataset(clips.train, anchors, settings.size, count, settings.seed)
        free = isinstance(model, AnimationModel) and model.free_keypoints is not None
        made.flow = free and isinstance(weights, LossWeights) and weights.from_flow
        return made

    def scores(averaged: nn.Module) -> tuple[ValidationScores, Image]:
        assert isinstance(averaged, KeypointModel)
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
    perceptual = perceptual_loss(settings.perceptual, settings.offline)
    model = _build(settings)
    clips = training_clips(settings, fabric)
    # Free keypoints: where eyes and mouth are is still told.
    anchors = model.settings.anchors or DENSE_ANCHORS
    teacher = None
    if settings.init is not None and settings.generator_widths is not None:
        teacher, model = model, _pruned(model, settings.generator_widths, settings, clips.train, fabric)
    objective = MotionObjective(model, perceptual, settings.losses, anchors, teacher)
    return pair_stage(settings, clips, model, objective, settings.losses, anchors)


def _pruned(
    model: AnimationModel,
    widths: tuple[int, ...],
    settings: MotionTrainingSettings,
    clips: Sequence[Clip],
    fabric: Fabric,
) -> AnimationModel:
    """The networks with a narrower generator, fitted on the run's first pairs; what is frozen stays so."""
    first = PairDataset(clips, model.settings.anchors or DENSE_ANCHORS, settings.size, PAIRS, settings.seed)
    pairs = default_collate([first[number] for number in range(PAIRS)])
    model.to(fabric.device)
    narrow = prune_generator(model, widths, *(pairs[key].to(fabric.device) for key in ("source", "driving")))
    for name, parameter in model.named_parameters():
        narrow.get_parameter(name).requires_grad_(parameter.requires_grad)
    return narrow.train()


def _build(settings: MotionTrainingSettings) -> AnimationModel:
    """The networks to train, from ``init`` or fresh."""
    model = _fresh(settings) if settings.init is None else _initial(settings, settings.init)
    if not model.dense_motion.settings.use_similarity:
        model.dense_motion.rigidity.requires_grad_(False)  # weighs the keypoints of a similarity
    return model.train()


def _fresh(settings: MotionTrainingSettings) -> AnimationModel:
    """New networks; encoders that start from ImageNet have its weights."""
    anchors = ANCHORS[settings.keypoints or "dense"]
    similarity, segmenter = settings.similarity is not False, settings.segmenter is not False
    encoder = settings.encoder or "resnet18"
    architecture = shipped_architecture(settings.size, anchors, similarity, segmenter, encoder)
    if settings.generator_widths is not None:
        generator = replace(architecture.generator, widths=settings.generator_widths)
        architecture = replace(architecture, generator=generator)
    model = AnimationModel(architecture)
    set_mean_face(model)
    free = settings.free_keypoints
    if free or (free is None and similarity and anchors == SHIPPED_ANCHORS):
        model = add_free_keypoints(model)
    if model.dense_motion.segmenter is not None:
        squeezenet = read_imagenet(imagenet_file("squeezenet1_1", "--perceptual"))
        model.dense_motion.segmenter.start_from_imagenet(squeezenet)
    if settings.encoder_weights != "none":
        file = Path(settings.encoder_weights)
        if settings.encoder_weights == "imagenet":
            file = imagenet_file(encoder, "--encoder-weights", offline=settings.offline)
        try:
            model.keypoint_detector.start_from_imagenet(read_imagenet(file))
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise WeightsError(f"{file}: not {encoder}'s weights, see --encoder: {reason}") from error
    return model


def _initial(settings: MotionTrainingSettings, init: Path) -> AnimationModel:
    """The networks in ``init``, which must be as the settings ask for."""
    model = load_weights(init)
    if not isinstance(model, AnimationModel):
        raise WeightsError(f"{init}: first-order-model's networks, which train_first_order goes on from")
    if settings.free_keypoints:
        model = add_free_keypoints(model)
    s, wanted = model.settings, settings
    for option, asked, there in (
        (
            f"--keypoints {wanted.keypoints}",
            wanted.keypoints and moved(ANCHORS[wanted.keypoints]),
            moved(s.anchors),
        ),
        ("--[no-]similarity", wanted.similarity, s.motion.use_similarity),
        ("--no-free-keypoints", wanted.free_keypoints, s.free_keypoints is not None),
        ("--[no-]segmenter", wanted.segmenter, bool(s.motion.photo_channels)),
        (f"--encoder {wanted.encoder}", wanted.encoder, s.keypoints.encoder),
    ):
        if asked is not None and asked != there:
            raise WeightsError(f"{init}: its networks are not those of {option}; leave it away, or --init")
    model.settings = replace(s, image_size=settings.size)
    if (
        model.keypoint_detector.refiner is not None
    ):  # trained alone it sees more, and drifts back with the rest
        model.keypoint_detector.requires_grad_(False)
    if model.dense_motion.segmenter is not None:
        model.dense_motion.segmenter.freeze_encoder()
    if model.large_details is not None:  # of results alone, and of its own stage
        model.large_details.requires_grad_(False)
    return model
