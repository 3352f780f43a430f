"""Numbers as text."""

import math

import pytest

from faceanim_cli.evaluation.metrics import METRICS
from faceanim_cli.evaluation.report import interval_text, number
from faceanim_cli.evaluation.statistics import Summary

PSNR = METRICS["psnr"].columns[0]  # two decimals


@pytest.mark.parametrize(
    ("value", "plain", "signed"),
    [
        (1.234, "1.23", "+1.23"),
        (-1.235, "-1.24", "-1.24"),
        (0.004, "0.00", "0.00"),
        (-1e-12, "0.00", "0.00"),  # what rounding leaves of two equal scores
        (-0.0, "0.00", "0.00"),
        (0.006, "0.01", "+0.01"),
        (-0.006, "-0.01", "-0.01"),
        (math.inf, "inf", "+inf"),
        (math.nan, "-", "-"),
    ],
)
def test_what_rounds_to_zero_has_no_sign(value: float, plain: str, signed: str) -> None:
    assert number(value, 2) == plain
    assert number(value, 2, signed=True) == signed


def test_intervals() -> None:
    assert interval_text(Summary(22.9, 22.104, 23.706, 8, 8), PSNR) == "22.90 [22.10, 23.71]"
    assert interval_text(Summary(0.31, -0.001, 0.64, 8, 8), PSNR, signed=True) == "+0.31 [0.00, +0.64]"
    assert interval_text(Summary(3.0, math.nan, math.nan, 1, 1), PSNR) == "3.00"
    assert interval_text(Summary(*[math.nan] * 3, 0, 0), PSNR) == interval_text(None, PSNR) == "-"
