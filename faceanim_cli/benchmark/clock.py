"""Time and multiply-accumulates of parts of a network, measured by forward hooks."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

Mark = float | torch.cuda.Event
Shape = list[int]
Stages = Mapping[str, tuple[nn.Module, ...]]


class StageClock:
    """Adds up how long modules are at work while :meth:`running`.

    On CUDA, events are recorded in the stream and read at the end: the device is never made to wait, so the
    whole is as fast as it is without the clock.

    On a CPU several threads may be at work on a stage at once: then it takes their mean.

    Args:
        stages: their modules by name; none inside another.
        device: where they run.
    """

    def __init__(self, stages: Stages, device: torch.device) -> None:
        self._stages, self._device = stages, device
        self._begun: dict[tuple[str, int], Mark] = {}  # by stage and thread
        self._spans: list[tuple[str, int, Mark, Mark]] = []

    @contextmanager
    def running(self) -> Iterator["StageClock"]:
        """Forward calls inside the block are timed."""

        def begin(name: str) -> None:
            self._begun[name, get_ident()] = self._mark()

        def end(name: str) -> None:
            self._spans.append((name, get_ident(), self._begun.pop((name, get_ident())), self._mark()))

        with hooked(self._stages, begin, end):
            yield self

    def milliseconds(self) -> dict[str, float]:
        """What each stage has taken so far."""
        synchronise(self._device)
        sums = dict.fromkeys(self._stages, 0.0)
        threads = {name: len({t for stage, t, *_ in self._spans if stage == name}) for name in sums}
        for name, _, first, last in self._spans:
            if isinstance(first, float) and isinstance(last, float):
                sums[name] += 1000 * (last - first) / threads[name]
            elif isinstance(first, torch.cuda.Event) and isinstance(last, torch.cuda.Event):
                sums[name] += first.elapsed_time(last)
        return sums

    def _mark(self) -> Mark:
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._device))
            return event
        synchronise(self._device)
        return time.perf_counter()


def count_macs(stages: Stages, work: Callable[[], object]) -> float:
    """Multiply-accumulates of the convolutions and matrix products in ``stages`` while ``work`` runs."""
    counter = FlopCounterMode(display=False, custom_mapping=fused_operations())
    before: dict[str, int] = {}
    counted = 0

    def begin(name: str) -> None:
        before[name] = counter.get_total_flops()

    def end(name: str) -> None:
        nonlocal counted
        counted += counter.get_total_flops() - before.pop(name)

    with hooked(stages, begin, end), counter:
        work()
    return counted / 2  # a multiply-accumulate is two operations


def fused_operations() -> dict[Any, Callable[..., int]]:
    """What torch's counter does not know: operations of fused convolutions, by their shapes."""

    def convolution(x: Shape, weight: Shape, *_: object, out_shape: Shape, **__: object) -> int:
        return conv_flop_count(x, weight, out_shape)

    def added(other: Shape, x: Shape, weight: Shape, *_: object, out_shape: Shape, **__: object) -> int:
        return conv_flop_count(x, weight, out_shape)

    def transposed(x: Shape, weight: Shape, *_: object, out_shape: Shape, **__: object) -> int:
        return conv_flop_count(x, weight, out_shape, transposed=True)

    counted: dict[str, Callable[..., int]] = {
        "_convolution_pointwise": convolution,
        "_convolution_pointwise_": added,
        "_convolution_transpose_pointwise": transposed,
    }
    operators = torch.ops.mkldnn
    return {getattr(operators, name): count for name, count in counted.items() if hasattr(operators, name)}


@contextmanager
def hooked(stages: Stages, begin: Callable[[str], None], end: Callable[[str], None]) -> Iterator[None]:
    """Tell, by the stage's name, when the forward of each of its modules begins and ends."""
    hooks = [
        hook
        for name, modules in stages.items()
        for module in modules
        for hook in (
            module.register_forward_pre_hook(lambda *_, name=name: begin(name)),
            module.register_forward_hook(lambda *_, name=name: end(name)),
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
