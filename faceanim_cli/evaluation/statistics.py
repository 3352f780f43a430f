"""Means over frames and clips, and how far to trust them: bootstrap intervals over clips."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
AT_ONCE = 500  # resamples drawn at a time: memory stays small for thousands of clips


@dataclass(frozen=True)
class Summary:
    """A mean over clips.

    Attributes:
        low, high: the percentile bootstrap's 95 % interval over clips; NaN for fewer than two clips.
        clips: how many the mean is over.
    """

    mean: float
    low: float
    high: float
    clips: int


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


def summarise(values: Sequence[float], seed: int = 0) -> Summary:
    """Mean over clips with its interval; NaN and infinite values as in :func:`mean_of`."""
    finite = np.array([value for value in values if math.isfinite(value)])
    if len(finite) == 0:
        perfect = sum(not math.isnan(value) for value in values)
        mean = mean_of(values)
        return Summary(mean, mean, mean, perfect)
    if len(finite) == 1:
        return Summary(float(finite[0]), math.nan, math.nan, 1)
    rng = np.random.default_rng(seed)
    means = [
        finite[rng.integers(len(finite), size=(AT_ONCE, len(finite)))].mean(axis=1)
        for _ in range(RESAMPLES // AT_ONCE)
    ]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Summary(float(finite.mean()), float(low), float(high), len(finite))


def difference(values: Mapping[str, float], reference: Mapping[str, float], seed: int = 0) -> Summary:
    """``values - reference``, paired: over the clips, by name, that both have a finite value for."""
    both = [
        values[clip] - reference[clip]
        for clip in values
        if clip in reference and math.isfinite(values[clip]) and math.isfinite(reference[clip])
    ]
    return summarise(both, seed)
