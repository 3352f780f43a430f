"""Train the animation networks: keypoint detector, dense motion and generator, together (paper §3.3).

One process:               faceanim train --data DATA --out RUN
One node, eight GPUs:      faceanim train --data DATA --out RUN --devices 8
Two nodes, eight GPUs each, on each of them, with DATA and RUN on a disk that both see:
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m faceanim_cli train --data DATA --out RUN
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, cast

import cv2
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Subset

from faceanim_cli.data.clips import open_clips, read_manifest
from faceanim_cli.data.landmarks import DENSE_ANCHORS, PAPER_ANCHORS, Anchors
from faceanim_cli.data.pairs import Augmentation, PairDataset
from faceanim_cli.errors import UnreadableInputError, WeightsError
from faceanim_cli.media import write_photo
from faceanim_cli.training.adversarial import DiscriminatorObjective, face_corners, generator_terms, windows
from faceanim_cli.training.devices import (
    autocast,
    launch,
    memory_explained,
    seed_step,
    synchronise_batch_norms,
)
from faceanim_cli.training.motion_losses import LossWeights, MotionObjective
from faceanim_cli.training.perceptual import PerceptualLoss, SqueezeNetLoss, features_of, perceptual_loss
from faceanim_cli.training.progress import Curves, Listener, LossReport, TrainingResult
from faceanim_cli.training.run import (
    Schedule,
    StopOnSignal,
    channels_last,
    check_finite,
    make_optimizer,
    moving_average,
    quiet_worker,
    take_step,
)
from faceanim_cli.training.run_files import RunFiles, Stateful
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
    """Train until ``max_steps``, ``max_minutes`` or a signal; go on where an earlier run in ``out`` stopped.

    On a CPU a run that was stopped goes on to the same weights, to the last bit, as one that was not.
    Besides the checkpoints (see :class:`RunFiles`) it writes sample grids and curves.

    Returns:
        What came out; None in all processes but the first.

    Raises:
        UnreadableInputError: no usable data.
        UsageError: settings that make no sense together, devices that are not there.
        WeightsError: ``init``, ``perceptual`` or the state in ``out`` does not fit; a loss is not finite.
        FaceanimError: out of memory; a full disk.
    """
    fabric = launch(settings)
    main, world, rank = fabric.is_global_zero, fabric.world_size, fabric.global_rank
    listener = (listener or Listener()) if main else Listener()
    report = listener.report
    files = RunFiles(settings)
    if main:
        files.begin(settings)

    # Decoding runs clips side by side anyway. And a loader process forked after OpenCV's own threads have run
    # would wait for them for ever if it set their number itself.
    cv2.setNumThreads(1)
    records = read_manifest(settings.data)
    cache = settings.cache or settings.out / "cache"
    with fabric.rank_zero_first():
        train_clips = list(open_clips([r for r in records if r.split == "train"], cache))
        val_clips = list(open_clips([r for r in records if r.split == "val"], cache))
    val_clips = [clip for clip in val_clips if len(clip.frames) > EVERY]
    if not train_clips:
        raise UnreadableInputError(f"{settings.data}: no readable clip with split 'train' in manifest.csv")

    perceptual = perceptual_loss(settings.perceptual)
    model = _build(settings, perceptual)
    anchors = (
        model.settings.anchors or DENSE_ANCHORS
    )  # free keypoints: where eyes and mouth are, is still told
    ema = AveragedModel(model, multi_avg_fn=moving_average(settings.ema), use_buffers=True).to(fabric.device)
    averaged = ema.module
    assert isinstance(averaged, AnimationModel)
    objective = MotionObjective(model, perceptual, settings.losses, anchors)
    objective = objective.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(settings.optimizer, model, settings.learning_rate, report)
    # The discriminator has weights, an optimizer and a DistributedDataParallel of its own: two players.
    adversarial = settings.losses.adversarial > 0
    side = min(settings.discriminator_side, settings.size)
    judge = DiscriminatorObjective(PatchDiscriminator(settings.discriminator))
    judge = judge.to(memory_format=torch.channels_last)
    judge_optimizer = make_optimizer(settings.optimizer, judge, settings.learning_rate, report)
    scaler = torch.amp.GradScaler(fabric.device.type, enabled=settings.precision == "16")
    wrapped, fabric_optimizer = fabric.setup(synchronise_batch_norms(fabric, objective), optimizer)
    wrapped_judge, fabric_judge_optimizer = fabric.setup(judge, judge_optimizer)

    parts: dict[str, Stateful] = {"model": model, "ema": ema, "optimizer": optimizer}
    judges: dict[str, Stateful] = {"discriminator": judge, "discriminator_optimizer": judge_optimizer}
    step, seen = 0, 0  # steps taken, pairs drawn
    state = files.load_state()
    if state is not None:
        files.check_optimizer(state, settings)
        files.restore(state, parts)
        if adversarial and "discriminator" in state:  # else it joins here
            files.restore(state, judges)
        if scaler.is_enabled() and state.get("scaler"):
            scaler.load_state_dict(state["scaler"])
        step = state["step"]
        seen = state.get("pairs", step * settings.batch * settings.accumulate * world)
        report(f"going on from step {step} of {files.state_file}")

    batch, accumulate = settings.batch, settings.accumulate
    pairs_a_step = batch * accumulate * world
    total = seen + max(0, settings.max_steps - step) * pairs_a_step
    augmentation = Augmentation() if settings.box_prior else Augmentation(box_dropped=1.0)
    pairs = PairDataset(train_clips, anchors, settings.size, total, settings.seed, augmentation)
    # Process r takes pairs r, r + world, ...: what a run sees depends on how many pairs it has seen alone.
    loader = DataLoader(
        Subset(pairs, range(seen + rank, total, world)),
        batch,
        num_workers=settings.workers,
        worker_init_fn=quiet_worker,
        generator=torch.Generator(),  # the loader draws a seed when it starts: not from the step's numbers
        persistent_workers=settings.workers > 0,
    )
    on_device = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
    batches = channels_last(cast(Iterable[dict[str, Tensor]], on_device))
    report(
        f"{len(train_clips)} clips of {len(pairs.people)} people, {len(val_clips)} to validate on; "
        f"{settings.size} pixels, {world} x {accumulate} x {batch} pairs a step"
    )

    if not val_clips:
        report("nobody to judge: no clip with split 'val' is long enough, so there are no scores and no best")

    stop = StopOnSignal()
    schedule = Schedule(settings, 0.0 if state is None else state["progress"])
    curves = Curves(settings.out / "curves", step, report) if main else None
    losses = LossReport(listener, schedule, curves, pairs_a_step, settings.max_steps, first_step=step)
    last_validation = time.monotonic()
    first_step, progress, rate = step, step / settings.max_steps, 0.0
    scores: ValidationScores | None = None
    best = files.best_score()
    losses.best = f"{best:.2f} dB" if math.isfinite(best) else ""

    def save() -> None:
        kept = {**parts, **(judges if adversarial else {})}
        state = {name: part.state_dict() for name, part in kept.items()}
        if scaler.is_enabled():
            state["scaler"] = scaler.state_dict()
        more = {"progress": progress, "pairs": seen, "optimizer_name": settings.optimizer}
        files.save(step, {**state, **more}, averaged)

    def score() -> None:
        nonlocal scores, best
        if not val_clips:
            return
        with autocast(fabric, settings.precision):
            scores = validate(averaged.eval(), val_clips, settings.size)
            grid = sample_grid(averaged, val_clips, settings.size)
        report(f"step {step}: validation {scores}")
        (settings.out / "samples").mkdir(exist_ok=True)
        write_photo(settings.out / "samples" / f"step-{step:08}.png", grid)
        if curves is not None:
            curves.add("validation", vars(scores), step)
            curves.add_picture("samples", grid, step)
        if scores.psnr > best:
            best = scores.psnr
            losses.best = f"{best:.2f} dB at step {step}"
            files.save_best(step, averaged, best)

    with memory_explained(settings):
        while True:
            # All processes must stop at the same step and learn at the same rate, so one of them decides.
            over, progress = schedule.at(step)
            over, progress = fabric.broadcast((over or stop.requested, progress), src=0)
            if over:
                break
            rate = schedule.rate(step, progress)
            for group in (*optimizer.param_groups, *judge_optimizer.param_groups):
                group["lr"] = rate
            seed_step(settings.seed, step, rank)
            means: dict[str, Tensor] = {}
            for part in range(accumulate):
                pairs_of_part = next(batches)
                waiting = part < accumulate - 1  # the processes average their gradients at the last
                with fabric.no_backward_sync(wrapped, enabled=waiting):
                    with autocast(fabric, settings.precision):
                        loss, terms, generated = wrapped(pairs_of_part)
                        if adversarial:
                            driving = pairs_of_part["driving"]
                            corners = face_corners(pairs_of_part["driving_points"], settings.size, side)
                            real, fake = windows(driving, corners, side), windows(generated, corners, side)
                            asked = generator_terms(judge.discriminator, real, fake)
                            w = settings.losses
                            loss = loss + w.adversarial * asked["adversarial"]  # Eq. 6
                            loss = loss + w.adversarial * w.feature_matching * asked["feature_matching"]
                            terms |= {name: term.detach() for name, term in asked.items()}
                    check_finite(loss, terms, files, step)
                    fabric.backward(scaler.scale(loss / accumulate))
                if adversarial:
                    with fabric.no_backward_sync(wrapped_judge, enabled=waiting):
                        with autocast(fabric, settings.precision):
                            judge_loss = wrapped_judge(real, fake.detach())
                        terms["discriminator"] = judge_loss.detach()
                        check_finite(judge_loss, terms, files, step)
                        fabric.backward(scaler.scale(judge_loss / accumulate))
                for name, term in terms.items():
                    means[name] = means.get(name, 0) + term / accumulate
            take_step(fabric, scaler, wrapped, fabric_optimizer, settings, files, step)
            if adversarial:
                take_step(fabric, scaler, wrapped_judge, fabric_judge_optimizer, settings, files, step)
            scaler.update()
            ema.update_parameters(model)
            step += 1
            seen += pairs_a_step

            if main:
                losses.add(means, step, progress, rate)
                if time.monotonic() - last_validation > settings.validate_minutes * 60:
                    save()
                    score()
                    last_validation = time.monotonic()
        if main:
            losses.flush(step, progress, rate)
            if step > first_step or state is None:
                save()
            if not stop.requested:  # who stops a run by hand does not wait for the scores
                score()
    stop.give_back()
    fabric.barrier()
    if not main:
        return None
    if curves is not None:
        curves.close()
    report(losses.summary(step))
    return TrainingResult(step, files.best if files.best.is_file() else files.last, scores)


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
