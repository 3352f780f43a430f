"""Tracking on made-up detections: misses, jumps, false boxes, passers-by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanim_cli.errors import NoFaceError, UnreadableInputError
from faceanim_cli.faces.framing import Box
from faceanim_cli.faces.tracking import FaceTrack, track_face

FACE = Box(200, 100, 90, 90)
SHIRT = Box(400, 300, 140, 140)


class FakeDetector:
    """Answers from a list: the frame is a 1 x 1 image of the sample's number."""

    def __init__(self, boxes_by_sample):
        self.boxes_by_sample = boxes_by_sample

    def detect(self, image):
        return self.boxes_by_sample[int(image[0, 0, 0])]


def track(boxes_by_sample, step=5, name="driver.mp4"):
    frames = ((sample * step, np.full((1, 1, 3), sample, np.uint8)) for sample in range(len(boxes_by_sample)))
    return track_face(frames, FakeDetector(boxes_by_sample), name)


def moved(box, dx=0.0, dy=0.0):
    return Box(box.x + dx, box.y + dy, box.w, box.h)


def close(a, b, tolerance):
    return max(abs(a.x - b.x), abs(a.y - b.y), abs(a.w - b.w), abs(a.h - b.h)) <= tolerance


def test_a_still_face():
    result = track([[FACE]] * 6)
    assert result.boxes == (FACE,) * 6
    assert result.indices == (0, 5, 10, 15, 20, 25)
    assert result.misses == 0


def test_box_between_samples_is_interpolated_and_held_at_the_ends():
    result = FaceTrack((10, 20), (Box(0, 0, 50, 50), Box(10, 20, 70, 70)), 0)
    assert result.box_at(15) == Box(5, 10, 60, 60)
    assert result.box_at(0) == Box(0, 0, 50, 50)
    assert result.box_at(99) == Box(10, 20, 70, 70)


def test_misses_are_bridged():
    path = [moved(FACE, dx=10 * i) for i in range(12)]
    seen = [[] if i in (0, 4, 5, 11) else [path[i]] for i in range(12)]
    result = track(seen)
    assert result.misses == 4
    assert close(result.box_at(5 * 4), path[4], 1e-6)
    assert close(result.box_at(0), path[1], 1e-6)


def test_a_steady_motion_does_not_lag():
    path = [moved(FACE, dx=12 * i, dy=-5 * i) for i in range(15)]
    result = track([[box] for box in path])
    assert result.misses == 0
    assert all(close(result.box_at(5 * i), box, 1e-6) for i, box in enumerate(path))


def test_jitter_is_smoothed():
    rng = np.random.default_rng(0)
    noisy = [FACE.scaled(float(rng.uniform(0.9, 1.1))) for _ in range(60)]
    noisy = [moved(box, *rng.uniform(-5, 5, 2)) for box in noisy]
    result = track([[box] for box in noisy], step=3)
    assert np.std([b.w for b in result.boxes]) < 0.7 * np.std([b.w for b in noisy])


@pytest.mark.parametrize("where", [0, 1, 4, 9])
def test_a_false_box_in_place_of_the_face_is_left_out(where):
    seen = [[FACE] for _ in range(10)]
    seen[where] = [SHIRT]
    result = track(seen)
    assert result.misses == 1
    assert set(result.boxes) == {FACE}


def test_a_larger_false_box_beside_the_face_in_the_first_samples_does_not_win():
    seen = [[SHIRT, FACE], [SHIRT, FACE]] + [[FACE] for _ in range(8)]
    result = track(seen)
    assert result.misses == 0
    assert set(result.boxes) == {FACE}


@pytest.mark.parametrize("false_box", [FACE.scaled(1.5), moved(FACE, dx=50), moved(FACE, dy=-45)])
@pytest.mark.parametrize("where", [0, 1, 4, 9])
def test_an_outlier_near_the_face_is_thrown_out(false_box, where):
    seen = [[FACE] for _ in range(10)]
    seen[where] = [false_box]
    result = track(seen)
    assert close(result.box_at(where * 5), FACE, 1e-6)


def test_of_two_people_the_nearer_one_is_followed_even_when_they_meet():
    near = [moved(FACE, dx=8 * i) for i in range(20)]
    far = [Box(500 - 8 * i, 120, 60, 60) for i in range(20)]
    seen = [[b, a] if i % 2 else [a, b] for i, (a, b) in enumerate(zip(near, far, strict=True))]
    result = track(seen)
    assert result.misses == 0
    assert all(close(result.box_at(5 * i), box, 9) for i, box in enumerate(near))


def test_a_passer_by_does_not_take_over():
    seen = [[FACE] for _ in range(20)]
    for i in range(5, 9):
        seen[i] = [SHIRT, FACE]
    assert set(track(seen).boxes) == {FACE}


def test_somebody_who_comes_back_elsewhere_is_taken_up_again():
    back = moved(FACE, dx=300)
    result = track([[FACE]] * 6 + [[]] * 12 + [[back]] * 6)
    assert result.misses == 12
    assert result.box_at(5 * 23) == back
    crop = result.clip_crop((800, 480))
    assert crop.x <= FACE.x and crop.x + crop.w >= back.x + back.w


def test_one_sample_is_enough():
    assert track([[], [FACE], []]).box_at(7) == FACE


def test_no_face_anywhere_says_which_driver_and_what_to_do():
    with pytest.raises(NoFaceError, match=r"driver\.mp4.*--crop") as caught:
        track([[], [], []])
    assert caught.value.exit_code == 3


def test_no_frames_and_disorder_are_errors():
    with pytest.raises(UnreadableInputError, match=r"driver\.mp4"):
        track([])
    frame = np.zeros((1, 1, 3), np.uint8)
    with pytest.raises(ValueError, match="increase"):
        track_face([(3, frame), (3, frame)], FakeDetector([[FACE]]))


def test_frames_are_taken_one_at_a_time():
    taken = []

    def frames():
        for sample in range(4):
            assert len(taken) == sample  # the one before has been looked at already
            yield sample, np.full((1, 1, 3), sample, np.uint8)

    class Recorder(FakeDetector):
        def detect(self, image):
            taken.append(int(image[0, 0, 0]))
            return super().detect(image)

    track_face(frames(), Recorder([[FACE]] * 4))
    assert taken == [0, 1, 2, 3]


boxes = st.builds(
    lambda x, y, side: Box(x, y, side, side), st.floats(0, 500), st.floats(0, 500), st.floats(10, 200)
)


@settings(deadline=None)
@given(st.lists(st.lists(boxes, max_size=3), min_size=1, max_size=12))
def test_any_detections_give_a_sane_track(seen):
    if not any(seen):
        with pytest.raises(NoFaceError):
            track(seen)
        return
    result = track(seen)
    assert len(result.boxes) == len(result.indices) >= 1
    assert len(result.boxes) + result.misses == len(seen)
    assert list(result.indices) == sorted(set(result.indices))
    assert all(box.w > 0 and box.h > 0 for box in result.boxes)
