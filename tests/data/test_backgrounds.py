"""Backgrounds that become another picture: where nothing moves, away from the head, in both frames alike."""

import dataclasses

import numpy as np
import pytest

from faceanim_cli.data.backgrounds import random_background, replace_background
from faceanim_cli.data.clips import Clip
from faceanim_cli.data.landmarks import DENSE_ANCHORS
from faceanim_cli.data.pairs import Augmentation, PairDataset
from tests.data.conftest import face_landmarks

S = 128
PICTURE = np.zeros((3, S, S), np.float32)
PICTURE[1] = 1.0


@pytest.fixture
def scene():
    """Two frames of grey, the second with something new at the right; and where the face is in both."""
    frames = [np.full((3, S, S), 0.5, np.float32) for _ in range(2)]
    frames[1][:, 20:40, 100:120] = 0.9
    face = face_landmarks().astype(np.float32)
    face = 0.5 * (face - face.mean(0)) / np.ptp(face[:, 0])
    return frames, (face, face + 0.05)


def replaced(frames, faces, picture=PICTURE):
    results = replace_background(tuple(frames), faces, picture)
    return results, [np.abs(new - old).max(0) > 1e-6 for new, old in zip(results, frames, strict=True)]


def test_both_frames_get_the_same_picture_in_the_same_places(scene):
    (first, second), (where, where_too) = replaced(*scene)
    assert np.array_equal(where, where_too)
    assert where[:40, :20].all()  # the corner at the left
    np.testing.assert_allclose(first[:, 5, 5], (0, 1, 0), atol=1e-6)
    np.testing.assert_array_equal(first[:, where & (scene[0][1][0] == 0.5)], second[:, where])


def test_what_moves_stays_with_what_is_about_it(scene):
    _, (where, _) = replaced(*scene)
    assert not where[19:41, 99:121].any()
    assert where[50:60, 110:].any()  # further below there is background again


def test_the_head_and_what_is_below_it_stay(scene):
    frames, faces = scene
    _, (where, _) = replaced(frames, faces)
    for face in faces:
        x, y = np.round((face + 1) * (S - 1) / 2).astype(int).T
        assert not where[y, x].any()
        assert not where[max(0, 2 * y.min() - y.max()) : y.min(), x.min() : x.max()].any()  # hair
        assert not where[y.max() + 20 :].any()


def test_noise_of_single_pixels_is_no_motion(scene):
    (first, second), faces = scene
    noisy = second.copy()
    noisy[:, 5:60:7, 3:20:7] += 0.2
    _, (where, _) = replaced((first, noisy), faces)
    assert where[:40, :20].mean() > 0.9


def test_pictures_are_many_and_in_range():
    frame = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    pictures = [random_background(frame, 64, np.random.default_rng(seed)) for seed in range(8)]
    for picture in pictures:
        assert picture.shape == (3, 64, 64) and picture.dtype == np.float32
        assert picture.min() >= 0 and picture.max() <= 1
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    assert np.array_equal(pictures[3], random_background(frame, 64, np.random.default_rng(3)))


def test_pairs_have_them_as_often_as_asked():
    frames = np.random.default_rng(1).integers(100, 140, (1, 120, 160, 3), dtype=np.uint8).repeat(3, 0)
    landmarks = np.full((3, 80, 2), np.nan, np.float32)
    landmarks[:, :68] = 30 * (face_landmarks() - face_landmarks().mean(0)) + (80, 60)
    clip = Clip("c", "p", frames, landmarks)

    def pair(share, index):
        augmentation = dataclasses.replace(Augmentation.none(), background=share)
        return PairDataset([clip], DENSE_ANCHORS, 64, 20, augmentation=augmentation)[index]

    changed = [not np.allclose(pair(0.0, i)["source"], pair(1.0, i)["source"]) for i in range(6)]
    assert all(changed)
    sometimes = [not np.allclose(pair(0.0, i)["source"], pair(0.5, i)["source"]) for i in range(20)]
    assert 3 < sum(sometimes) < 17
