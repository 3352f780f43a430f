"""What a face does between two frames, whatever its head does meanwhile."""

import numpy as np
import pytest

from faceanim_cli.data.landmark_motion import expression_motion, gaze_motion
from faceanim_cli.motion.head_model import HEAD
from tests.data.conftest import face_landmarks


def seen(head, yaw=0.0, roll=0.0, scale=50.0, shift=(100, 80)):
    """A head (68, 3) in the picture, angles in degrees, (1, 68, 2)."""
    a, b = np.deg2rad([yaw, roll])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    tilt = np.array([[np.cos(b), -np.sin(b)], [np.sin(b), np.cos(b)]])
    return (scale * (head @ turn.T)[:, :2] @ tilt.T + shift)[None]


def smiling(head, amount):
    moved = head.copy()
    moved[[48, 60, 54, 64], 0] += amount * np.array([-1, -1, 1, 1])
    return moved


@pytest.mark.parametrize("pose", [{"yaw": 25}, {"roll": 20, "scale": 70}, {"yaw": -30, "shift": (0, 0)}])
def test_a_head_that_moves_has_no_other_expression(pose):
    assert expression_motion(seen(HEAD), seen(HEAD, **pose)) == pytest.approx(0, abs=1e-6)
    smile = expression_motion(seen(HEAD), seen(smiling(HEAD, 0.05)))
    # 4 of the 42 points of brows, eyes and mouth
    assert smile == pytest.approx(4 * 0.05 / 42, rel=0.05)
    hidden = 1 - np.cos(np.deg2rad(pose.get("yaw", 0))) ** 2  # of what goes sideways, by the head's turn
    turned = expression_motion(seen(HEAD), seen(smiling(HEAD, 0.05), **pose))
    assert turned == pytest.approx((1 - hidden) * smile, rel=0.2)


def test_faces_unlike_the_average_are_no_expression():
    face = 30 * face_landmarks()[None]
    angle = np.deg2rad(15)
    turned = 1.2 * face @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).T + 40
    assert expression_motion(face, turned) == pytest.approx(0, abs=1e-6)


def test_gaze_is_told_in_eye_widths_whatever_the_head_does():
    face = np.concatenate((face_landmarks(), np.full((12, 2), np.nan)))[None]
    face[0, 68:70] = face_landmarks()[[[36, 39], [42, 45]]].mean(1)
    looking = face.copy()
    looking[0, 68:70, 0] += 0.1 * 0.36  # the eyes are 0.36 wide
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert gaze_motion(face, 7 * looking @ turn.T + 5) == pytest.approx(0.1)
    looking[0, 68] = np.nan
    assert gaze_motion(face, looking) == pytest.approx(0.1)
    looking[0, 69] = np.nan
    assert np.isnan(gaze_motion(face, looking))
    assert np.isnan(gaze_motion(face[:, :68], face[:, :68]))
