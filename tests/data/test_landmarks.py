"""The 68 landmarks: what they mean, against a face drawn by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.data.landmarks import (
    DENSE_ANCHORS,
    MIRROR,
    NUM_POINTS,
    PAPER_ANCHORS,
    anchored_keypoints,
    expression_motion,
    expressive,
    gaze_motion,
    mirrored,
    read_landmarks,
)
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.motion.head_model import HEAD
from faceanim_cli.motion.landmark_lifting import landmark_box
from tests.data.conftest import face_landmarks

FACEDATA = Path(__file__).parents[3] / "shared" / "facedata"


def test_a_mirrored_face_is_the_face_with_its_landmarks_swapped():
    face = face_landmarks()
    np.testing.assert_allclose(mirrored(face), face * [-1, 1], atol=1e-12)


def test_mirroring_twice_changes_nothing():
    assert sorted(MIRROR) == list(range(NUM_POINTS))
    assert [MIRROR[MIRROR[i]] for i in range(NUM_POINTS)] == list(range(NUM_POINTS))


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


def test_pupils_are_expressive_and_keypoints_nobody_knows_are_nan():
    anchors = (*PAPER_ANCHORS, (68,), (69,))
    assert expressive(anchors) == (0, 1, 5, 6, 7, 8, 10, 11)
    points = np.full((80, 2), np.nan)
    points[:68], points[69] = face_landmarks(), (0.4, -0.25)
    found = anchored_keypoints(points, anchors)
    np.testing.assert_allclose(found[:10], anchored_keypoints(face_landmarks(), PAPER_ANCHORS))
    assert np.isnan(found[10]).all()
    np.testing.assert_allclose(found[11], (0.4, -0.25))
    assert landmark_box(points) == landmark_box(face_landmarks())


@pytest.mark.parametrize(
    ("left", "right"), [(68, 69), (70, 74), (71, 73), (72, 72), (75, 76), (77, 77), (78, 79)]
)
def test_mirror_of_the_landmarks_that_only_some_data_have(left, right):
    assert (MIRROR[left], MIRROR[right]) == (right, left)


class TestFiles:
    """Of a face 40 pixels wide in the middle of frames of 100x80."""

    FRAME = (100, 80)

    @pytest.fixture
    def faces(self):
        return np.stack([20 * face_landmarks() + (50, 35 + n) for n in range(6)])

    def read(self, tmp_path, points, size=FRAME, **others):
        for folder, array in {"landmarks": points, **others}.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            np.save(tmp_path / folder / "a.npy", array)
        return read_landmarks(tmp_path / "landmarks" / "a.npy", size)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
    def test_the_68_alone(self, tmp_path, faces, dtype):
        points = self.read(tmp_path, faces.astype(dtype))
        assert (points.shape, points.dtype) == ((6, 80, 2), np.float32)
        np.testing.assert_allclose(points[:, :68], faces.astype(dtype), rtol=1e-6)
        assert np.isnan(points[:, 68:]).all()

    @pytest.mark.parametrize(
        "row",
        [
            np.zeros((68, 2)),
            np.full((68, 2), 40.0),
            20 * face_landmarks() + (500, 35),
            20 * face_landmarks() + (50, -300),
            np.full((68, 2), np.inf),
            1e30 * face_landmarks(),
            np.stack((np.arange(68.0), np.full(68, 9.0)), axis=1),
        ],
        ids=["zeros", "one point", "right of the frame", "above", "infinite", "huge", "a line"],
    )
    def test_rows_that_are_no_face_are_missing_and_counted(self, tmp_path, faces, row, caplog):
        faces[2] = faces[4] = row
        points = self.read(tmp_path, faces)
        assert np.isnan(points[[2, 4]]).all()
        np.testing.assert_allclose(points[[0, 1, 3, 5], :68], faces[[0, 1, 3, 5]], rtol=1e-6)
        assert "2 of 6 rows are no face" in caplog.text

    def test_rows_of_nan_are_missing_without_a_word(self, tmp_path, faces, caplog):
        faces[1], faces[2, 30, 0] = np.nan, np.nan
        points = self.read(tmp_path, faces)
        assert np.isnan(points[1]).all()
        assert np.isnan(points[2, 30, 0])
        assert not caplog.text

    def test_a_face_that_leaves_the_frame_counts(self, tmp_path, faces):
        points = self.read(tmp_path, faces + np.array((40, 0)))
        assert np.isfinite(points[:, :68]).all()

    def test_the_12_more_and_which_pupils_are_trusted(self, tmp_path, faces):
        extra = faces[:, [37, 43, 18, 19, 27, 24, 25, 3, 13, 27, 0, 16]].copy()
        extra[3, 5] = np.nan
        extra[4] = 0
        seen = np.ones((6, 2), bool)
        seen[1, 0] = False
        points = self.read(tmp_path, faces, landmarks_extra=extra, iris_ok=seen)
        np.testing.assert_allclose(points[0, 68:], extra[0], rtol=1e-6)
        assert np.isnan(points[1, 68]).all()
        assert np.isfinite(points[1, 69:]).all()
        assert np.isnan(points[3, 73]).all()
        assert np.isfinite(points[:, :68]).all()
        assert np.isnan(points[4, 68:]).all()

    def test_one_file_may_have_all_80(self, tmp_path, faces):
        every = np.concatenate((faces, faces[:, :12]), axis=1)
        np.testing.assert_allclose(self.read(tmp_path, every), every, rtol=1e-6)

    def test_fewer_rows_in_the_other_files(self, tmp_path, faces):
        points = self.read(tmp_path, faces, landmarks_extra=faces[:4, :12], iris_ok=np.ones((2, 2), bool))
        assert np.isfinite(points[:4]).all()
        assert np.isnan(points[4:, 68:]).all()

    @pytest.mark.parametrize(
        "wrong",
        [np.zeros((4, 5, 2)), np.zeros((4, 68)), np.zeros((4, 68, 2), complex), np.full((4, 68, 2), "x")],
        ids=["five points", "no places", "complex", "text"],
    )
    def test_what_is_no_array_of_landmarks(self, tmp_path, wrong):
        with pytest.raises(UnreadableInputError, match=r"a\.npy.*\(frames, 68, 2\)"):
            self.read(tmp_path, wrong)


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
    assert np.abs(mirrored(mean) - mean * [-1, 1]).max() < 0.05
    face = face_landmarks()
    correlation = [np.corrcoef(mean[:, axis], face[:, axis])[0, 1] for axis in (0, 1)]
    assert min(correlation) > 0.97


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
