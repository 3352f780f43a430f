"""Slopes of results on drivers: faces made to measure, and slopes that are known."""

from typing import Any

import numpy as np
import pytest

from faceanim_cli.evaluation.landmark_metrics import MEASURES, expression_measures
from faceanim_cli.evaluation.statistics import pooled_slopes

REST = {
    **{"mouth_open": 0.2, "mouth_width": 0.6, "lids": 0.4, "brows": 0.2},
    **{"gaze_x": 0.05, "gaze_y": -0.02, "yaw": 0.45, "pitch": 0.35, "roll": 0.1},
}


def face(**measures: float) -> np.ndarray:
    """(70, 2) pixels of a face with these measures; the outer eye corners are 80 pixels apart."""
    m = REST | measures
    p = np.zeros((70, 2))
    p[[36, 39, 42, 45]] = [(-0.5, 0), (-0.2, 0), (0.2, 0), (0.5, 0)]
    half = 0.3 * m["lids"] / 2  # of an opening, in distances of the eyes; an eye is 0.3 wide
    for x, upper, lower in ((-0.4, 37, 41), (-0.3, 38, 40), (0.3, 43, 47), (0.4, 44, 46)):
        p[upper], p[lower] = (x, -half), (x, half)
    p[19], p[24] = (-0.4, -m["brows"]), (0.4, -m["brows"])
    p[62], p[66] = (0, 0.7), (0, 0.7 + m["mouth_open"])
    p[48], p[54] = (-m["mouth_width"] / 2, 0.7), (m["mouth_width"] / 2, 0.7)
    nose = 1.6 * m["yaw"] - 0.8
    p[0], p[16], p[30] = (-0.8, 0.3), (0.8, 0.3), (nose, 0.3)
    p[27], p[8] = (nose, 0.3 - m["pitch"]), (nose, 0.3 + 1 - m["pitch"])
    for iris, middle in ((68, -0.35), (69, 0.35)):
        p[iris] = (middle + 0.3 * m["gaze_x"], -0.3 * m["gaze_y"])
    c, s = np.cos(m["roll"]), np.sin(m["roll"])
    return p @ np.array([[c, s], [-s, c]]) * 80 + (200, 150)


def rows(driver: np.ndarray, result: np.ndarray, name: str = "mouth_open") -> list[dict[str, Any]]:
    """A clip's frames as the table of frames has them, in which one measure moves."""
    return [
        {**dict.fromkeys((*MEASURES, *(f"driver_{other}" for other in MEASURES)), 0.5)}
        | {name: y, f"driver_{name}": x}
        for x, y in zip(driver.tolist(), result.tolist(), strict=True)
    ]


def test_measures_are_those_of_the_face() -> None:
    changed = {name: value + 0.03 for name, value in REST.items()}
    found = expression_measures(np.stack([face(), face(**changed)]))
    assert found[0] == pytest.approx([REST[name] for name in MEASURES])
    assert found[1] == pytest.approx([changed[name] for name in MEASURES])


def test_without_irises_there_is_no_gaze() -> None:
    found = dict(zip(MEASURES, expression_measures(face()[None, :68])[0], strict=True))
    assert [name for name, value in found.items() if np.isnan(value)] == ["gaze_x", "gaze_y"]
    missing = np.full((1, 70, 2), np.nan)
    assert np.isnan(expression_measures(missing)).all()


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("slope", [1.0, 0.6, -0.2])
def test_a_result_that_follows_by_a_known_share_has_that_slope(name: str, slope: float) -> None:
    wave = 0.12 * np.sin(np.linspace(0, 9, 30))
    driver = expression_measures(np.stack([face(**{name: REST[name] + x}) for x in wave]))
    result = expression_measures(np.stack([face(**{name: REST[name] + 0.05 + slope * x}) for x in wave]))
    column = list(MEASURES).index(name)
    found = pooled_slopes({"clip": rows(driver[:, column], result[:, column], name)}, {"clip": "ann"})
    assert list(found) == [name]  # nothing else moves
    assert found[name].slope == pytest.approx(slope)
    assert found[name].correlation == pytest.approx(np.sign(slope))
    assert (found[name].clips, found[name].people) == (1, 1)


def test_noise_lowers_the_correlation_and_not_the_slope() -> None:
    x = np.tile([-0.1, -0.1, 0.1, 0.1], 5)
    noise = np.tile([-0.05, 0.05], 10)  # orthogonal to x
    found = pooled_slopes({"clip": rows(x, 0.6 * x + noise)}, {"clip": "ann"})["mouth_open"]
    assert found.slope == pytest.approx(0.6)
    assert found.correlation == pytest.approx(0.06 / np.hypot(0.06, 0.05))


def test_each_clip_counts_from_its_own_mean_and_by_how_much_its_driver_moves() -> None:
    x = np.tile([-0.1, 0.1], 10)
    clips = {"a": rows(x + 1, 0.5 * x - 3), "b": rows(2 * x - 5, 2 * x + 7)}
    found = pooled_slopes(clips, {"a": "ann", "b": "bob"})["mouth_open"]
    assert found.slope == pytest.approx((0.5 * 1 + 1 * 4) / 5)  # weights: squares of 0.1 and 0.2
    assert (found.low, found.high) == (pytest.approx(0.5), pytest.approx(1.0))  # one of the two, twice


def test_still_drivers_short_clips_and_lost_faces_are_left_out() -> None:
    x = np.tile([-0.1, 0.1], 10)
    lost = rows(x, 0.6 * x)
    for row in lost[:10]:
        row["mouth_open"] = np.nan
    clips = {
        "still": rows(0.29 * x, x),  # a standard deviation of 0.029, just below the least
        "short": rows(x[:8], x[:8]),
        "lost": lost,
        "blind": rows(x, np.full(20, np.nan)),
    }
    people = dict.fromkeys(clips, "ann")
    assert pooled_slopes(clips, people)["mouth_open"].clips == 1
    assert pooled_slopes(clips, people)["mouth_open"].slope == pytest.approx(0.6)
    del clips["lost"]
    assert pooled_slopes(clips, people) == {}


def test_clips_of_one_person_are_drawn_together() -> None:
    x = np.tile([-0.1, 0.1], 10)
    clips = {
        f"{person}{i}": rows(x, slope * x) for person, slope in (("a", 0.2), ("b", 0.6)) for i in range(20)
    }
    together = pooled_slopes(clips, {clip: clip[0] for clip in clips})["mouth_open"]
    apart = pooled_slopes(clips, {clip: clip for clip in clips})["mouth_open"]
    assert together.slope == apart.slope == pytest.approx(0.4)
    assert (together.low, together.high) == (pytest.approx(0.2), pytest.approx(0.6))  # two people tell little
    assert 0.3 < apart.low < apart.high < 0.5
    assert (together.clips, together.people) == (40, 2)
