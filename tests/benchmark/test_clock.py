"""Work and time of parts of a network, against sums done by hand."""

import copy
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import nn

from faceanim_cli.benchmark.cases import Timing
from faceanim_cli.benchmark.clock import StageClock, count_macs
from faceanim_cli.benchmark.peak import convolution_peak
from faceanim_models.blocks import ConvBlock, EnlargingBlock, ResidualBlock, fold_batch_norms
from faceanim_models.fused_convolutions import can_fuse, fuse_convolutions

CPU = torch.device("cpu")


class Worker(nn.Module):
    """Takes so many seconds of a clock that stands still otherwise."""

    now = 100.0

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Worker.now += self.seconds
        return x


def test_each_stage_is_charged_for_all_its_calls_and_for_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: Worker.now)
    slow, fast, other = Worker(4.0), Worker(1.0), Worker(16.0)
    clock = StageClock({"slow": (slow,), "fast": (fast,)}, CPU)
    x = torch.zeros(1)
    slow(x)  # not running yet
    with clock.running():
        for module in (slow, fast, other, fast):
            module(x)
    slow(x)  # not running any more
    assert clock.milliseconds() == {"slow": 4000.0, "fast": 2000.0}


def test_what_the_modules_of_a_stage_take_is_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: Worker.now)
    first, second, other = Worker(4.0), Worker(1.0), Worker(16.0)
    clock, x = StageClock({"both": (first, second), "other": (other,)}, CPU), torch.zeros(1)
    with clock.running():
        for module in (first, other, second):
            module(x)
    assert clock.milliseconds() == {"both": 5000.0, "other": 16000.0}


def test_a_stage_that_two_threads_work_on_at_once_takes_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = threading.local()
    monkeypatch.setattr(time, "perf_counter", lambda: clocks.now)

    class Slow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            together.wait(10)  # both are inside
            clocks.now += float(x)
            return x

    def work(seconds: float) -> None:
        clocks.now = 0.0
        slow(torch.tensor(seconds))

    together, slow = threading.Barrier(2), Slow()
    clock = StageClock({"slow": (slow,), "idle": (nn.Identity(),)}, CPU)
    with clock.running(), ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (2.0, 4.0)))
    assert clock.milliseconds() == {"slow": 3000.0, "idle": 0.0}


def test_macs_are_those_of_the_stages_alone() -> None:
    conv, other = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
    macs = count_macs({"conv": (conv,)}, lambda: other(conv(torch.zeros(2, 3, 16, 16))))
    assert macs == 2 * 16 * 16 * 8 * 3 * 9  # batch, pixels, out, in, kernel


@pytest.mark.skipif(not can_fuse(torch.float32), reason="this torch cannot fuse convolutions")
def test_macs_of_fused_convolutions_are_counted_too() -> None:
    plain = fold_batch_norms(nn.Sequential(ResidualBlock(8), ConvBlock(8, 4, stride=2), EnlargingBlock(4, 6)))
    x = torch.zeros(2, 8, 16, 16)
    networks = plain, fuse_convolutions(copy.deepcopy(plain))
    with torch.inference_mode():
        networks[1](x)  # the first call computes twice
        macs = [count_macs({"all": (network,)}, partial(network, x)) for network in networks]
    residual, shrinking = 2 * 16 * 16 * 8 * 8 * 9, 8 * 8 * 8 * 4 * 9
    enlarging = 8 * 8 * 4 * 6 * 16  # of each pixel before, 4 x 4 after
    assert macs == [2 * (residual + shrinking + enlarging)] * 2


@pytest.mark.parametrize(
    ("values", "median", "spread"),
    [([7.0], 7.0, 0.0), ([1.0, 2.0, 3.0, 4.0, 50.0], 3.0, 2.0), ([4.0, 2.0], 3.0, 1.0)],
)
def test_timings_do_not_mind_one_slow_round(values: list[float], median: float, spread: float) -> None:
    assert Timing.of(values) == Timing(median, spread)


def test_the_peak_is_a_rate_that_machines_have() -> None:
    assert 0.1 < convolution_peak(torch.float32, CPU) < 1e6  # GFLOP/s
