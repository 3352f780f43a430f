"""Means with infinite and missing values, and intervals that hold what they promise."""

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceanim_cli.evaluation.statistics import Summary, difference, mean_of, summarise

INF, NAN = math.inf, math.nan


def summary(values: Iterable[float], people: Iterable[object] | None = None, seed: int = 0) -> Summary:
    """Of clips 0, 1, ..., each of a person of their own unless ``people`` tells."""
    by_clip = {str(clip): float(value) for clip, value in enumerate(values)}
    return summarise(by_clip, dict(zip(by_clip, map(str, people or by_clip), strict=True)), seed)


@pytest.mark.parametrize(
    ("values", "mean"),
    [([1, 2, 6], 3), ([1, INF, 3], 2), ([INF, INF], INF), ([NAN, 4], 4), ([NAN, INF], INF)],
)
def test_means_leave_out_what_has_no_value(values: list[float], mean: float) -> None:
    assert mean_of(values) == mean


def test_the_mean_of_nothing_is_nan() -> None:
    assert math.isnan(mean_of([]))
    assert math.isnan(mean_of([NAN]))
    assert summary([]).clips == 0


def test_the_interval_is_that_of_the_normal_approximation_for_many_clips() -> None:
    values = np.random.default_rng(1).normal(20, 3, 400)
    found = summary(values)
    half = 1.96 * values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)
    assert (found.clips, found.people) == (400, 400)


def test_clips_of_one_person_stay_together() -> None:
    values = np.random.default_rng(1).normal(20, 3, 100)
    apart = summary(values)
    # Each value eight times: as clips of one person they tell no more than one of them does.
    repeated = np.repeat(values, 8)
    together = summary(repeated, np.repeat(np.arange(100), 8).tolist())
    assert (together.clips, together.people) == (800, 100)
    assert together.mean == pytest.approx(apart.mean)
    assert (together.low, together.high) == pytest.approx((apart.low, apart.high))
    alone = summary(repeated)
    assert alone.high - alone.low == pytest.approx((apart.high - apart.low) / math.sqrt(8), rel=0.1)
    # People count as often as they have clips.
    assert summary([1.0, 1.0, 1.0, 5.0], "aaab").mean == 2.0
    assert summary([1.0, 1.0, 1.0, 5.0], "aaab").low == 1.0


def test_clips_of_a_single_person_are_drawn_themselves() -> None:
    values = [1.0, 2.0, 6.0]
    assert summary(values, "aaa").low == summary(values).low
    assert summary(values, "aaa").people == 1


def test_one_clip_has_no_interval_and_perfect_clips_have_a_perfect_one() -> None:
    assert math.isnan(summary([3.0]).low)
    assert summary([INF, INF]) == summary([INF, INF], seed=3)
    assert summary([INF, INF]).mean == summary([INF, INF]).low == INF
    assert summary([INF, INF]).clips == 2


def test_intervals_are_the_same_on_every_run() -> None:
    assert summary([1.0, 2.0, 5.0]) == summary([1.0, 2.0, 5.0])


def test_differences_are_paired_by_clip() -> None:
    ours = {"a": 21.0, "b": 31.0, "c": 5.0, "d": INF}
    theirs = {"b": 30.0, "a": 20.0, "d": 7.0, "e": 1.0}
    found = difference(ours, theirs, {clip: clip for clip in "abcde"})
    assert (found.mean, found.low, found.high, found.clips) == (1.0, 1.0, 1.0, 2)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12))
def test_the_interval_lies_within_the_values_and_around_their_mean(values: list[float]) -> None:
    found = summary(values)
    slack = 1e-9 * max(1, *map(abs, values))
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack
