"""Pupils that are moved in a drawn face: by as much as asked, within their lids, and nothing else."""

import cv2
import numpy as np
import pytest

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.gaze import move_pupils
from faceanim_cli.data.landmarks import DENSE_ANCHORS
from faceanim_cli.data.pairs import Augmentation, PairDataset
from tests.data.conftest import face_landmarks

SCALE, CENTRE = 90.0, (120, 110)
EYES = (slice(36, 42), slice(42, 48))


def looking_face(scale=SCALE, opening=1.0, tilt=0.0):
    """A frame with white eyes and round black irises on noisy skin, its landmarks (80, 2), where eyes are."""
    face = np.full((80, 2), np.nan)
    face[:68] = face_landmarks()
    for eye, pupil in zip(EYES, (68, 69), strict=True):
        middle = face[eye].mean(0)
        face[eye, 1] = middle[1] + opening * (face[eye, 1] - middle[1]) * 1.4
        face[pupil] = middle
    angle = np.deg2rad(tilt)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = scale * face @ turn.T + CENTRE
    frame = np.random.default_rng(0).integers(100, 140, (220, 240, 3), np.uint8)
    eyes = np.zeros(frame.shape[:2], np.uint8)
    for eye in EYES:
        cv2.fillPoly(eyes, [np.round(points[eye] * 8).astype(np.int32)], 255, shift=3)
    iris = np.zeros_like(eyes)
    for pupil in (68, 69):
        cv2.circle(
            iris, tuple(np.round(points[pupil] * 8).astype(int)), round(8 * 0.05 * scale), 255, -1, shift=3
        )
    frame[eyes > 0] = 240
    frame[(eyes > 0) & (iris > 0)] = 10
    return frame, points, eyes


def irises(frame, points):
    """Centres of what is dark, by eye."""
    found = []
    for eye in EYES:
        (x0, y0), (x1, y1) = np.floor(points[eye].min(0)).astype(int), np.ceil(points[eye].max(0)).astype(int)
        dark = np.clip(100.0 - frame[y0:y1, x0:x1].mean(-1), 0, None)
        ys, xs = np.mgrid[y0:y1, x0:x1]
        found.append((np.average(xs, weights=dark), np.average(ys, weights=dark)))
    return np.array(found)


@pytest.mark.parametrize("tilt", [0, 20])
@pytest.mark.parametrize(("along", "down"), [(0.15, 0.0), (-0.2, 0.0), (0.1, 0.04), (0.0, 0.0)])
def test_irises_move_as_told_and_nothing_outside_the_lids(along, down, tilt):
    frame, points, eyes = looking_face(tilt=tilt)
    before = frame.copy()
    moved, landmarks = move_pupils(frame, points, along, down)
    assert np.array_equal(frame, before)
    assert np.array_equal(moved[eyes == 0], frame[eyes == 0])
    axis = points[39] - points[36]  # as long as the eye is wide
    wanted = np.stack([along * axis + down * np.array([-axis[1], axis[0]])] * 2)
    np.testing.assert_allclose(landmarks[[68, 69]] - points[[68, 69]], wanted, atol=1e-9)
    assert np.array_equal(landmarks[:68], points[:68])
    np.testing.assert_allclose(irises(moved, points) - irises(frame, points), wanted, atol=0.8)
    if not (along or down):
        assert np.array_equal(moved, frame)


@pytest.mark.parametrize("drawn", [{"opening": 0.3}, {"scale": 20.0}], ids=["closed", "tiny"])
def test_eyes_that_show_no_iris_are_left_alone(drawn):
    frame, points, _ = looking_face(**drawn)
    assert move_pupils(frame, points, 0.1, 0) is None


def test_unknown_pupils_corners_and_eyes_beside_the_frame_are_left_alone():
    frame, points, _ = looking_face()
    unknown = points.copy()
    unknown[69] = np.nan
    assert move_pupils(frame, unknown, 0.1, 0) is None
    assert move_pupils(frame, points, 0.4, 0) is None
    assert move_pupils(frame, points - (80, 0), 0.1, 0) is None


def test_pairs_look_elsewhere_only_where_pupils_are_keypoints():
    frame, points, _ = looking_face()
    clip = Clip("c", "p", frame[None], points[None].astype(np.float32))  # one frame: all else stays the same
    anchors = (*DENSE_ANCHORS, (68,), (69,))
    only_gaze = Augmentation(**{**vars(Augmentation.none()), "gaze": 0.4})
    moved = []
    for item in (PairDataset([clip], anchors, 64, 200, augmentation=only_gaze)[i] for i in range(200)):
        same = (item["source_points"] == item["driving_points"]).all(-1)
        assert same[:29].all()
        assert same[29] == same[30]
        assert bool(same[29]) == bool((item["source"] == item["driving"]).all())
        moved.append(not same[29])
    assert np.mean(moved) == pytest.approx(0.4, abs=0.09)
    for item in (PairDataset([clip], DENSE_ANCHORS, 64, 9, augmentation=only_gaze)[i] for i in range(9)):
        assert (item["source"] == item["driving"]).all()
