"""Means with infinite and missing values, and intervals that hold what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceanim_cli.evaluation.statistics import difference, mean_of, summarise

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("values", "mean"),
    [([1, 2, 6], 3), ([1, INF, 3], 2), ([INF, INF], INF), ([NAN, 4], 4), ([NAN, INF], INF)],
)
def test_means_leave_out_what_has_no_value(values: list[float], mean: float) -> None:
    assert mean_of(values) == mean


def test_the_mean_of_nothing_is_nan() -> None:
    assert math.isnan(mean_of([]))
    assert math.isnan(mean_of([NAN]))
    assert summarise([]).clips == 0


def test_the_interval_is_that_of_the_normal_approximation_for_many_clips() -> None:
    values = np.random.default_rng(1).normal(20, 3, 400)
    summary = summarise(values.tolist())
    half = 1.96 * values.std() / 20
    assert summary.mean == pytest.approx(values.mean())
    assert summary.low == pytest.approx(values.mean() - half, abs=0.03)
    assert summary.high == pytest.approx(values.mean() + half, abs=0.03)
    assert summary.clips == 400


def test_one_clip_has_no_interval_and_perfect_clips_have_a_perfect_one() -> None:
    assert math.isnan(summarise([3.0]).low)
    assert summarise([INF, INF]) == summarise([INF, INF], seed=3)
    assert summarise([INF, INF]).mean == summarise([INF, INF]).low == INF
    assert summarise([INF, INF]).clips == 2


def test_intervals_are_the_same_on_every_run() -> None:
    assert summarise([1.0, 2.0, 5.0]) == summarise([1.0, 2.0, 5.0])


def test_differences_are_paired_by_clip() -> None:
    ours = {"a": 21.0, "b": 31.0, "c": 5.0, "d": INF}
    theirs = {"b": 30.0, "a": 20.0, "d": 7.0, "e": 1.0}
    summary = difference(ours, theirs)
    assert (summary.mean, summary.low, summary.high, summary.clips) == (1.0, 1.0, 1.0, 2)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12))
def test_the_interval_lies_within_the_values_and_around_their_mean(values: list[float]) -> None:
    summary = summarise(values)
    slack = 1e-9 * max(1, *map(abs, values))
    assert min(values) - slack <= summary.low <= summary.high <= max(values) + slack
