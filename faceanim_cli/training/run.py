"""What the training loops share: schedule, averaged weights, stopping, reports, quiet loader processes."""

import math
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from faceanim_cli.errors import WeightsError
from faceanim_cli.training.swats import SWATS
from faceanim_cli.weights.metadata import read_metadata

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]
OptimizerName: TypeAlias = Literal["adam", "swats"]

BETAS = (0.5, 0.999)  # first-order-model's


def make_optimizer(
    name: OptimizerName, network: nn.Module, rate: float, report: Callable[[str], None]
) -> Optimizer:
    """Adam, or SWATS with a group for each network in ``network``; ``report`` is told of its switches."""
    if name == "adam":
        return torch.optim.Adam(network.parameters(), rate, betas=BETAS, fused=True)

    def switched(group: str, steps: int, sgd_rate: float) -> None:
        report(f"{group}: from Adam to SGD with rate {sgd_rate:.2e} after {steps} steps")

    groups = [{"name": part, "params": list(child.parameters())} for part, child in network.named_children()]
    return SWATS(groups, rate, betas=BETAS, on_switch=switched)


def best_score(out: Path) -> float:
    """The PSNR that ``best.safetensors`` of a run has to its credit; minus infinity without one."""
    file = out / "best.safetensors"
    return float(read_metadata(file).get("psnr", -math.inf)) if file.is_file() else -math.inf


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Exponential moving average for ``AveragedModel``, shorter at first: the start is soon forgotten."""

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        for mean, value in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:  # the batch norms' counters
                mean.copy_(value)

    return update


def learning_rate_factor(progress: float) -> float:
    """Cosine decay from 1 at the start to 0.02 at the end of a run; ``progress`` in [0, 1]."""
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def quiet_worker(_: int) -> None:
    """Loader processes leave Ctrl-C to the training process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class StopOnSignal:
    """Turns the first Ctrl-C or SIGTERM into a request to stop after the step."""

    def __init__(self) -> None:
        self.requested = False
        self._before = {
            number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)
        }

    def give_back(self) -> None:
        """Signals mean again what they meant before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, _: FrameType | None) -> None:
        self.requested = True
        if number == signal.SIGINT:  # a second Ctrl-C ends at once; torchrun passes SIGTERM on more than once
            signal.signal(number, signal.default_int_handler)


class LossReport:
    """The mean of each loss term since the last line, a line a minute.

    Args:
        report: takes the lines.
        pairs_a_step: of all processes together.
        first_step: where this run began.
    """

    EVERY = 60.0  # seconds

    def __init__(self, report: Callable[[str], None], pairs_a_step: int, first_step: int = 0) -> None:
        self._report, self._pairs_a_step, self._first_step = report, pairs_a_step, first_step
        self._start = self._last = time.monotonic()
        self._sums: dict[str, float] = {}
        self._seen = 0

    def add(self, terms: Mapping[str, Tensor], step: int, progress: float, rate: float) -> None:
        """Count the terms of one step, after which ``step`` are done; ``progress`` in [0, 1]."""
        for name, term in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(term.detach())
        self._seen += 1
        now = time.monotonic()
        if now - self._last > self.EVERY:
            speed = (step - self._first_step) * self._pairs_a_step / (now - self._start)
            means = "  ".join(f"{name} {value / self._seen:.4f}" for name, value in self._sums.items())
            self._report(f"step {step}  {progress:.1%}  {speed:.1f} pairs/s  lr {rate:.1e}  {means}")
            self._sums, self._seen, self._last = {}, 0, now


def check_finite(loss: Tensor, terms: Mapping[str, Tensor], out: Path, step: int) -> None:
    """Stop a run whose loss has gone wrong.

    Raises:
        WeightsError: the loss is not finite; it names the terms that are not.
    """
    if not torch.isfinite(loss):
        worst = [name for name, term in terms.items() if not torch.isfinite(term)]
        raise WeightsError(f"{out}: loss is not finite at step {step}: {', '.join(worst)}")
