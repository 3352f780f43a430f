"""What the training loops share: the schedule, the averaged weights, stopping, and quiet loader processes."""

import math
import signal
from collections.abc import Callable
from types import FrameType
from typing import TypeAlias

import torch
from torch import Tensor

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


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
