"""Changed expressions: by as much as asked, landmarks where the picture shows them, the rest as it was."""

import cv2
import numpy as np
import pytest

from faceanim_cli.data.expressions import Expression, change_expression, random_expression
from tests.data.conftest import face_landmarks

S = 256
UNIT = (S - 1) / 2


def face(scale=0.55, tilt=0.0):
    """Landmarks (80, 2) in [-1, 1]."""
    points = face_landmarks()
    points = (points - points.mean(0)) * scale / np.ptp(points[:, 0]) * 2
    angle = np.deg2rad(tilt)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate((points @ turn.T, np.full((12, 2), np.nan))).astype(np.float32)


def dotted(points):
    """A picture with a soft dot at each of the points."""
    picture = np.zeros((S, S), np.float32)
    for x, y in (points + 1) * UNIT:
        ys, xs = np.mgrid[:S, :S]
        picture += np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 3).astype(np.float32)
    return np.stack((picture, picture, picture))


def centre(picture, about):
    """Of the dot near a point, pixels."""
    x, y = np.round((about + 1) * UNIT).astype(int)
    window = picture[0, y - 9 : y + 10, x - 9 : x + 10]
    ys, xs = np.mgrid[y - 9 : y + 10, x - 9 : x + 10]
    return np.array([np.average(xs, weights=window), np.average(ys, weights=window)])


CHANGES = [Expression(width=0.2), Expression(smile=-0.1, opening=0.2), Expression(brows=(0.1, -0.06))]


@pytest.mark.parametrize("tilt", [0, 25])
@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("marked", [(48, 54), (51, 57), (19, 24), (36, 45)])
def test_landmarks_lie_where_the_picture_shows_them(change, marked, tilt):
    landmarks = face(tilt=tilt)
    picture, moved = change_expression(dotted(landmarks[list(marked)]), landmarks, change)
    for one in marked:
        np.testing.assert_allclose(centre(picture, moved[one]), (moved[one] + 1) * UNIT, atol=0.35)
    assert np.isnan(moved[68:]).all()


def test_a_mouth_becomes_wider_and_taller_by_what_is_asked():
    landmarks = face()

    def extents(points):
        return np.ptp(points[48:60], axis=0)

    _, wider = change_expression(dotted(landmarks[48:49]), landmarks, Expression(width=0.1))
    grown = extents(wider) / extents(landmarks)
    assert 1.07 < grown[0] < 1.12 and grown[1] == pytest.approx(1, abs=0.01)
    _, taller = change_expression(dotted(landmarks[48:49]), landmarks, Expression(opening=0.1))
    grown = extents(taller) / extents(landmarks)
    assert 1.08 < grown[1] < 1.12 and grown[0] == pytest.approx(1, abs=0.01)


def test_brows_rise_and_lids_stay():
    landmarks = face()
    eyes = np.linalg.norm(landmarks[36:42].mean(0) - landmarks[42:48].mean(0))
    _, moved = change_expression(dotted(landmarks[48:49]), landmarks, Expression(brows=(0.08, 0.08)))
    risen = (landmarks - moved)[:, 1] / eyes
    np.testing.assert_allclose(risen[[19, 24]], 0.08, atol=0.015)
    assert np.abs(risen[36:48]).max() < 0.02
    assert np.abs(risen[48:68]).max() < 0.002


def test_nothing_asked_nothing_changed_and_tiny_faces_stay():
    landmarks = face()
    picture = np.random.default_rng(0).random((3, S, S), np.float32)
    same, points = change_expression(picture, landmarks, Expression())
    np.testing.assert_allclose(same, picture, atol=1e-4)
    np.testing.assert_allclose(points, landmarks, atol=1e-6)
    tiny = face(scale=0.03)
    same, points = change_expression(picture, tiny, Expression(width=0.2))
    assert same is picture and points is tiny


def test_the_largest_changes_fold_nothing():
    landmarks = face()
    ramp = np.stack([np.tile(np.arange(S, dtype=np.float32), (S, 1))] * 3)
    for seed in range(30):
        change = random_expression(np.random.default_rng(seed))
        for picture, axis in ((ramp, 1), (ramp.transpose(0, 2, 1), 0)):
            moved, _ = change_expression(np.ascontiguousarray(picture), landmarks, change)
            assert np.diff(cv2.blur(moved[0], (3, 3)), axis=axis)[4:-4, 4:-4].min() > 0


def test_changes_are_drawn_to_both_sides():
    drawn = [random_expression(np.random.default_rng(seed)) for seed in range(200)]
    widths = np.array([change.width for change in drawn])
    assert widths.min() < -0.15 and widths.max() > 0.15 and 0.2 < (widths == 0).mean() < 0.4
    brows = np.array([change.brows for change in drawn])
    assert np.corrcoef(brows.T)[0, 1] > 0.8  # mostly both
