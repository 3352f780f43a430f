"""Optimizer, learning rate schedule, and the moving average of weights that is saved."""

import math
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from faceanim_cli.training.settings import RunSettings
from faceanim_cli.training.swats import SWATS

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]

BETAS = (0.5, 0.999)  # first-order-model's
SCALARS = frozenset({"locality", "rigidity", "turning"})  # of the dense motion network
SCALARS_FASTER = 20.0
WARM_UP_SHARE = 0.05  # of a run; the warm-up takes no longer


def make_optimizer(
    settings: RunSettings,
    network: nn.Module,
    report: Callable[[str], None],
    betas: tuple[float, float] = BETAS,
) -> Optimizer:
    """Adam, or SWATS with groups for each network in ``network``; ``report`` is told of its switches.

    What is frozen is left out. Scalars that weigh keypoints (``SCALARS``) have a group, and a rate, of their
    own: at that of the weights they hardly leave their initial values.
    """
    if settings.optimizer == "adam":
        groups = _groups("network", network)
        return torch.optim.Adam(groups, settings.learning_rate, betas=betas, fused=True)

    def switched(group: str, steps: int, sgd_rate: float) -> None:
        report(f"{group}: from Adam to SGD with rate {sgd_rate:.2e} after {steps} steps")

    parts = [group for name, child in network.named_children() for group in _groups(name, child)]
    share = settings.swats_tolerance
    return SWATS(parts, settings.learning_rate, betas=betas, share=share, on_switch=switched)


def _groups(name: str, network: nn.Module) -> list[dict[str, Any]]:
    """Parameter groups of what is trained in a network: its weights, and its scalars if it has any."""
    trained = [(key, p) for key, p in network.named_parameters() if p.requires_grad]
    scalars = [p for key, p in trained if key.rsplit(".", 1)[-1] in SCALARS]
    weights = [p for key, p in trained if key.rsplit(".", 1)[-1] not in SCALARS]
    groups: list[dict[str, Any]] = [{"name": name, "params": weights}]
    groups.append({"name": f"{name} scalars", "params": scalars, "rate_factor": SCALARS_FASTER})
    return [group for group in groups if group["params"]]


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Exponential moving average for ``AveragedModel``, shorter at first: the start is soon forgotten."""

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        # All tensors in a few calls, and the count where it lies: a GPU is neither asked nor waited for.
        if not averaged[0].is_floating_point():  # the batch norms' counters
            torch._foreach_copy_(averaged, current)
            return
        share = 1 - ((1 + torch.as_tensor(count)) / (10 + torch.as_tensor(count))).clamp(max=decay)
        steps = torch._foreach_sub(current, averaged)
        torch._foreach_mul_(steps, share)
        torch._foreach_add_(averaged, steps)

    return update


def learning_rate_factor(progress: float) -> float:
    """Cosine decay from 1 at the start to 0.02 at the end of a run; ``progress`` in [0, 1]."""
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


class Schedule:
    """When a run ends, and what its learning rate is on the way.

    Falling over the steps, the rate depends on the step alone, and a run that was stopped goes on as if it
    had not been. Falling over ``max_minutes`` it is low when the time is over, whatever the machine's pace.

    Args:
        settings: the run's.
        progress: how much of the fall is behind already, [0, 1].
    """

    def __init__(self, settings: RunSettings, progress: float = 0.0) -> None:
        self._settings, self._before, self._start = settings, progress, time.monotonic()

    def at(self, step: int) -> tuple[bool, float]:
        """Whether the run is over after ``step`` steps, and its progress in [0, 1]."""
        s = self._settings
        time_gone = (time.monotonic() - self._start) / 60 / s.max_minutes if s.max_minutes else 0.0
        progress = step / s.max_steps
        if s.decay_over == "minutes":
            progress = max(progress, self._before + (1 - self._before) * time_gone)
        return step >= s.max_steps or time_gone >= 1 or progress >= 1, min(progress, 1.0)

    def rate(self, step: int, progress: float) -> float:
        """The learning rate of a step: warmed up, in a short run sooner, then falling."""
        s = self._settings
        warmth = max((step + 1) / s.warm_up, progress / WARM_UP_SHARE)
        return s.learning_rate * min(1.0, warmth) * learning_rate_factor(progress)

    def seconds_left(self, step: int, progress: float, first_step: int) -> float | None:
        """Until the run is over, at its pace so far."""
        s, gone = self._settings, time.monotonic() - self._start
        ends = []
        if s.max_minutes:
            ends.append(60 * s.max_minutes - gone)
        if step > first_step and s.decay_over == "steps":
            ends.append(gone * (s.max_steps - step) / (step - first_step))
        return max(0.0, min(ends)) if ends else None
