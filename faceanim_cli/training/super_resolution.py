"""Train face super-resolution, apart from the animation networks (paper §3.2, §3.3, Eq. 7).

faceanim train --stage sr --data DATA --out RUN
"""

import json
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from faceanim_cli.data.portraits import Degradation, Portrait, PortraitDataset, framed_pair, load_portraits
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media.output_file import whole_file
from faceanim_cli.training.perceptual import PerceptualLoss
from faceanim_cli.training.run import (
    LossReport,
    StopOnSignal,
    check_finite,
    learning_rate_factor,
    moving_average,
    quiet_worker,
)
from faceanim_cli.weights.checkpoint import load_checkpoint, save_checkpoint
from faceanim_models import FaceSuperResolver, FaceSuperResolverSettings

FRAME = 256  # pixels: the product's frame before super-resolution, at which a run is validated
SHIPPED = FaceSuperResolverSettings()

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SuperResolutionSettings:
    """Settings of a run; written beside its results."""

    data: Path  # a folder with manifest.csv and photos, see faceanim_cli.data.portraits
    out: Path  # checkpoints and settings go here
    init: Path | None = None  # start from these weights
    architecture: FaceSuperResolverSettings = SHIPPED  # without init
    perceptual: Path | None = None  # SqueezeNet 1.1 features; None: torchvision fetches them
    perceptual_weight: float = 0.02  # against 1 for the L1 of Eq. 7: about as strong; 0: Eq. 7 alone
    perceptual_share: float = 0.4  # of a batch has its features compared, which costs more than all the rest
    size: int = 64  # pixels of a low-resolution crop; many small ones teach more than few large
    batch: int = 8
    learning_rate: float = 1e-3
    warm_up: int = 100  # steps
    clip_gradients: float = 1.0  # norm
    ema: float = 0.998
    max_steps: int = 100_000
    max_minutes: float | None = None
    validate_minutes: float = 5.0
    seed: int = 0
    workers: int = 1  # loader processes; 0: load in the training process itself
    bf16: bool = True  # autocast the convolutions to bfloat16
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
    settings: SuperResolutionSettings, report: Callable[[str], None] = log.info
) -> SuperResolutionScores | None:
    """Train until ``max_steps``, ``max_minutes`` or a signal; return the last scores, None without judges.

    Writes to ``out``: ``settings.json``, ``last.safetensors`` and ``best.safetensors`` (EMA weights, fp16;
    best by what they add to the plain enlargement of the photos with split 'val').

    Raises:
        UnreadableInputError: no usable data.
        WeightsError: ``init`` does not fit, or the loss is not finite.
    """
    # Fabric's own mixed precision would round the pictures to 8 bits: autocast is ours.
    fabric = Fabric(accelerator="auto", devices=1, precision="32-true")
    fabric.launch()
    fabric.seed_everything(settings.seed, verbose=False)
    settings.out.mkdir(parents=True, exist_ok=True)
    with whole_file(settings.out / "settings.json") as partial:
        partial.write_text(json.dumps(asdict(settings), indent=2, default=str))

    portraits = load_portraits(settings.data, "train")
    judges = load_portraits(settings.data, "val")
    if not portraits:
        raise UnreadableInputError(f"{settings.data}: no readable photo with split 'train' in manifest.csv")

    network = _build(settings)
    ema = AveragedModel(network, multi_avg_fn=moving_average(settings.ema))
    ema.to(fabric.device)
    perceptual = PerceptualLoss(settings.perceptual) if settings.perceptual_weight else None
    if perceptual is not None:
        perceptual.to(fabric.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate, betas=(0.9, 0.99), fused=True)
    wrapped, optimizer = fabric.setup(network.to(memory_format=torch.channels_last), optimizer)
    pairs = PortraitDataset(portraits, settings.size, settings.max_steps * settings.batch, settings.seed)
    loader = DataLoader(pairs, settings.batch, num_workers=settings.workers, worker_init_fn=quiet_worker)
    report(f"{len(portraits)} photos of {len(pairs.people)} people, {len(judges)} to validate on")

    stop = StopOnSignal()
    start = last_validation = time.monotonic()
    losses = LossReport(report, settings.batch)
    step, best = 0, -math.inf
    scores = None

    def check() -> None:
        nonlocal scores, best
        averaged = ema.module
        assert isinstance(averaged, FaceSuperResolver)
        notes = {"trained": f"step {step}; {settings.notes}" if settings.notes else f"step {step}"}
        if judges:
            with torch.autocast(fabric.device.type, torch.bfloat16, enabled=settings.bf16):
                scores = validate(averaged.eval(), judges, fabric.device)
            report(f"step {step}: validation {scores}")
            if scores.gain > best:
                best = scores.gain
                save_checkpoint(settings.out / "best.safetensors", averaged, notes=notes)
        save_checkpoint(settings.out / "last.safetensors", averaged, notes=notes)

    for item in cast(Iterable[dict[str, Tensor]], fabric.setup_dataloaders(loader)):
        by_time = (time.monotonic() - start) / 60 / settings.max_minutes if settings.max_minutes else 0.0
        progress = max(step / settings.max_steps, by_time)
        if progress >= 1 or stop.requested:
            break
        rate = (
            settings.learning_rate * learning_rate_factor(progress) * min(1.0, (step + 1) / settings.warm_up)
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        low, high = (item[name].contiguous(memory_format=torch.channels_last) for name in ("low", "high"))
        with torch.autocast(fabric.device.type, torch.bfloat16, enabled=settings.bf16):
            result = wrapped(low)
            terms = {"pixels": (result - high).abs().mean()}  # Eq. 7
            loss = terms["pixels"]
            if perceptual is not None:
                few = math.ceil(settings.perceptual_share * len(high))
                with torch.no_grad():
                    target = perceptual.maps(high[:few])
                terms["perceptual"] = perceptual(result[:few], target)
                loss = loss + settings.perceptual_weight * terms["perceptual"]
        check_finite(loss, terms, settings.out, step)
        fabric.backward(loss)
        fabric.clip_gradients(wrapped, optimizer, max_norm=settings.clip_gradients, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()
        ema.update_parameters(network)
        step += 1

        losses.add(terms, step, progress, rate)
        if time.monotonic() - last_validation > settings.validate_minutes * 60:
            check()
            last_validation = time.monotonic()
    check()
    stop.give_back()
    return scores


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
