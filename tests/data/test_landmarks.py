"""The 68 landmarks: what they mean, against a face drawn by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.data.landmarks import (
    DENSE_ANCHORS,
    MIRROR,
    NUM_LANDMARKS,
    PAPER_ANCHORS,
    anchored_keypoints,
    expressive,
    landmark_box,
)
from tests.data.conftest import face_landmarks

FACEDATA = Path(__file__).parents[3] / "shared" / "facedata"


def test_a_mirrored_face_is_the_face_with_its_landmarks_swapped():
    face = face_landmarks()
    np.testing.assert_allclose(face[list(MIRROR)], face * [-1, 1], atol=1e-12)


def test_mirroring_twice_changes_nothing():
    assert sorted(MIRROR) == list(range(NUM_LANDMARKS))
    assert [MIRROR[MIRROR[i]] for i in range(NUM_LANDMARKS)] == list(range(NUM_LANDMARKS))


@pytest.mark.parametrize(
    ("left", "right"),
    [(0, 16), (17, 26), (21, 22), (31, 35), (36, 45), (39, 42), (37, 44), (48, 54), (60, 64)],
)
def test_mirror_swaps_left_and_right(left, right):
    assert (MIRROR[left], MIRROR[right]) == (right, left)


@pytest.mark.parametrize("middle", [8, 27, 30, 33, 51, 57, 62, 66])
def test_mirror_keeps_the_middle(middle):
    assert MIRROR[middle] == middle


@pytest.mark.parametrize("anchors", [PAPER_ANCHORS, DENSE_ANCHORS])
def test_anchors_are_closed_under_mirroring(anchors):
    # else the flipped half of the training pairs would anchor a keypoint elsewhere
    groups = {frozenset(group) for group in anchors}
    assert {frozenset(MIRROR[i] for i in group) for group in groups} == groups
    assert len(groups) == len(anchors)


def test_the_papers_ten_keypoints_lie_where_their_names_say():
    points = anchored_keypoints(face_landmarks(), PAPER_ANCHORS)
    expected = [
        *((-0.42, -0.2533), (0.42, -0.2533)),  # eyes: mean of their six points
        *((-0.5, -0.522), (0.5, -0.522)),  # brows
        *((0, 0.1), (-0.35, 0.5), (0.35, 0.5)),  # nose tip, mouth corners
        *((0, 0.41), (0, 0.65), (0, 1.1)),  # upper lip, lower lip, chin
    ]
    np.testing.assert_allclose(points, expected, atol=1e-3)


def test_dense_keypoints_tell_upper_from_lower_lids_and_lips():
    points = anchored_keypoints(face_landmarks(), DENSE_ANCHORS)
    named = dict(zip(DENSE_ANCHORS, points, strict=True))
    np.testing.assert_allclose(named[(37, 38)], (-0.42, -0.32), atol=1e-9)
    np.testing.assert_allclose(named[(40, 41)], (-0.42, -0.19), atol=1e-9)
    np.testing.assert_allclose(named[(43, 44)], (0.42, -0.32), atol=1e-9)
    np.testing.assert_allclose(named[(46, 47)], (0.42, -0.19), atol=1e-9)
    assert named[(51,)][1] < named[(62,)][1] < named[(66,)][1] < named[(57,)][1]


def test_keypoints_of_many_faces_at_once():
    faces = np.stack([face_landmarks() + shift for shift in range(6)]).reshape(2, 3, 68, 2)
    points = anchored_keypoints(faces, PAPER_ANCHORS)
    assert points.shape == (2, 3, 10, 2)
    np.testing.assert_allclose(points[1, 2], anchored_keypoints(face_landmarks() + 5, PAPER_ANCHORS))


def test_expressive_keypoints_are_those_of_eyes_and_mouth():
    assert expressive(PAPER_ANCHORS) == (0, 1, 5, 6, 7, 8)
    assert expressive(()) == ()
    # 4 eye corners, 4 lids, 2 mouth corners, 4 lips; no brow, nose or jaw
    named = [DENSE_ANCHORS[k] for k in expressive(DENSE_ANCHORS)]
    assert len(named) == 14
    assert all(36 <= i <= 67 for group in named for i in group)


def test_the_box_moves_and_grows_with_the_face():
    x, y, side = landmark_box(face_landmarks())
    assert x == pytest.approx(0, abs=1e-9)
    assert -0.58 < y < 1.1
    moved = landmark_box(3 * face_landmarks() + [5, -7])
    assert moved == pytest.approx((3 * x + 5, 3 * y - 7, 3 * side))


def test_the_box_holds_brows_eyes_nose_and_mouth():
    face = face_landmarks()
    x, y, side = landmark_box(face)
    assert (np.abs(face[17:] - [x, y]) <= side / 2).all()


@pytest.mark.skipif(not FACEDATA.is_dir(), reason="no face data beside this checkout")
def test_real_landmarks_have_the_order_that_mirror_and_anchors_assume():
    with (FACEDATA / "manifest.csv").open(newline="") as file:
        names = [Path(row["file"]).stem for row in csv.DictReader(file)]
    means = []
    for name in names[:60]:
        file = FACEDATA / "landmarks" / f"{name}.npy"
        if file.is_file():
            points = np.load(file)
            points = points[np.isfinite(points).all((1, 2))]
            size = np.ptp(points, axis=1).max(-1)[:, None, None]
            means.append(((points - points.mean(1, keepdims=True)) / size).mean(0))
    mean = np.mean(means, axis=0)  # turned heads to both sides cancel out
    assert np.abs(mean[list(MIRROR)] - mean * [-1, 1]).max() < 0.05
    face = face_landmarks()
    correlation = [np.corrcoef(mean[:, axis], face[:, axis])[0, 1] for axis in (0, 1)]
    assert min(correlation) > 0.97
