"""Angles of a head that was turned by known angles, and expressions that were made by hand."""

import numpy as np
import pytest

from faceanim_cli.data.landmarks import DENSE_ANCHORS, PAPER_ANCHORS, anchored_keypoints
from faceanim_cli.evaluation.landmark_metrics import expression_change, expression_points, head_angles
from faceanim_cli.motion.head_model import HEAD

EACH = tuple((i,) for i in range(68))


def turned_head(yaw: float, pitch: float, roll: float, scale: float = 80.0) -> np.ndarray:
    """(68, 2) pixels; the lids lie between the eyes' corners."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    points = HEAD[:68].copy()
    for eye, corners in ((range(37, 42), (36, 39)), (range(43, 48), (42, 45))):
        for i in set(eye) - set(corners):
            points[i] = (HEAD[corners[0]] + HEAD[corners[1]]) / 2
    return (points @ (about_z @ about_x @ about_y).T)[:, :2] * scale + (120, 90)


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (0, 15, 0), (0, 0, -20), (-25, 10, 15)])
@pytest.mark.parametrize("anchors", [EACH, DENSE_ANCHORS, PAPER_ANCHORS])
def test_known_angles_come_back(angles: tuple[float, ...], anchors: tuple[tuple[int, ...], ...]) -> None:
    keypoints = anchored_keypoints(turned_head(*angles), anchors)
    assert head_angles(keypoints, anchors) == pytest.approx(angles, abs=1e-6)


def test_signs_are_what_the_docstring_says() -> None:
    nose = turned_head(20, 0, 0)[30] - turned_head(0, 0, 0)[30]
    assert nose[0] > 5  # towards the picture's right
    assert (turned_head(0, 20, 0)[30] - turned_head(0, 0, 0)[30])[1] > 5  # nodding down
    left, right = turned_head(0, 0, 20)[[36, 45]]
    assert right[1] > left[1]  # clockwise


def test_unknown_points_have_no_angles() -> None:
    assert np.isnan(head_angles(np.zeros((4, 10, 2)), ())).all()
    keypoints = anchored_keypoints(np.stack([turned_head(0, 0, 0), np.full((68, 2), np.nan)]), EACH)
    assert np.isnan(head_angles(keypoints, EACH)).tolist() == [[False] * 3, [True] * 3]


@pytest.mark.parametrize("anchors", [EACH, DENSE_ANCHORS, PAPER_ANCHORS])
def test_a_head_that_only_moves_has_no_expression(anchors: tuple[tuple[int, ...], ...]) -> None:
    rest = anchored_keypoints(np.random.default_rng(0).normal(size=(68, 2)), anchors)
    c, s = np.cos(0.5), np.sin(0.5)
    change = expression_change(rest @ np.array([[c, s], [-s, c]]) * 0.7 + 3, rest, anchors)
    assert len(change) == len(expression_points(anchors)) > 5
    assert change == pytest.approx(0, abs=1e-9)
    assert np.isnan(expression_change(0 * rest, 0 * rest, anchors)).all()  # all in one point


def test_expression_is_what_the_head_does_not_explain() -> None:
    rest = turned_head(0, 0, 0)
    rest[8] += (0, 60)
    talking = rest.copy()
    talking[57] += (0, 8)  # the lower lip, by a tenth of the eye distance of 80
    c, s = np.cos(0.3), np.sin(0.3)
    moved = 1.4 * talking @ np.array([[c, s], [-s, c]]) + (13, -7)  # and the head tilts and comes nearer
    change = expression_change(moved[None], rest, EACH)[0]
    lip = expression_points(EACH).index(57)
    assert change[lip] == pytest.approx([0, 0.1], abs=1e-9)
    assert np.delete(change, lip, axis=0) == pytest.approx(np.zeros((len(change) - 1, 2)), abs=1e-9)
