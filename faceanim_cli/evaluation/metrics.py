"""All metrics by name: what each is, and its value for each frame of a batch.

A value is NaN where it means nothing: change over time in a clip's first frame, landmarks without a face.
The first docstring line of a metric says unit, direction, range and paper; reports show it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np

from faceanim_cli.errors import UsageError
from faceanim_cli.evaluation import flicker as temporal
from faceanim_cli.evaluation import pictures
from faceanim_cli.evaluation.batch import Batch
from faceanim_cli.evaluation.head_pose import expression_change, expression_points, head_angles
from faceanim_cli.evaluation.pictures import Picture

Protocol: TypeAlias = Literal["reconstruction", "cross", "files"]
Values: TypeAlias = Mapping[str, list[float]]  # by column, one for each frame
NAN = float("nan")


@dataclass(frozen=True)
class Column:
    """One number of a table."""

    name: str
    unit: str
    better: Literal["higher", "lower"]
    decimals: int
    about: str  # unit, direction, range, paper


@dataclass(frozen=True)
class Metric:
    """A name for ``--metrics`` and what it computes.

    Attributes:
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
    needs: Literal["landmarks", "identity", "lpips"] | None = None


def akd(batch: Batch) -> Values:
    """Mean distance of landmarks: pixels, lower is better, from 0 (Siarohin 2019: mean |dx|, |dy|)."""
    distance = np.hypot(*np.moveaxis(batch.keypoints - batch.driving.keypoints, -1, 0)).mean(-1)
    return {"akd": [d if face else NAN for d, face in zip(distance.tolist(), batch.has_face, strict=True)]}


def akd_miss(batch: Batch) -> Values:
    """Share of frames without a Viola-Jones face, which akd leaves out: lower is better, 0 to 1 (ours)."""
    known = [bool(np.isfinite(points).all()) for points in batch.driving.keypoints]
    return {
        "akd_miss": [float(not face) if k else NAN for face, k in zip(batch.has_face, known, strict=True)]
    }


def pose(batch: Batch) -> Values:
    """Mean error of head angles since the first frame: degrees, lower is better (cf. APD, Pang 2023)."""
    anchors = batch.scene.tools.anchors
    turned = head_angles(batch.keypoints, anchors) - head_angles(batch.scene.source_keypoints, anchors)
    wanted = head_angles(batch.driving.keypoints, anchors) - head_angles(
        batch.scene.reference_keypoints, anchors
    )
    return {"pose": np.abs(turned - wanted).mean(-1).tolist()}


def expression(batch: Batch) -> Values:
    """Mean error of brows, lids, lips since the first frame: % of eye distance, lower is better (ours)."""
    anchors = batch.scene.tools.anchors
    if not expression_points(anchors):
        return {"expression": [NAN] * len(batch.results)}
    moved = expression_change(batch.keypoints, batch.scene.source_keypoints, anchors)
    wanted = expression_change(batch.driving.keypoints, batch.scene.reference_keypoints, anchors)
    return {"expression": (100 * np.hypot(*np.moveaxis(moved - wanted, -1, 0)).mean(-1)).tolist()}


def csim(batch: Batch) -> Values:
    """Cosine of identity embeddings, result and photo: higher is better, -1 to 1 (Ha et al. 2020)."""
    source = np.broadcast_to(batch.scene.source_embedding, batch.embeddings.shape)
    return {"csim": _cosines(batch.embeddings, source)}


def lpips(batch: Batch) -> Values:
    """Learned perceptual distance, AlexNet: lower is better, from 0, mostly below 1 (Zhang et al. 2018)."""
    distance = batch.scene.tools.lpips
    if distance is None:
        raise UsageError("lpips was not loaded")
    return {"lpips": distance(batch.results, batch.truth)}


def flicker(batch: Batch) -> Values:
    """Two numbers about steadiness: flicker and warping error."""
    results = batch.results if batch.before is None else [batch.before, *batch.results]
    truths = batch.truth if batch.driving.before is None else [batch.driving.before, *batch.truth]
    first = [NAN] if batch.before is None else []
    steps = range(1, len(results))
    changes = [temporal.flicker(results[i - 1], results[i], truths[i - 1], truths[i]) for i in steps]
    flows = batch.driving.flows[len(first) :]
    warped = [
        NAN if flow is None else temporal.warping_error(results[i - 1], results[i], flow)
        for i, flow in zip(steps, flows, strict=True)
    ]
    return {"flicker": first + changes, "warping": first + warped}


FID_ABOUT = "Frechet inception distance over all frames: lower is better, from 0 (Heusel et al. 2017)"


@cache
def _threads() -> ThreadPoolExecutor:
    # numpy and OpenCV let go of the interpreter: a frame for each core, or a fast GPU would wait for SSIM.
    return ThreadPoolExecutor(os.cpu_count())


def _each(name: str, function: Callable[[Picture, Picture], float]) -> Callable[[Batch], Values]:
    def values(batch: Batch) -> Values:
        return {name: list(_threads().map(function, batch.results, batch.truth))}

    return values


def _about(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").splitlines()[0].rstrip(".")


def _akd(batch: Batch) -> Values:
    return {**akd(batch), **akd_miss(batch)}


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "psnr", (Column("psnr", "dB", "higher", 2, _about(pictures.psnr)),), _each("psnr", pictures.psnr)
        ),
        Metric(
            "ssim", (Column("ssim", "", "higher", 4, _about(pictures.ssim)),), _each("ssim", pictures.ssim)
        ),
        Metric(
            "ms-ssim",
            (Column("ms-ssim", "", "higher", 4, _about(pictures.ms_ssim)),),
            _each("ms-ssim", pictures.ms_ssim),
        ),
        Metric("l1", (Column("l1", "", "lower", 4, _about(pictures.l1)),), _each("l1", pictures.l1)),
        Metric("lpips", (Column("lpips", "", "lower", 4, _about(lpips)),), lpips, needs="lpips"),
        Metric("fid", (Column("fid", "", "lower", 2, FID_ABOUT),), None),
        Metric(
            "akd",
            (
                Column("akd", "px", "lower", 2, _about(akd)),
                Column("akd_miss", "", "lower", 3, _about(akd_miss)),
            ),
            _akd,
            needs="landmarks",
        ),
        Metric(
            "flicker",
            (
                Column("flicker", "", "lower", 4, _about(temporal.flicker)),
                Column("warping", "", "lower", 5, _about(temporal.warping_error)),
            ),
            flicker,
            over_time=True,
        ),
        Metric("csim", (Column("csim", "", "higher", 4, _about(csim)),), csim, truth=False, needs="identity"),
        Metric(
            "pose", (Column("pose", "deg", "lower", 2, _about(pose)),), pose, truth=False, needs="landmarks"
        ),
        Metric(
            "expression",
            (Column("expression", "%", "lower", 2, _about(expression)),),
            expression,
            truth=False,
            needs="landmarks",
        ),
    )
}
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
    names = (
        list(DEFAULTS[protocol])
        if text is None
        else [n.strip().lower() for n in text.split(",") if n.strip()]
    )
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


def score(batch: Batch, metrics: Sequence[Metric]) -> dict[str, list[float]]:
    """Values per frame, by column, of all metrics that have any."""
    values: dict[str, list[float]] = {}
    for metric in metrics:
        if metric.values is not None:
            values.update(metric.values(batch))
    return values


def _cosines(a: np.ndarray, b: np.ndarray) -> list[float]:
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosines: list[float] = ((a * b).sum(-1) / np.maximum(lengths, 1e-12)).tolist()
    return cosines
