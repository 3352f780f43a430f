"""Train face super-resolution, apart from the animation networks (paper §3.2, §3.3, Eq. 7).

faceanim train --stage sr --data DATA --out RUN
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Subset

from faceanim_cli.data.portraits import Degradation, Portrait, PortraitDataset, framed_pair, load_portraits
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.training.devices import (
    autocast,
    launch,
    memory_explained,
    seed_step,
    synchronise_batch_norms,
)
from faceanim_cli.training.perceptual import perceptual_loss
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
from faceanim_cli.weights.checkpoint import load_checkpoint
from faceanim_models import FaceSuperResolver, FaceSuperResolverSettings

FRAME = 256  # pixels: the product's frame before super-resolution, at which a run is validated
SHIPPED = FaceSuperResolverSettings()
BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class SuperResolutionSettings(RunSettings):
    """Settings of a run of super-resolution."""

    learning_rate: float = 1e-3
    warm_up: int = 100
    clip_gradients: float = 1.0
    ema: float = 0.998
    validate_minutes: float = 5.0
    architecture: FaceSuperResolverSettings = SHIPPED  # without init
    perceptual_weight: float = 0.02  # against 1 for the L1 of Eq. 7: about as strong; 0: Eq. 7 alone
    perceptual_share: float = 0.4  # of a batch has its features compared, which costs more than all the rest
    size: int = 64  # pixels of a low-resolution crop; many small ones teach more than few large
    notes: str = ""  # kept in the checkpoints, about the data and its licence


@dataclass(frozen=True)
class SuperResolutionScores:
    """Mean PSNR in dB (data range 1, RGB) over the validation portraits, framed as in the product."""

    clean: float  # input shrunk by averaging
    clean_bicubic: float  # of the plain enlargement of the same input
    degraded: float  # input soft, noisy and compressed besides
    degraded_bicubic: float

    @property
    def gain(self) -> float:
        """What the network adds to the plain enlargement, mean of both kinds of input."""
        return (self.clean - self.clean_bicubic + self.degraded - self.degraded_bicubic) / 2

    def __str__(self) -> str:
        return (
            f"clean {self.clean:.2f} dB (bicubic {self.clean_bicubic:.2f}), "
            f"degraded {self.degraded:.2f} dB (bicubic {self.degraded_bicubic:.2f})"
        )


def train_super_resolution(
    settings: SuperResolutionSettings, listener: Listener | None = None
) -> TrainingResult | None:
    """Train until ``max_steps``, ``max_minutes`` or a signal; go on where an earlier run in ``out`` stopped.

    The weights are best by what they add to the plain enlargement of the photos with split 'val'. Otherwise
    as :func:`faceanim_cli.training.motion.train_motion`, whose loop this one follows.
    """
    fabric = launch(settings)
    main, world, rank = fabric.is_global_zero, fabric.world_size, fabric.global_rank
    listener = (listener or Listener()) if main else Listener()
    report = listener.report
    files = RunFiles(settings, settings.notes)
    if main:
        files.begin(settings)

    portraits = load_portraits(settings.data, "train")
    judges = load_portraits(settings.data, "val")
    if not portraits:
        raise UnreadableInputError(f"{settings.data}: no readable photo with split 'train' in manifest.csv")

    network = _build(settings)
    ema = AveragedModel(network, multi_avg_fn=moving_average(settings.ema)).to(fabric.device)
    averaged = ema.module
    assert isinstance(averaged, FaceSuperResolver)
    perceptual = perceptual_loss(settings.perceptual) if settings.perceptual_weight else None
    if perceptual is not None:
        perceptual.to(fabric.device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(settings.optimizer, network, settings.learning_rate, report, BETAS)
    scaler = torch.amp.GradScaler(fabric.device.type, enabled=settings.precision == "16")
    wrapped, fabric_optimizer = fabric.setup(
        synchronise_batch_norms(fabric, network.to(memory_format=torch.channels_last)), optimizer
    )

    parts: dict[str, Stateful] = {"model": network, "ema": ema, "optimizer": optimizer}
    step, seen = 0, 0  # steps taken, pairs drawn
    state = files.load_state()
    if state is not None:
        files.check_optimizer(state, settings)
        files.restore(state, parts)
        if scaler.is_enabled() and "scaler" in state:
            scaler.load_state_dict(state["scaler"])
        step, seen = state["step"], state["pairs"]
        report(f"going on from step {step} of {files.state_file}")

    batch, accumulate = settings.batch, settings.accumulate
    pairs_a_step = batch * accumulate * world
    total = seen + max(0, settings.max_steps - step) * pairs_a_step
    pairs = PortraitDataset(portraits, settings.size, total, settings.seed)
    loader = DataLoader(
        Subset(pairs, range(seen + rank, total, world)),
        batch,
        num_workers=settings.workers,
        worker_init_fn=quiet_worker,
        generator=torch.Generator(),  # the loader draws a seed when it starts: not from the step's numbers
    )
    on_device = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
    batches = channels_last(cast(Iterable[dict[str, Tensor]], on_device))
    report(f"{len(portraits)} photos of {len(pairs.people)} people, {len(judges)} to validate on")

    stop = StopOnSignal()
    schedule = Schedule(settings, 0.0 if state is None else state["progress"])
    curves = Curves(settings.out / "curves", step, report) if main else None
    losses = LossReport(listener, schedule, curves, pairs_a_step, settings.max_steps, first_step=step)
    last_validation = time.monotonic()
    first_step, progress, rate = step, step / settings.max_steps, 0.0
    scores: SuperResolutionScores | None = None
    best = files.best_score()

    def save() -> None:
        state = {name: part.state_dict() for name, part in parts.items()}
        if scaler.is_enabled():
            state["scaler"] = scaler.state_dict()
        more = {"progress": progress, "pairs": seen, "optimizer_name": settings.optimizer}
        files.save(step, {**state, **more}, averaged)

    def score() -> None:
        nonlocal scores, best
        if not judges:
            return
        with autocast(fabric, settings.precision):
            scores = validate(averaged.eval(), judges, fabric.device)
        report(f"step {step}: validation {scores}")
        if curves is not None:
            curves.add("validation", vars(scores), step)
        if scores.gain > best:
            best = scores.gain
            losses.best = f"{best:+.2f} dB over bicubic at step {step}"
            files.save_best(step, averaged, best)

    with memory_explained(settings):
        while True:
            over, progress = schedule.at(step)
            over, progress = fabric.broadcast((over or stop.requested, progress), src=0)
            if over:
                break
            rate = schedule.rate(step, progress)
            for group in optimizer.param_groups:
                group["lr"] = rate
            seed_step(settings.seed, step, rank)
            means: dict[str, Tensor] = {}
            for part in range(accumulate):
                item = next(batches)
                with fabric.no_backward_sync(wrapped, enabled=part < accumulate - 1):
                    with autocast(fabric, settings.precision):
                        result = wrapped(item["low"])
                        terms = {"pixels": (result - item["high"]).abs().mean()}  # Eq. 7
                        loss = terms["pixels"]
                        if perceptual is not None:
                            few = math.ceil(settings.perceptual_share * len(result))
                            with torch.no_grad():
                                target = perceptual.maps(item["high"][:few])
                            terms["perceptual"] = perceptual(result[:few], target)
                            loss = loss + settings.perceptual_weight * terms["perceptual"]
                    check_finite(loss, terms, files, step)
                    fabric.backward(scaler.scale(loss / accumulate))
                for name, term in terms.items():
                    means[name] = means.get(name, 0) + term.detach() / accumulate
            take_step(fabric, scaler, wrapped, fabric_optimizer, settings, files, step)
            scaler.update()
            ema.update_parameters(network)
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
            if not stop.requested:
                score()
    stop.give_back()
    fabric.barrier()
    if not main:
        return None
    if curves is not None:
        curves.close()
    report(losses.summary(step))
    return TrainingResult(step, files.best if files.best.is_file() else files.last, scores)


@torch.no_grad()
def validate(
    network: FaceSuperResolver, portraits: list[Portrait], device: torch.device, size: int = FRAME
) -> SuperResolutionScores:
    """Scores of a network in evaluation mode; what degrades a portrait is the same on every call."""
    sums = []
    for number, portrait in enumerate(portraits):
        row = []
        for degradation in (Degradation.none(), Degradation(plain=0.0)):
            low, high = (image[None].to(device) for image in framed_pair(portrait, size, degradation, number))
            plain = F.interpolate(low, scale_factor=network.SCALE, mode="bicubic", align_corners=False)
            row += [psnr(network(low), high), psnr(plain.clamp(0, 1), high)]
        sums.append(row)
    return SuperResolutionScores(*torch.tensor(sums).mean(0).tolist())


def psnr(image: Tensor, truth: Tensor) -> float:
    """Eq. 8 in dB, data range 1."""
    return float(-10 * torch.log10((image - truth).square().mean().clamp_min(1e-10)))


def _build(settings: SuperResolutionSettings) -> FaceSuperResolver:
    if settings.init is None:
        return FaceSuperResolver(settings.architecture)
    network = load_checkpoint(settings.init, expected="super-resolution")
    assert isinstance(network, FaceSuperResolver)
    return network.train()
