"""Means and slopes over clips, with bootstrap intervals over people."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceanim_cli.evaluation.landmark_metrics import DRIVER, MEASURES

RESAMPLES = 10_000
LEVEL = 0.95
FEWEST_FRAMES = 9  # of a clip, for a slope
AT_ONCE = 500  # resamples drawn at a time: memory stays small for thousands of clips


@dataclass(frozen=True)
class Summary:
    """A mean over clips.

    Attributes:
        low, high: the 95 % interval as ``interval`` gives it.
        clips: how many the mean is over.
        people: whose they are.
    """

    mean: float
    low: float
    high: float
    clips: int
    people: int


def mean_of(values: Sequence[float]) -> float:
    """The mean without NaN; NaN of nothing.

    The PSNR of identical pictures is infinite and no number can stand for it in a mean: such values are left
    out too, unless all are infinite.
    """
    known = [value for value in values if not math.isnan(value)]
    finite = [value for value in known if math.isfinite(value)]
    if not finite:
        return known[0] if known else math.nan
    return float(np.mean(finite))


def summarise(values: Mapping[str, float], people: Mapping[str, str], seed: int = 0) -> Summary:
    """Mean over clips with its interval; NaN and infinite values as in :func:`mean_of`.

    Args:
        values: by clip.
        people: by clip, whose it is.
    """
    finite = {clip: value for clip, value in values.items() if math.isfinite(value)}
    clips = list(finite) or [clip for clip, value in values.items() if not math.isnan(value)]
    persons = [people[clip] for clip in clips]
    mean = mean_of(list(values.values()))
    low, high = mean, mean
    if finite:
        low, high = interval(list(finite.values()), [1.0] * len(finite), persons, seed)
    return Summary(mean, low, high, len(clips), len(set(persons)))


def difference(
    values: Mapping[str, float], reference: Mapping[str, float], people: Mapping[str, str], seed: int = 0
) -> Summary:
    """``values - reference``, paired: over the clips that both have a finite value for."""
    both = {
        clip: values[clip] - reference[clip]
        for clip in values
        if clip in reference and math.isfinite(values[clip]) and math.isfinite(reference[clip])
    }
    return summarise(both, people, seed)


def interval(
    numerators: Sequence[float], denominators: Sequence[float], people: Sequence[str], seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of ``sum(numerators) / sum(denominators)`` over clips, by a percentile bootstrap.

    What is drawn is people, each with all clips: clips of one face are alike, and intervals over clips would
    be too narrow. Clips of a single person are drawn themselves. NaN for a single clip.
    """
    if len(set(people)) < 2:
        people = [str(number) for number in range(len(people))]
    if len(people) < 2:
        return math.nan, math.nan
    groups: dict[str, list[int]] = {}
    for number, person in enumerate(people):
        groups.setdefault(person, []).append(number)
    above, below = (
        np.array([np.asarray(values)[clips].sum() for clips in groups.values()])
        for values in (numerators, denominators)
    )
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(RESAMPLES // AT_ONCE):
        drawn = rng.integers(len(groups), size=(AT_ONCE, len(groups)))
        ratios.append(above[drawn].sum(1) / below[drawn].sum(1))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(ratios), [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Slope:
    """Result on driver, pooled within clips.

    Attributes:
        low, high: the slope's 95 % interval, as ``interval`` gives it.
        clips: those whose driver moves enough; people: whose they are.
    """

    slope: float
    low: float
    high: float
    correlation: float
    clips: int
    people: int


def pooled_slopes(
    frames: Mapping[str, Sequence[Mapping[str, Any]]], people: Mapping[str, str], seed: int = 0
) -> dict[str, Slope]:
    """A slope for each measure in which any driver moves.

    Args:
        frames: by clip, the values of its frames as ``landmark_metrics.slopes`` gives them, by column.
        people: by clip, whose it is.
    """
    found = {}
    for name, least in MEASURES.items():
        sums: dict[str, tuple[float, float, float]] = {}
        for clip, rows in frames.items():
            pairs = np.array([(row[DRIVER + name], row[name]) for row in rows], np.float64).reshape(-1, 2)
            pairs = pairs[np.isfinite(pairs).all(-1)]
            if len(pairs) >= FEWEST_FRAMES and pairs[:, 0].std() > least:
                x, y = (pairs - pairs.mean(0)).T
                sums[clip] = (float(x @ x), float(x @ y), float(y @ y))
        if sums:
            xx, xy, yy = np.array(list(sums.values())).T
            persons = [people[clip] for clip in sums]
            low, high = interval(xy.tolist(), xx.tolist(), persons, seed)
            spread = float(np.sqrt(xx.sum() * yy.sum()))
            found[name] = Slope(
                slope=float(xy.sum() / xx.sum()),
                low=low,
                high=high,
                correlation=float(xy.sum()) / spread if spread else float("nan"),
                clips=len(sums),
                people=len(set(persons)),
            )
    return found
