"""The registry of metrics, and their values for a batch of frames.

A value is NaN where it means nothing: change over time in a clip's first frame, landmarks without a face.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from faceanim_cli import image_metrics
from faceanim_cli.errors import UsageError
from faceanim_cli.evaluation import landmark_metrics, learned_metrics
from faceanim_cli.evaluation.frames import Batch
from faceanim_cli.image_metrics import Picture

Protocol: TypeAlias = Literal["reconstruction", "cross", "files"]
Better: TypeAlias = Literal["higher", "lower"]
Needs: TypeAlias = Literal["landmarks", "identity", "lpips"]
Values: TypeAlias = Mapping[str, list[float]]  # by column, one for each frame
NAN = float("nan")


@dataclass(frozen=True)
class Column:
    """One number of a table."""

    name: str
    unit: str
    better: Better
    decimals: int
    about: str  # unit, direction, range, paper


@dataclass(frozen=True)
class Metric:
    """A name for ``--metrics`` and what it computes.

    Attributes:
        columns: means of frames, then of clips; slopes are pooled, and have none.
        values: per frame; None for a number that only all frames together have (fid).
        truth: whether it compares with a ground truth, which the cross protocol has not.
        over_time: whether it compares neighbouring frames, which ``--every`` would take apart.
        needs: landmarks, identity, lpips: what must be loaded for it.
    """

    name: str
    columns: tuple[Column, ...]
    values: Callable[[Batch], Values] | None
    truth: bool = True
    over_time: bool = False
    needs: Needs | None = None


def flicker(batch: Batch) -> Values:
    """Two numbers about steadiness: flicker and warping error."""
    steps = list(zip(batch.results.steps, batch.driving.steps, batch.driving.flows, strict=True))
    unknown = [NAN] * (len(batch.results.pictures) - len(steps))  # the first frame has none before it
    changes = [image_metrics.flicker(*result, *truth) for result, truth, _ in steps]
    warped = [image_metrics.warping_error(*result, flow) for result, _, flow in steps]
    return {"flicker": unknown + changes, "warping": unknown + warped}


@cache
def _threads() -> ThreadPoolExecutor:
    # numpy and OpenCV let go of the interpreter: a frame for each core, or a fast GPU would wait for SSIM.
    return ThreadPoolExecutor(os.cpu_count())


def _about(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").splitlines()[0].rstrip(".")


def _column(
    function: Callable[..., object], unit: str, better: Better, decimals: int, name: str = ""
) -> Column:
    return Column(name or function.__name__, unit, better, decimals, _about(function))


def _of_pairs(function: Callable[[Picture, Picture], float], column: Column) -> Metric:
    def values(batch: Batch) -> Values:
        return {column.name: list(_threads().map(lambda pair: function(*pair), batch.pairs))}

    return Metric(column.name, (column,), values)


def _akd(batch: Batch) -> Values:
    return landmark_metrics.akd(batch) | landmark_metrics.akd_miss(batch)


def _metrics() -> list[Metric]:
    images, landmarks, learned = image_metrics, landmark_metrics, learned_metrics
    akd = _column(landmarks.akd, "px", "lower", 2), _column(landmarks.akd_miss, "", "lower", 3)
    over_time = (
        _column(images.flicker, "", "lower", 4),
        _column(images.warping_error, "", "lower", 5, "warping"),
    )
    fid = "Frechet inception distance over all frames: lower is better, from 0 (Heusel et al. 2017)"
    without_truth: list[tuple[Callable[[Batch], Values], Column, Needs]] = [
        (learned.csim, _column(learned.csim, "", "higher", 4), "identity"),
        (landmarks.pose, _column(landmarks.pose, "deg", "lower", 2), "landmarks"),
        (landmarks.expression, _column(landmarks.expression, "%", "lower", 2), "landmarks"),
    ]
    return [
        _of_pairs(images.psnr, _column(images.psnr, "dB", "higher", 2)),
        _of_pairs(images.ssim, _column(images.ssim, "", "higher", 4)),
        _of_pairs(images.ms_ssim, _column(images.ms_ssim, "", "higher", 4, "ms-ssim")),
        _of_pairs(images.l1, _column(images.l1, "", "lower", 4)),
        Metric("lpips", (_column(learned.lpips, "", "lower", 4),), learned.lpips, needs="lpips"),
        Metric("fid", (Column("fid", "", "lower", 2, fid),), None),
        Metric("akd", akd, _akd, needs="landmarks"),
        Metric("flicker", over_time, flicker, over_time=True),
        *(Metric(c.name, (c,), values, truth=False, needs=needs) for values, c, needs in without_truth),
        Metric("slopes", (), landmarks.slopes, truth=False, needs="landmarks"),
    ]


METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _metrics()}
DEFAULTS: Mapping[Protocol, tuple[str, ...]] = {
    "reconstruction": ("psnr", "ssim"),
    "files": ("psnr", "ssim"),
    "cross": ("pose", "expression"),
}


def choose_metrics(text: str | None, protocol: Protocol, every: int = 1) -> tuple[Metric, ...]:
    """The metrics that ``--metrics psnr,ssim`` names, each once, in that order; the protocol's own for None.

    Raises:
        UsageError: an unknown name, none at all, or a metric that the protocol cannot give.
    """
    given = ",".join(DEFAULTS[protocol]) if text is None else text
    names = [name.strip().lower() for name in given.split(",") if name.strip()]
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        said = f"unknown metric {', '.join(unknown)}" if unknown else "no metric named"
        raise UsageError(f"--metrics: {said}; known are {', '.join(METRICS)}")
    chosen = tuple(METRICS[name] for name in dict.fromkeys(names))
    if protocol == "cross":
        blind = [metric.name for metric in chosen if metric.truth]
        free = [metric.name for metric in METRICS.values() if not metric.truth]
        if blind:
            raise UsageError(
                f"--metrics: {', '.join(blind)} need a ground truth, and --protocol cross has none; "
                f"it can give {', '.join(free)}"
            )
    apart = [metric.name for metric in chosen if metric.over_time]
    if apart and every > 1:
        raise UsageError(f"--metrics: {', '.join(apart)} compare neighbouring frames; use --every 1")
    return chosen


def columns_of(metrics: Sequence[Metric]) -> tuple[Column, ...]:
    """The numbers that metrics give, in order."""
    return tuple(column for metric in metrics for column in metric.columns)


def described(metrics: Iterable[Metric]) -> dict[str, str]:
    """What each number of the metrics is, by name."""
    found = {}
    for metric in metrics:
        if metric.values is not None and not metric.columns:
            found[metric.name] = _about(metric.values)
        found |= {column.name: column.about for column in metric.columns}
    return found


def score(batch: Batch, metrics: Sequence[Metric]) -> dict[str, list[float]]:
    """Values per frame, by column, of all metrics that have any."""
    values: dict[str, list[float]] = {}
    for metric in metrics:
        if metric.values is not None:
            values.update(metric.values(batch))
    return values
