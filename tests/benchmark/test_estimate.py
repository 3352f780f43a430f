"""What is said beforehand of a benchmark's length, and what --quick leaves out."""

import re
from collections.abc import Callable

import pytest
import torch

from faceanim_cli.benchmark import estimate
from faceanim_cli.benchmark.cases import QUICK, CaseOptions
from faceanim_cli.benchmark.estimate import estimate_seconds, in_words

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that reaches 100 GFLOP/s in float32 and 400 in bfloat16, and chooses the latter."""
    peaks = {torch.float32: 100.0, torch.bfloat16: 400.0}
    monkeypatch.setattr(estimate, "convolution_peak", lambda dtype, _: peaks[dtype])
    known = {"fp32": torch.float32, "bf16": torch.bfloat16, "auto": torch.bfloat16}
    monkeypatch.setattr(estimate, "choose_precision", lambda name, _: known[name])


def test_the_estimate_counts_what_is_computed() -> None:
    same = {"sr": (False,), "sizes": (None,), "batches": (4,), "rounds": 10, "frames": 100, "device": "cpu"}
    one = CaseOptions(precisions=("fp32",), **same)
    alone = estimate_seconds(one, 0)
    # 1008 frames of 4.7 GMAC at 65 GFLOP/s, and ten rounds of a second's frames decoded, pasted, encoded
    assert alone == pytest.approx(1008 * 9.4 / 65 + 10 * 25 * 0.02)
    half = CaseOptions(precisions=("bf16", "auto"), **same)
    assert estimate_seconds(half, 0) == pytest.approx(1008 * 9.4 / 260 + 5)  # what is named twice is one
    # A clip of ten seconds is animated in the precision that auto chooses, from a cold start.
    assert estimate_seconds(one, 10) - alone == pytest.approx(5 + 250 * (9.4 / 260 + 0.02))


def test_what_is_measured_unless_sizes_are_given() -> None:
    assert CaseOptions().results == ((False, None), (False, 512), (True, None))
    assert CaseOptions(sr=(True,), sizes=(64, 96)).results == ((True, 64), (True, 96))


def test_a_quick_run_takes_a_small_part_of_a_whole_one() -> None:
    assert estimate_seconds(QUICK, 0) < 0.15 * estimate_seconds(CaseOptions(), 10)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.3, "10 seconds"), (44, "40 seconds"), (89, "90 seconds"), (100, "2 minutes")]
)
def test_a_length_in_words(seconds: float, said: str) -> None:
    assert in_words(seconds) == said


def test_quick_takes_what_is_given_besides(faceanim: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[CaseOptions, float]] = []

    def stop(options: CaseOptions, seconds: float, progress: object) -> None:
        asked.append((options, seconds))
        raise KeyboardInterrupt

    monkeypatch.setattr("faceanim_cli.benchmark.run.run_benchmark", stop)
    assert faceanim("benchmark", "--quick", "--rounds", 3, "--precision", "fp32", "--device", "cpu")[0] == 130
    code, out, err = faceanim("benchmark", "--device", "cpu")
    (quick, no_clip), (whole, clip) = asked
    assert (quick.precisions, quick.batches, quick.rounds, quick.frames, no_clip) == (
        ("fp32",),
        (8,),
        3,
        8,
        0,
    )
    assert (whole.precisions, whole.batches, whole.rounds, whole.frames, clip) == (
        ("fp32", "auto"),
        (1, 8),
        5,
        16,
        10.0,
    )
    assert re.match(r"this takes about \d+ minutes?\n|this takes about \d+ seconds\n", err)
    assert (code, out) == (130, "")
