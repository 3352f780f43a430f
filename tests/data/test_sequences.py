"""Which stretches of a video become clips: a white square on grey plays the face."""

import numpy as np
import pytest

from faceanim_cli.data.sequences import Dropped, Sequence, SequenceSettings, box_overlap, face_sequences
from faceanim_cli.faces.framing import Box

WIDTH, HEIGHT, FACE = 320, 240, 60
STEP = 5
SETTINGS = SequenceSettings(scale=1.75, min_size=64, min_frames=10)


class SquareDetector:
    """Finds the white square."""

    def detect(self, image):
        ys, xs = np.nonzero(image[..., 0] == 255)
        if not len(xs):
            return []
        return [Box(float(xs.min()), float(ys.min()), float(np.ptp(xs) + 1), float(np.ptp(ys) + 1))]


def frame(x=None, y=90, background=100, face=FACE):
    picture = np.full((HEIGHT, WIDTH, 3), background, np.uint8)
    if x is not None:
        picture[y : y + face, x : x + face] = 255
    return picture


def sequences(frames, settings=SETTINGS):
    return list(face_sequences(frames, STEP, SquareDetector(), settings))


def holds(crop, x, y=90, face=FACE):
    return crop.x <= x and crop.y <= y and x + face <= crop.x + crop.w and y + face <= crop.y + crop.h


def test_overlap_by_hand():
    assert box_overlap(Box(0, 0, 4, 4), Box(0, 0, 4, 4)) == 1
    assert box_overlap(Box(0, 0, 4, 4), Box(2, 0, 4, 4)) == pytest.approx(8 / 24)
    assert box_overlap(Box(0, 0, 4, 4), Box(5, 5, 4, 4)) == 0


def test_a_face_that_stays_is_one_clip_of_the_whole_video():
    (only,) = sequences([frame(130)] * 30)
    assert isinstance(only, Sequence)
    assert (only.start, only.stop) == (0, 30)
    assert only.crop.w == only.crop.h == pytest.approx(1.75 * FACE, abs=2)
    assert holds(only.crop, 130)


def test_a_face_that_strays_begins_a_new_clip_where_the_old_one_ended():
    places = [20 + 2 * n for n in range(90)]
    first, *others = sequences([frame(x) for x in places])
    assert others
    end = 0
    for sequence in (first, *others):
        assert sequence.start == end
        end = sequence.stop
        crop = sequence.crop
        assert crop.w == crop.h
        assert crop.x >= 0 and crop.x + crop.w <= WIDTH
        for index in sequence.track.indices:
            assert holds(crop, places[index])
    assert end == 90
    # the first box and the last of a clip still share a quarter of their joint area: 36 pixels of 60 apart
    assert places[first.stop] - places[0] >= 36
    assert places[first.track.indices[-1]] - places[0] <= 36


def test_a_hard_cut_ends_a_clip_even_if_the_face_stays():
    found = sequences([frame(130)] * 20 + [frame(130, background=10)] * 20)
    assert [(s.start, s.stop) for s in found] == [(0, 20), (20, 40)]


def test_long_clips_are_cut():
    settings = SequenceSettings(1.75, 64, 10, max_frames=25)
    found = sequences([frame(130)] * 60, settings)
    assert sum(s.stop - s.start for s in found) == 60
    assert max(s.stop - s.start for s in found) <= 25


@pytest.mark.parametrize(
    ("frames", "settings", "reason"),
    [
        ([frame(130)] * 8, SETTINGS, "too short"),
        ([frame(130)] * 20, SequenceSettings(1.75, 128, 10), "too small"),
        ([frame()] * 20, SETTINGS, "no face"),
    ],
)
def test_what_is_dropped_and_why(frames, settings, reason):
    (only,) = sequences(frames, settings)
    assert isinstance(only, Dropped)
    assert (only.start, only.stop, only.reason) == (0, len(frames), reason)


def test_a_face_that_is_gone_for_long_is_dropped_time_between_two_clips():
    found = sequences([frame(130)] * 30 + [frame()] * 60 + [frame(130)] * 30)
    kinds = [(type(item), item.start, item.stop) for item in found]
    assert kinds == [(Sequence, 0, 30), (Dropped, 30, 90), (Sequence, 90, 120)]


def test_a_face_at_the_edge_is_cut_out_inside_the_frame():
    (only,) = sequences([frame(0, y=0)] * 20)
    crop = only.crop
    assert (crop.x, crop.y) == (0, 0)
    assert holds(crop, 0, 0)
