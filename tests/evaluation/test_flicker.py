"""Steadiness: known changes, known motion."""

import numpy as np
import pytest

from faceanim_cli.evaluation.flicker import flicker, flow_from_before, warping_error
from faceanim_cli.evaluation.pictures import as_unit


def flat(level: float) -> np.ndarray:
    return np.full((16, 16, 3), level)


def test_flicker_is_the_change_that_the_truth_does_not_have() -> None:
    # The result brightens by 0.3 where the truth brightens by 0.1.
    assert flicker(flat(0.2), flat(0.5), flat(0.4), flat(0.5)) == pytest.approx(0.2)
    # A constant error does not flicker.
    assert flicker(flat(0.2), flat(0.3), flat(0.4), flat(0.5)) == pytest.approx(0, abs=1e-12)
    # 8 bits: levels of 255ths.
    frames = [np.full((4, 4, 3), level, np.uint8) for level in (0, 51, 0, 0)]
    assert flicker(*frames) == pytest.approx(0.2)


def test_flow_finds_a_shift_and_what_came_into_view(astronaut: np.ndarray) -> None:
    before = astronaut[100:228, 150:278]
    frame = astronaut[100:228, 146:274]  # everything moves right by 4 pixels
    flow = flow_from_before(before, frame)
    y, x = np.indices((128, 128), dtype=float)
    inner = np.s_[24:-24, 24:-24]
    assert np.median(np.abs(flow.origin[..., 0] - (x - 4))[inner]) < 0.25
    assert np.median(np.abs(flow.origin[..., 1] - y)[inner]) < 0.25
    assert flow.seen[inner].mean() > 0.9
    assert not flow.seen[:, :2].any()  # it was outside the frame before


def test_warping_error_follows_the_motion(astronaut: np.ndarray) -> None:
    before, frame = astronaut[100:228, 150:278], astronaut[100:228, 146:274]
    flow = flow_from_before(before, frame)
    steady = warping_error(before, frame, flow)
    frozen = warping_error(before, before, flow)
    assert steady < 0.001
    assert frozen > 10 * steady
    # A result that brightens by 0.1 while it follows: the mean square of just that.
    brighter = np.clip(as_unit(before) * 0.5 + 0.2, 0, 1), np.clip(as_unit(frame) * 0.5 + 0.3, 0, 1)
    assert warping_error(*brighter, flow) == pytest.approx(0.01, abs=0.001)


def test_nothing_seen_is_no_number() -> None:
    flow = flow_from_before(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 3), np.uint8))
    blind = type(flow)(flow.origin, np.zeros_like(flow.seen))
    assert np.isnan(warping_error(flat(0), flat(1), blind))
