"""Smoothing against noise and motion made by hand."""

import numpy as np
import pytest

from faceanim_cli.motion.one_euro import OneEuro


def test_a_still_driver_jitters_half_as_much_or_less() -> None:
    still = 0.3 + 0.002 * np.random.default_rng(0).standard_normal((300, 12, 2))
    steady = OneEuro(1)(still)
    assert np.diff(steady, axis=0)[5:].std() < 0.5 * np.diff(still, axis=0)[5:].std()


@pytest.mark.parametrize("amplitude", [0.1, 0.3])
def test_a_moving_head_lags_less_than_a_frame(amplitude: float) -> None:
    time = np.arange(-2, 200)
    path = amplitude * np.sin(2 * np.pi * time / 40)  # a nod every 1.6 seconds
    steady = OneEuro(1)(np.repeat(path[:, None, None], 2, axis=2))[:, 0, 0]
    late = [
        np.abs(steady[60:] - amplitude * np.sin(2 * np.pi * (time[60:] - d) / 40)).mean() for d in (0, 1, 2)
    ]
    assert np.argmin(late) < 2
    rates = np.linspace(0, 2, 41)
    fits = [np.abs(steady[60:] - amplitude * np.sin(2 * np.pi * (time[60:] - d) / 40)).mean() for d in rates]
    assert rates[int(np.argmin(fits))] < 1


def test_none_is_no_filter_and_batches_do_not_matter() -> None:
    values = np.random.default_rng(0).standard_normal((9, 3, 2))
    np.testing.assert_allclose(OneEuro(0)(values), values)
    whole, parts = OneEuro(0.7)(values), OneEuro(0.7)
    np.testing.assert_allclose(np.concatenate([parts(values[:4]), parts(values[4:])]), whole)
