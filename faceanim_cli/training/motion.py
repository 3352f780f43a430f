"""Train the animation networks: keypoint detector, dense motion and generator, together (paper §3.3).

One process:        faceanim train --data DATA --out RUN
Two on two cores:   torchrun --nproc-per-node 2 -m faceanim_cli train --data DATA --out RUN
"""

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import cast

import cv2
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Subset

from faceanim_cli.data.clips import open_clips, read_manifest
from faceanim_cli.data.landmarks import DENSE_ANCHORS
from faceanim_cli.data.pairs import PairDataset
from faceanim_cli.errors import UnreadableInputError, WeightsError
from faceanim_cli.media.output_file import whole_file
from faceanim_cli.training.adversarial import DiscriminatorObjective, face_corners, generator_terms, windows
from faceanim_cli.training.motion_losses import LossWeights, MotionObjective
from faceanim_cli.training.perceptual import PerceptualLoss
from faceanim_cli.training.run import (
    LossReport,
    OptimizerName,
    StopOnSignal,
    best_score,
    check_finite,
    learning_rate_factor,
    make_optimizer,
    moving_average,
    quiet_worker,
)
from faceanim_cli.training.validation import EVERY, ValidationScores, validate
from faceanim_cli.weights.checkpoint import load_checkpoint, save_checkpoint
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

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a run; written beside its results."""

    data: Path  # a folder with manifest.csv, see faceanim_cli.data.clips
    out: Path  # checkpoints, settings and log go here
    cache: Path | None = None  # decoded clips; None: out / "cache"
    init: Path | None = None  # start from these weights
    perceptual: Path | None = None  # SqueezeNet 1.1 features; None: torchvision fetches them
    size: int = 256  # pixels
    batch: int = 8  # pairs a process and step
    learning_rate: float = 2e-4
    warm_up: int = 200  # steps
    clip_gradients: float = 5.0  # norm
    optimizer: OptimizerName = "adam"
    losses: LossWeights = field(default_factory=LossWeights)
    discriminator: PatchDiscriminatorSettings = SHIPPED_DISCRIMINATOR
    discriminator_side: int = 128  # pixels of the window on the face that it judges
    ema: float = 0.999
    max_steps: int = 100_000
    max_minutes: float | None = None
    validate_minutes: float = 10.0
    seed: int = 0
    workers: int = 1  # loader processes of each process; 0: load in the training process itself
    bf16: bool = True  # autocast the convolutions to bfloat16


def shipped_architecture(size: int) -> AnimationSettings:
    """The settings of the shipped model."""
    k = len(DENSE_ANCHORS)
    return AnimationSettings(
        KeypointDetectorSettings(k),
        DenseMotionSettings(k, photo_channels=4),
        GeneratorSettings(k),
        DENSE_ANCHORS,
        size,
    )


def train_motion(
    settings: TrainingSettings, report: Callable[[str], None] = log.info
) -> ValidationScores | None:
    """Train until ``max_steps``, ``max_minutes`` or a signal; return the last scores.

    Writes to ``out``: ``settings.json``; ``last.safetensors`` and ``best.safetensors``, averaged weights,
    best by PSNR on the validation people; and ``state.pt`` to go on from.

    Raises:
        UnreadableInputError: no usable data. WeightsError: ``init`` does not fit.
    """
    # Fabric's own mixed precision would round the inputs, keypoints included, to 8 bits: autocast is ours.
    launched = os.environ.get("LOCAL_WORLD_SIZE")  # by torchrun
    fabric = Fabric(
        accelerator="auto",
        strategy="ddp" if launched else "auto",
        devices=int(launched) if launched else "auto",
        num_nodes=int(os.environ["GROUP_WORLD_SIZE"]) if launched else 1,
        precision="32-true",
    )
    fabric.launch()
    main = fabric.is_global_zero
    fabric.seed_everything(settings.seed + fabric.global_rank, verbose=False)
    settings.out.mkdir(parents=True, exist_ok=True)
    cache = settings.cache or settings.out / "cache"
    if main:
        with whole_file(settings.out / "settings.json") as partial:
            partial.write_text(json.dumps(asdict(settings), indent=2, default=str))

    # Decoding runs clips side by side anyway. And a loader process forked after OpenCV's own threads have run
    # would wait for them for ever if it set their number itself.
    cv2.setNumThreads(1)
    records = read_manifest(settings.data)
    with fabric.rank_zero_first():
        train_clips = list(open_clips([r for r in records if r.split == "train"], cache))
        val_clips = list(open_clips([r for r in records if r.split == "val"], cache))
    val_clips = [clip for clip in val_clips if len(clip.frames) > EVERY]
    if not train_clips:
        raise UnreadableInputError(f"{settings.data}: no readable clip with split 'train' in manifest.csv")

    perceptual = PerceptualLoss(settings.perceptual)
    model = _build(settings, perceptual)
    ema = AveragedModel(model, multi_avg_fn=moving_average(settings.ema), use_buffers=True)
    objective = MotionObjective(model, perceptual, settings.losses)
    objective = objective.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(settings.optimizer, model, settings.learning_rate, report)
    # The discriminator has weights, an optimizer and a DistributedDataParallel of its own: two players.
    adversarial = settings.losses.adversarial > 0
    side = min(settings.discriminator_side, settings.size)
    judge = DiscriminatorObjective(PatchDiscriminator(settings.discriminator))
    judge = judge.to(memory_format=torch.channels_last)
    judge_optimizer = make_optimizer(settings.optimizer, judge, settings.learning_rate, report)
    step, progress, best = 0, 0.0, -math.inf
    state_file = settings.out / "state.pt"
    if state_file.is_file():
        state = torch.load(state_file, map_location="cpu", weights_only=True)
        try:
            model.load_state_dict(state["model"])
            ema.load_state_dict(state["ema"])
            optimizer.load_state_dict(state["optimizer"])
            if adversarial and "discriminator" in state:  # else it joins here
                judge.load_state_dict(state["discriminator"])
                judge_optimizer.load_state_dict(state["discriminator_optimizer"])
        except (RuntimeError, ValueError) as error:
            raise WeightsError(f"{state_file}: of another architecture; choose another --out") from error
        step, progress = state["step"], state["progress"]
        best = best_score(settings.out)
        report(f"going on from step {step} of {state_file}")
    ema.to(fabric.device)
    wrapped, optimizer = fabric.setup(objective, optimizer)
    wrapped_judge, judge_optimizer = fabric.setup(judge, judge_optimizer)

    world, rank, batch = fabric.world_size, fabric.global_rank, settings.batch
    total = settings.max_steps * batch * world
    pairs = PairDataset(train_clips, DENSE_ANCHORS, settings.size, total, settings.seed)
    # Process r takes pairs r, r + world, ...: what a run sees depends on the step alone.
    mine = Subset(pairs, range(step * batch * world + rank, total, world))
    loader = DataLoader(
        mine,
        batch,
        num_workers=settings.workers,
        worker_init_fn=quiet_worker,
        persistent_workers=settings.workers > 0,
    )
    report(
        f"{len(train_clips)} clips of {len(pairs.people)} people, {len(val_clips)} to validate on; "
        f"{settings.size} pixels, {world} x {batch} pairs a step"
    )

    stop = StopOnSignal()
    start = last_validation = time.monotonic()
    first_progress = progress
    losses = LossReport(report, batch * world, first_step=step)
    scores = None

    def save(name: str, **notes: str) -> None:
        averaged = ema.module
        assert isinstance(averaged, AnimationModel)
        notes["trained"] = f"step {step}"
        save_checkpoint(settings.out / f"{name}.safetensors", averaged, notes=notes)

    def check() -> None:
        nonlocal scores, best
        # Saved first, scored afterwards: who sent the signal may not wait for the scores.
        state = {"model": model.state_dict(), "ema": ema.state_dict(), "optimizer": optimizer.state_dict()}
        if adversarial:
            state["discriminator"] = judge.state_dict()
            state["discriminator_optimizer"] = judge_optimizer.state_dict()
        with whole_file(state_file) as partial:
            torch.save({**state, "step": step, "progress": progress}, partial)
        save("last")
        averaged = ema.module
        assert isinstance(averaged, AnimationModel)
        if val_clips:
            with torch.autocast(fabric.device.type, torch.bfloat16, enabled=settings.bf16):
                scores = validate(averaged.eval(), val_clips, settings.size)
            report(f"step {step}: validation {scores}")
            if scores.psnr > best:
                best = scores.psnr
                save("best", psnr=str(best))

    batches = cast(
        Iterable[dict[str, Tensor]], fabric.setup_dataloaders(loader, use_distributed_sampler=False)
    )
    for item in batches:
        elapsed = (time.monotonic() - start) / 60
        by_time = elapsed / settings.max_minutes if settings.max_minutes else 0.0
        progress = max(step / settings.max_steps, first_progress + (1 - first_progress) * by_time)
        # All processes must stop at the same step, so one of them decides.
        done = fabric.broadcast(progress >= 1 or stop.requested, src=0)
        if done:
            break
        rate = (
            settings.learning_rate * min(1.0, (step + 1) / settings.warm_up) * learning_rate_factor(progress)
        )
        for group in (*optimizer.param_groups, *judge_optimizer.param_groups):
            group["lr"] = rate
        pairs_of_step = {
            k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in item.items()
        }
        with torch.autocast(fabric.device.type, torch.bfloat16, enabled=settings.bf16):
            loss, terms, generated = wrapped(pairs_of_step)
            if adversarial:
                driving = pairs_of_step["driving"]
                corners = face_corners(pairs_of_step["driving_points"], settings.size, side)
                real, fake = windows(driving, corners, side), windows(generated, corners, side)
                asked = generator_terms(judge.discriminator, real, fake)
                w = settings.losses
                loss = loss + w.adversarial * asked["adversarial"]  # Eq. 6
                loss = loss + w.adversarial * w.feature_matching * asked["feature_matching"]
                terms |= {name: term.detach() for name, term in asked.items()}
        check_finite(loss, terms, settings.out, step)
        fabric.backward(loss)
        fabric.clip_gradients(wrapped, optimizer, max_norm=settings.clip_gradients, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()
        ema.update_parameters(model)
        if adversarial:
            with torch.autocast(fabric.device.type, torch.bfloat16, enabled=settings.bf16):
                judge_loss = wrapped_judge(real, fake.detach())
            terms["discriminator"] = judge_loss.detach()
            check_finite(judge_loss, terms, settings.out, step)
            fabric.backward(judge_loss)
            fabric.clip_gradients(
                wrapped_judge, judge_optimizer, max_norm=settings.clip_gradients, error_if_nonfinite=False
            )
            judge_optimizer.step()
            judge_optimizer.zero_grad()
        step += 1

        if main:
            losses.add(terms, step, progress, rate)
        if main and time.monotonic() - last_validation > settings.validate_minutes * 60:
            check()
            last_validation = time.monotonic()
    if main:
        check()
    stop.give_back()
    fabric.barrier()
    return scores


def _build(settings: TrainingSettings, perceptual: PerceptualLoss) -> AnimationModel:
    if settings.init is None:
        scratch = AnimationModel(shipped_architecture(settings.size))
        if scratch.dense_motion.segmenter is not None:
            scratch.dense_motion.segmenter.start_from_imagenet(perceptual.features.state_dict())
        return scratch
    model = load_checkpoint(settings.init, expected="animation")
    assert isinstance(model, AnimationModel)
    if model.settings.anchors != DENSE_ANCHORS:
        raise WeightsError(f"{settings.init}: its keypoints are anchored to other landmarks than this run's")
    model.settings = replace(model.settings, image_size=settings.size)
    if model.dense_motion.segmenter is not None:
        model.dense_motion.segmenter.freeze_encoder()
    return model.train()
