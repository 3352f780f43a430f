"""Single frames: every one once a round, augmented as a pair's are, the same on every machine."""

import dataclasses

import numpy as np
import pytest
import torch

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.frames import FrameDataset
from faceanim_cli.data.landmarks import DENSE_ANCHORS, NUM_POINTS, anchored_keypoints
from faceanim_cli.data.pairs import Augmentation

SIZE = 32


@pytest.fixture
def clips():
    """Two clips of 3 and 2 frames; each frame is of one grey level, which tells it apart."""
    made = []
    for name, levels in (("a", (10, 20, 30)), ("b", (40, 50))):
        frames = np.stack([np.full((64, 64, 3), level, np.uint8) for level in levels])
        points = np.random.default_rng(0).uniform(20, 44, (len(levels), NUM_POINTS, 2)).astype(np.float32)
        points[:, 68:] = np.nan
        made.append(Clip(name, name, frames, points))
    return made


def levels_of(frames):
    return [round(float(item["frame"].mean()) * 255) for item in frames]


def test_every_frame_comes_once_a_round_in_another_order_each(clips):
    frames = FrameDataset(clips, DENSE_ANCHORS, SIZE, 40, augmentation=Augmentation.none())
    levels = levels_of(frames)[::2]  # the others are drawn by their expression
    rounds = [levels[i : i + 5] for i in range(0, 20, 5)]
    assert all(sorted(one) == [10, 20, 30, 40, 50] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_every_other_item_is_a_rare_expression_more_often_than_not():
    face = np.random.default_rng(0).uniform(20, 44, (NUM_POINTS, 2)).astype(np.float32)
    landmarks = np.repeat(face[None], 20, axis=0)
    landmarks[:, 37:39] += np.random.default_rng(1).normal(0, 0.1, (20, 2, 2))  # as unsteady as found ones
    landmarks[7, [37, 38, 43, 44], 1] += 4  # a blink
    levels = np.arange(10, 210, 10)
    frames = np.stack([np.full((64, 64, 3), level, np.uint8) for level in levels])
    drawn = FrameDataset(
        [Clip("c", "p", frames, landmarks)], DENSE_ANCHORS, SIZE, 400, augmentation=Augmentation.none()
    )
    found = levels_of(drawn)
    assert found[1::2].count(80) > 0.5 * 200
    assert found[::2].count(80) == 10


def test_pupils_are_moved_where_they_are_known_to_the_model(monkeypatch, clips):
    asked = []
    monkeypatch.setattr("faceanim_cli.data.pairs.move_pupils", lambda *_args: asked.append(_args))
    known = (*DENSE_ANCHORS, (68,), (69,))
    list(FrameDataset(clips, known, SIZE, 50))
    share = len(asked) / 50
    list(FrameDataset(clips, DENSE_ANCHORS, SIZE, 50))
    assert len(asked) == share * 50
    assert share == pytest.approx(Augmentation().gaze, abs=0.2)


def test_expressions_are_changed_in_as_many_as_asked(monkeypatch, clips):
    asked = []

    def changed(image, landmarks, change):
        asked.append(change)
        return 1 - image, landmarks + 0.25

    monkeypatch.setattr("faceanim_cli.data.frames.change_expression", changed)
    plain = list(FrameDataset(clips, DENSE_ANCHORS, SIZE, 20, augmentation=Augmentation.none()))
    assert not asked
    always = dataclasses.replace(Augmentation.none(), expression=1.0)
    for before, after in zip(plain, FrameDataset(clips, DENSE_ANCHORS, SIZE, 20, 0, always), strict=True):
        torch.testing.assert_close(after["frame"], 1 - before["frame"])
        torch.testing.assert_close(after["points"], before["points"] + 0.25)
    assert len(set(asked)) == 20


def test_an_item_depends_on_seed_and_index_alone(clips):
    one, other = (FrameDataset(clips, DENSE_ANCHORS, SIZE, 20, seed=3) for _ in range(2))
    whole = list(one)
    for index in (17, 2, 9):  # whatever was asked for before
        for key, value in other[index].items():
            torch.testing.assert_close(value, whole[index][key], equal_nan=True)
    assert levels_of(FrameDataset(clips, DENSE_ANCHORS, SIZE, 20, seed=4)) != levels_of(whole)


def test_points_lie_where_the_face_is_shown(clips):
    # With neither zoom nor turn the crop is a square around the face's box: a shift and a scale for all.
    item = FrameDataset(clips[:1], DENSE_ANCHORS, SIZE, 3, augmentation=Augmentation.none())[0]
    frame = next(f for f in range(3) if clips[0].frames[f, 0, 0, 0] == levels_of([item])[0])
    truth = anchored_keypoints(clips[0].landmarks[frame], DENSE_ANCHORS)
    shown = item["points"].numpy()
    scale = np.linalg.norm(shown[0] - shown[9]) / np.linalg.norm(truth[0] - truth[9])
    np.testing.assert_allclose(shown - shown.mean(0), scale * (truth - truth.mean(0)), atol=1e-4)


def test_landmarks_that_are_not_known_stay_unknown(clips):
    points = FrameDataset(clips, (*DENSE_ANCHORS, (68,), (69,)), SIZE, 1)[0]["points"]
    assert points[: len(DENSE_ANCHORS)].isfinite().all()
    assert points[len(DENSE_ANCHORS) :].isnan().all()


def test_ends(clips):
    with pytest.raises(IndexError):
        FrameDataset(clips, DENSE_ANCHORS, SIZE, 3)[3]
