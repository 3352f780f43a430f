"""The learning rate's schedule, and the moving average of the weights."""

import pytest
import torch

from faceanim_cli.training.optim import Schedule, learning_rate_factor, moving_average
from faceanim_cli.training.settings import RunSettings
from tests.training.conftest import state_of


class TestMovingAverage:
    @pytest.mark.parametrize(("count", "share"), [(1000, 0.1), (0, 0.9)])  # short at first, then 1 - decay
    def test_goes_a_share_of_the_way(self, count, share):
        mean, value = torch.tensor([2.0]), torch.tensor([3.0])
        moving_average(0.9)([mean], [value], count)
        assert mean.item() == pytest.approx(2 + share)
        assert value.item() == 3

    def test_counters_are_taken_over(self):
        mean, value = torch.tensor(2), torch.tensor(300)
        moving_average(0.9)([mean], [value], 50)
        assert mean.item() == 300


class TestLearningRate:
    def test_falls_from_one_to_a_fiftieth(self):
        assert learning_rate_factor(0.0) == pytest.approx(1.0)
        assert learning_rate_factor(0.5) == pytest.approx(0.51)
        assert learning_rate_factor(1.0) == pytest.approx(0.02)
        rates = [learning_rate_factor(i / 20) for i in range(21)]
        assert rates == sorted(rates, reverse=True)

    @pytest.mark.parametrize(("progress", "factor"), [(-1.0, 1.0), (3.0, 0.02)])
    def test_stays_within_its_ends(self, progress, factor):
        assert learning_rate_factor(progress) == pytest.approx(factor)

    def test_warms_up_sooner_in_a_short_run(self, tmp_path):
        def rate(step, max_steps):
            settings = RunSettings(tmp_path, tmp_path, learning_rate=1.0, warm_up=200, max_steps=max_steps)
            return Schedule(settings).rate(step, step / max_steps)

        assert rate(99, 100_000) == pytest.approx(0.5, rel=1e-4)
        assert rate(10, 400) == pytest.approx(0.5, rel=0.01)  # of 20 steps, a twentieth of the run
        assert rate(40, 400) == pytest.approx(learning_rate_factor(0.1))

    def test_warms_up(self, run, tmp_path):
        run(max_steps=1, learning_rate=1e-3, warm_up=100)
        weights, scalars = state_of(tmp_path / "run")["model optimizer"]["param_groups"]
        assert weights["lr"] == pytest.approx(1e-5)
        assert scalars["lr"] == pytest.approx(20e-5)
