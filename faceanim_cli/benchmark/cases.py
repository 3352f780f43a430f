"""Animation from frames to frames, in several ways, one round of each after the other.

A machine with other work on it is faster one minute and slower the next. Rounds are interleaved, so that all
cases meet the same minutes: their ratios hold even where their times do not.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice, product
from pathlib import Path

import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.benchmark.clock import StageClock, count_macs, synchronise
from faceanim_cli.benchmark.peak import convolution_peak
from faceanim_cli.pictures import Image, Progress

DETAIL_SIZE = 512  # of results that show the photo's own detail, without super-resolution
PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class Timing:
    """Milliseconds, over rounds."""

    median: float
    spread: float
    """Between the first and the third quartile."""

    @classmethod
    def of(cls, values: Sequence[float]) -> "Timing":
        """Needs one value at least."""
        if len(values) == 1:
            return cls(values[0], 0.0)
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(statistics.median(values), high - low)


@dataclass(frozen=True)
class CaseResult:
    """One way to animate, measured."""

    weights: str
    """Name of the file."""
    precision: str
    sr: bool
    size: int
    """Side of the result, pixels."""
    batch: int
    frame: Timing
    """All that is done to a driving frame, in memory: from its pixels to the result's."""
    stages: dict[str, Timing]
    """The same by stage: keypoints, motion, generator, sr, and other (crops, copies, rounding)."""
    gmac: float
    """Billions of multiply-accumulates of the networks for a frame."""
    gflops: float
    """What the networks reach, 2 operations for each."""
    peak_share: float
    """That, as a part of what one large convolution in this precision reaches on this machine."""
    gpu_mb: float | None
    """Peak memory of the device in MB; None on a CPU."""
    gpu_busy: float | None = None
    """Part of the time in which the GPU was at the networks, gaps between their kernels included; None on a
    CPU, and in runs of earlier versions."""

    @property
    def fps(self) -> float:
        """Frames per second."""
        return 1000 / self.frame.median

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two results comparable."""
        return self.weights, self.precision, self.sr, self.size, self.batch


@dataclass
class _Case:
    animator: Animator
    batch: int
    rounds: list[dict[str, float]] = field(default_factory=list)
    gmac: float = 0.0
    gpu_mb: float | None = None

    def work(self, frames: Sequence[Image], count: int) -> None:
        self.animator.batch = self.batch
        for _ in self.animator.animate(islice(cycle(frames), count), crop=None):
            pass


@dataclass(frozen=True)
class CaseOptions:
    """Which cases: all combinations."""

    weights: tuple[Path | None, ...] = (None,)
    """None is what ships."""
    precisions: tuple[str, ...] = ("fp32", "auto")
    sr: tuple[bool, ...] = (False, True)
    sizes: tuple[int | None, ...] = ()
    """Sides of the result, pixels, None is the networks' own; none is that and ``DETAIL_SIZE``."""
    batches: tuple[int, ...] = (1, 8)
    device: str = "auto"
    rounds: int = 5
    frames: int = 16
    """A round's frames, rounded up to whole batches."""
    compiled: bool = False
    """As CUDA graphs."""

    @property
    def results(self) -> tuple[tuple[bool, int | None], ...]:
        """What is made of a frame: with super-resolution or not, and the side asked for."""
        if self.sizes:
            return tuple(product(self.sr, self.sizes))
        return tuple((sr, size) for sr in self.sr for size in ((None,) if sr else (None, DETAIL_SIZE)))


QUICK = CaseOptions(precisions=("auto",), batches=(8,), rounds=2, frames=8)


def measure_cases(
    options: CaseOptions,
    photo: Image,
    frames: Sequence[Image],
    progress: Progress | None = None,
) -> tuple[list[CaseResult], dict[str, float]]:
    """Measure all cases of ``options``.

    Args:
        photo, frames: uint8 RGB, framed alike; frames are repeated as needed. Results that are larger than
            the networks' show the photo's detail if it is as large.
        progress: told rounds of a case done and expected.

    Returns:
        The cases, and the convolution peak in GFLOP/s by precision.
    """
    cases = list(_cases(options, photo))
    device = cases[0].animator.device
    for case in cases:  # warm-up: primitives are chosen, memory is taken, the precision is checked
        case.work(frames, case.batch)
        case.gmac = count_macs(case.animator.stages, partial(case.work, frames, 1)) / 1e9
    peaks: dict[torch.dtype, list[float]] = {}
    for index in range(options.rounds):
        for dtype in dict.fromkeys(case.animator.dtype for case in cases):
            peaks.setdefault(dtype, []).append(convolution_peak(dtype, device))
        for number, case in enumerate(cases):
            _round(case, frames, -(-options.frames // case.batch) * case.batch)
            if progress is not None:
                progress(index * len(cases) + number + 1, options.rounds * len(cases))
    peak = {PRECISIONS[dtype]: statistics.median(values) for dtype, values in peaks.items()}
    return [_result(case, peak) for case in cases], peak


def _cases(options: CaseOptions, photo: Image) -> Iterator[_Case]:
    seen = set()
    for weights in options.weights:
        for precision in options.precisions:
            for sr, size in options.results:
                compiled = options.compiled
                animator = Animator(weights, options.device, precision, sr=sr, size=size, compiled=compiled)
                key = (animator.weights, animator.dtype, sr, animator.size)
                if key in seen:  # auto may be what was named as well
                    continue
                seen.add(key)
                animator.set_photo(photo, crop=None)
                yield from (_Case(animator, batch) for batch in options.batches)


def _round(case: _Case, frames: Sequence[Image], count: int) -> None:
    device = case.animator.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    clock = StageClock(case.animator.stages, device)
    with clock.running():
        synchronise(device)
        start = time.perf_counter()
        case.work(frames, count)
        synchronise(device)
        whole = 1000 * (time.perf_counter() - start)
    spent = clock.milliseconds()
    times = {"frame": whole, **spent, "other": whole - sum(spent.values())}
    case.rounds.append({name: value / count for name, value in times.items()})
    if device.type == "cuda":
        case.gpu_mb = max(case.gpu_mb or 0.0, torch.cuda.max_memory_allocated(device) / 1e6)


def _result(case: _Case, peak: dict[str, float]) -> CaseResult:
    animator = case.animator
    timings = {name: Timing.of([times[name] for times in case.rounds]) for name in case.rounds[0]}
    frame = timings.pop("frame")
    networks = animator.stages
    gflops = 2 * case.gmac / sum(timings[name].median for name in networks) * 1000
    precision = PRECISIONS[animator.dtype]
    return CaseResult(
        animator.weights.name,
        precision,
        "sr" in networks,
        animator.size,
        case.batch,
        frame,
        timings,
        case.gmac,
        gflops,
        gflops / peak[precision],
        case.gpu_mb,
        None if animator.device.type != "cuda" else statistics.median(map(_busy, case.rounds)),
    )


def _busy(times: dict[str, float]) -> float:
    """Stages are timed on the GPU itself, one after the other in its stream."""
    return 1 - times["other"] / times["frame"]
