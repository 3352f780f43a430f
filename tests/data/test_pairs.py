"""Training pairs: points lie on what they mean in the pictures, however turned, zoomed and flipped."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.landmarks import DENSE_ANCHORS, PAPER_ANCHORS
from faceanim_cli.data.pairs import (
    Augmentation,
    PairDataset,
    colour_table,
    draw_frames,
    jittered_framing,
    warp_frame,
)
from faceanim_cli.faces.framing import FRAME_SCALE
from faceanim_cli.motion.landmark_lifting import CENTRE_DOWN, SIDE_PER_HEIGHT
from tests.data.conftest import centroids, dotted_clip, draw_dots, face_landmarks

EACH_LANDMARK = tuple((i,) for i in range(68))  # anchors that keep the landmarks as they are
GEOMETRY = Augmentation(zoom=0.04, shift=0.02, turn=8, stretch=0, flip=0, gain=0, offset=0, background=0)
FLIPPED = dataclasses.replace(GEOMETRY, flip=1)
# What each marked landmark is called once the face is seen in a mirror, said by hand.
MIRRORED = {36: 45, 48: 54, 8: 8, 31: 35, 19: 24, 57: 57, 39: 42, 62: 62, 66: 66}


def items(pairs):
    return [pairs[index] for index in range(len(pairs))]


def pixel_points(item, role, size):
    return (item[f"{role}_points"].numpy() + 1) / 2 * (size - 1)


class TestPointsLieOnThePictures:
    @pytest.mark.parametrize("marked", [(36, 48, 8), (31, 19, 57), (39, 62, 66)])
    @pytest.mark.parametrize("size", [128, 64, 40])  # 40: shrunk more than twice
    @pytest.mark.parametrize(
        "augmentation", [Augmentation.none(), GEOMETRY, FLIPPED], ids=["none", "turned", "flipped"]
    )
    def test_source_and_driving(self, marked, size, augmentation):
        pairs = PairDataset([dotted_clip(marked).clip], EACH_LANDMARK, size, 6, augmentation=augmentation)
        named = [MIRRORED[i] for i in marked] if augmentation.flip else list(marked)
        for item in items(pairs):
            for role in ("source", "driving"):
                seen = centroids(item[role].numpy())
                # a dot's soft tail is cut a little near others; a wrong axis, name or side is off by far more
                np.testing.assert_allclose(seen, pixel_points(item, role, size)[named], atol=0.35)

    def test_a_flip_mirrors_the_picture(self):
        clip = dotted_clip((36, 48, 8)).clip
        straight = PairDataset([clip], EACH_LANDMARK, 64, 3, augmentation=GEOMETRY)[1]
        flipped = PairDataset([clip], EACH_LANDMARK, 64, 3, augmentation=FLIPPED)[1]
        assert torch.equal(flipped["source"], straight["source"].flip(-1))
        left, right = straight["driving_points"][36], flipped["driving_points"][45]
        torch.testing.assert_close(right, left * torch.tensor([-1.0, 1.0]))

    def test_keypoints_are_the_means_of_their_anchors(self):
        clip = dotted_clip((36, 48, 8)).clip
        all_points = PairDataset([clip], EACH_LANDMARK, 64, 1)[0]["driving_points"]
        keypoints = PairDataset([clip], PAPER_ANCHORS, 64, 1)[0]["driving_points"]
        assert keypoints.shape == (10, 2)
        torch.testing.assert_close(keypoints[0], all_points[36:42].mean(0))
        torch.testing.assert_close(keypoints[5], all_points[48])


def talking_and_turning_clip():
    """Frames 0-7: each of four turns of the head with the mouth shut, then open; and how far it is open."""
    opening = np.repeat([0.0, 0.3], 4)
    points = []
    for number, gap in enumerate(opening):
        face = face_landmarks()
        face[[55, 56, 57, 58, 59, 65, 66, 67], 1] += gap  # the lower lip
        angle = np.deg2rad(12 * (number % 4))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points.append((1 + 0.1 * (number % 4)) * 20 * face @ turn.T + 60 + 3 * (number % 4))
    frames = np.zeros((len(points), 4, 4, 3), np.uint8)
    return Clip("c", "p", frames, np.array(points, np.float32)), opening


def fitted(points, frame_points):
    """The (2, 3) affine matrix that carries a frame to an item, by its landmarks, and the worst residual."""
    rows = np.concatenate((frame_points, np.ones((68, 1))), axis=1)
    matrix, *_ = np.linalg.lstsq(rows, points, rcond=None)
    return matrix.T, np.abs(rows @ matrix - points).max()


class TestFraming:
    def test_source_and_driving_share_one_similarity(self):
        clip = dotted_clip((36, 48, 8)).clip
        pairs = PairDataset([clip], EACH_LANDMARK, 64, 12, augmentation=GEOMETRY)
        moved = 0
        for item in items(pairs):
            matrices = []
            for role in ("source", "driving"):
                points = pixel_points(item, role, 64)
                fits = [fitted(points, frame) for frame in clip.landmarks.astype(float)]
                best = min(fits, key=lambda fit: fit[1])
                assert best[1] < 1e-3  # it is one of the clip's frames, seen through a matrix
                matrices.append(best[0])
            np.testing.assert_allclose(matrices[0], matrices[1], atol=1e-3)
            (a, b, _), (c, d, _) = matrices[0]
            assert (a, b) == pytest.approx(
                (d, -c), abs=1e-3
            )  # turned and zoomed, never stretched or mirrored
            moved += not torch.equal(item["source_points"], item["driving_points"])
        assert moved >= 6

    def test_without_augmentation_the_face_box_is_centred(self):
        clip = dotted_clip((36, 48, 8), frames=2).clip
        points = np.stack([clip.landmarks[0]] * 2)
        pairs = PairDataset(
            [dataclasses.replace(clip, landmarks=points)], EACH_LANDMARK, 64, 1, 0, Augmentation.none()
        )
        item = pairs[0]
        low, high = points[0].min(0), points[0].max(0)
        height = high[1] - low[1]
        centre = (low + high) / 2 + [0, CENTRE_DOWN * height]
        crop = FRAME_SCALE * SIDE_PER_HEIGHT * height
        expected = 2 * (points[0] - centre) * (64 / crop) / 63  # centred; 63 pixels from -1 to 1
        np.testing.assert_allclose(item["source_points"], expected, atol=1e-4)

    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(60, 300),
        st.integers(60, 300),
        st.floats(10, 120),
        st.tuples(st.floats(0, 1), st.floats(0, 1)),
        st.integers(0, 999),
    )
    def test_an_unturned_crop_lies_inside_the_frame(self, width, height, scale, place, seed):
        landmarks = scale * face_landmarks() + np.array(place) * [width, height]
        upright = dataclasses.replace(Augmentation(), turn=0, stretch=0)
        matrix = jittered_framing(landmarks, (height, width), 64, upright, np.random.default_rng(seed))
        inverse = cv2.invertAffineTransform(matrix)
        corners = np.array([[-0.5, -0.5], [63.5, 63.5]])  # edges of the first and the last pixel
        (left, top), (right, bottom) = corners @ inverse[:, :2].T + inverse[:, 2]
        assert min(left, top) >= -0.5 - 1e-4
        assert right <= width - 0.5 + 1e-4
        assert bottom <= height - 0.5 + 1e-4
        assert right - left == pytest.approx(bottom - top)

    def test_a_stretched_crop_shows_other_proportions_and_nothing_from_beyond_the_frame(self):
        augmentation = dataclasses.replace(Augmentation.none(), stretch=0.05)
        rng = np.random.default_rng(0)
        ratios = []
        for _ in range(400):
            matrix = jittered_framing(20 * face_landmarks() + 60, (120, 120), 64, augmentation, rng)
            ratios.append(np.log(matrix[0, 0] / matrix[1, 1]))
            inverse = cv2.invertAffineTransform(matrix)
            corners = np.array([[-0.5, -0.5], [63.5, 63.5]]) @ inverse[:, :2].T + inverse[:, 2]
            assert corners.min() >= -0.5 - 1e-4
            assert corners.max() <= 119.5 + 1e-4
        assert np.std(ratios) == pytest.approx(0.05, abs=0.006)
        assert np.mean(ratios) == pytest.approx(0, abs=0.01)

    def test_turns_follow_their_deviation(self):
        augmentation = dataclasses.replace(Augmentation.none(), turn=8)
        rng = np.random.default_rng(0)
        turns = []
        for _ in range(400):
            matrix = jittered_framing(30 * face_landmarks() + 100, (200, 200), 64, augmentation, rng)
            turns.append(math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])))
        assert np.std(turns) == pytest.approx(8, abs=1)
        assert np.mean(turns) == pytest.approx(0, abs=1.5)


class TestDraw:
    def test_is_the_same_on_every_run(self):
        clips = [dotted_clip((36, 48, 8)).clip]
        one, other = (PairDataset(clips, DENSE_ANCHORS, 32, 9, seed=4) for _ in range(2))
        _ = other[3]  # the order of access does not matter
        for key, value in one[7].items():
            torch.testing.assert_close(value, other[7][key], rtol=0, atol=0, equal_nan=True)

    def test_differs_by_index_and_by_seed(self):
        clips = [dotted_clip((36, 48, 8)).clip]
        pairs = PairDataset(clips, DENSE_ANCHORS, 32, 9, seed=4)
        assert not torch.equal(pairs[0]["source"], pairs[1]["source"])
        assert not torch.equal(
            pairs[0]["source"], PairDataset(clips, DENSE_ANCHORS, 32, 9, seed=5)[0]["source"]
        )

    def test_ends_after_its_length(self):
        pairs = PairDataset([dotted_clip((36, 48, 8)).clip], DENSE_ANCHORS, 8, 3)
        assert len(pairs) == 3
        with pytest.raises(IndexError):  # else ``for item in pairs`` never ends
            pairs[3]

    def test_people_are_drawn_evenly_however_many_clips_they_have(self):
        points = np.stack([30 * face_landmarks() + 60] * 2).astype(np.float32)
        black, white = (np.full((2, 120, 120, 3), level, np.uint8) for level in (0, 255))
        clips = [Clip("w", "rare", white, points), *(Clip(f"b{i}", "often", black, points) for i in range(9))]
        pairs = PairDataset(clips, PAPER_ANCHORS, 8, 300, augmentation=Augmentation.none())
        rare = sum(float(item["source"].mean()) > 0.5 for item in items(pairs))
        assert rare / 300 == pytest.approx(0.5, abs=0.1)

    def test_expressions_are_preferred_to_motions_of_the_head(self):
        clip, opening = talking_and_turning_clip()
        rng = np.random.default_rng(0)
        drawn = np.array([draw_frames(clip, rng) for _ in range(2000)])
        even = rng.integers(len(opening), size=(2000, 2))
        moved, usual = (np.abs(np.diff(opening[pairs])).mean() for pairs in (drawn, even))
        # half of the pairs are the best of four, which for two states are different 94 % of the time
        assert moved / usual == pytest.approx((1 + 1.9) / 2, abs=0.12)
        turned = np.abs(np.diff(np.arange(len(opening))[drawn] % 4)).mean()
        # among pairs of one expression chance decides, and rounding, which is more the more a head turns
        assert turned / np.abs(np.diff(even % 4)).mean() < 1.2

    def test_draws_for_the_gaze_go_where_eyes_move(self):
        still, moving = (np.full((12, 80, 2), np.nan, np.float32) for _ in range(2))
        still[:, :68] = moving[:, :68] = 20 * face_landmarks() + 45
        for points in (still, moving):
            points[:, 68:70] = points[:, [[36, 39], [42, 45]]].mean(2)
        moving[6:, 68:70, 0] += 3
        moving[:6, 68] = np.nan  # one pupil is enough
        frames = np.zeros((12, 90, 90, 3), np.uint8)
        clips = [Clip("s", "still", frames, still), Clip("m", "moving", frames + 255, moving)]
        anchors = (*PAPER_ANCHORS, (68,), (69,))

        def share_that_looks_elsewhere(anchors):
            pairs = PairDataset(clips, anchors, 8, 400, augmentation=Augmentation.none())
            drawn = [pairs._draw(np.random.default_rng(index)) for index in range(400)]
            return np.mean([clip.name == "m" and (a < 6) != (b < 6) for clip, a, b in drawn])

        usual, seeking = share_that_looks_elsewhere(PAPER_ANCHORS), share_that_looks_elsewhere(anchors)
        assert usual == pytest.approx(0.25, abs=0.06)
        assert seeking == pytest.approx(usual + 0.1 * (1 - usual), abs=0.04)

    def test_points_stay_finite_but_for_landmarks_nobody_knows(self):
        clip = dotted_clip((36, 48, 8)).clip
        points = np.full((len(clip.landmarks), 80, 2), np.nan, np.float32)
        points[:, :68], points[:, 69] = clip.landmarks, clip.landmarks[:, 43]
        more = dataclasses.replace(clip, landmarks=points)
        pairs = PairDataset([more], (*DENSE_ANCHORS, (68,), (69,)), 32, 30, augmentation=FLIPPED)
        for item in items(pairs):
            for role in ("source", "driving"):
                found = item[f"{role}_points"]
                assert found[:29].isfinite().all()
                assert found[29].isfinite().all()  # in the mirror it is the other pupil
                assert found[30].isnan().all()
        usual = PairDataset([clip], DENSE_ANCHORS, 32, 1, augmentation=FLIPPED)[0]
        again = PairDataset([more], DENSE_ANCHORS, 32, 1, augmentation=FLIPPED)[0]
        assert torch.equal(usual["driving_points"], again["driving_points"])


class TestColours:
    def test_values_stay_in_range(self):
        bright = Clip(
            "c", "p", np.full((2, 90, 90, 3), 250, np.uint8), np.stack([20 * face_landmarks() + 45] * 2)
        )
        strong = Augmentation(gain=1.0, offset=0.5)
        for item in items(PairDataset([bright], PAPER_ANCHORS, 16, 20, augmentation=strong)):
            assert item["source"].shape == (3, 16, 16)
            assert item["source"].dtype == torch.float32
            assert item["source"].min() >= 0
            assert item["source"].max() <= 1

    def test_both_frames_of_a_pair_change_alike_and_pairs_differ(self):
        colour = np.broadcast_to(np.array([60, 120, 180], np.uint8), (2, 90, 90, 3))
        clip = Clip("c", "p", colour, np.stack([20 * face_landmarks() + 45] * 2))
        pairs = PairDataset([clip], PAPER_ANCHORS, 16, 8)
        seen = [item["source"].mean((1, 2)) for item in items(pairs)]
        for item, mean in zip(items(pairs), seen, strict=True):
            torch.testing.assert_close(item["driving"].mean((1, 2)), mean)
        assert len({tuple(mean.tolist()) for mean in seen}) == 8

    def test_no_augmentation_keeps_every_level_and_channel(self):
        table = colour_table(Augmentation.none(), np.random.default_rng(0))
        np.testing.assert_allclose(table, np.broadcast_to(np.arange(256) / 255, (3, 256)), atol=1e-6)


class TestWarpFrame:
    FRAME = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)

    def test_a_shift_is_a_slice(self):
        matrix = np.array([[1.0, 0, -12], [0, 1, -5]])
        assert np.array_equal(warp_frame(self.FRAME, matrix, 24), self.FRAME[5:29, 12:36])

    def test_mirrors_beyond_the_edge(self):
        matrix = np.array([[1.0, 0, 3], [0, 1, 0]])
        seen = warp_frame(self.FRAME, matrix, 30)
        assert np.array_equal(seen[:, 3:], self.FRAME[:30, :27])
        assert np.array_equal(seen[:, :3], self.FRAME[:30, 3:0:-1])

    @pytest.mark.parametrize("factor", [2, 3, 5])
    def test_shrinking_by_a_whole_number_averages_blocks(self, factor):
        frame = self.FRAME[:30, :60] if factor != 2 else self.FRAME
        height, width = frame.shape[0] // factor, frame.shape[1] // factor
        size = min(height, width)
        matrix = np.array([[1 / factor, 0, 0.5 / factor - 0.5], [0, 1 / factor, 0.5 / factor - 0.5]])
        blocks = frame.reshape(height, factor, width, factor, 3).mean((1, 3))
        seen = warp_frame(frame, matrix, size)
        np.testing.assert_allclose(seen, blocks[:size, :size], atol=1)

    @pytest.mark.parametrize(("width", "height"), [(240, 240), (239, 239), (243, 241), (244, 179)])
    @pytest.mark.parametrize("shrink", [2.0, 3.3, 5.9])
    def test_a_dot_stays_where_the_matrix_sends_it(self, width, height, shrink):
        # near the lower right corner, where an inexact factor has added up most
        place = np.array([width - 30.0, height - 30.0])
        size = int(min(width, height) / shrink)
        target = size - 30 / shrink
        matrix = np.array(
            [[1 / shrink, 0, target - place[0] / shrink], [0, 1 / shrink, target - place[1] / shrink]]
        )
        frame = draw_dots(height, width, [place] * 3, radius=9)
        seen = centroids(warp_frame(frame, matrix, size).transpose(2, 0, 1) / 255)
        np.testing.assert_allclose(seen[0], [target, target], atol=0.12)

    def test_turned_and_shrunk(self):
        matrix = cv2.getRotationMatrix2D((120, 90), 30, 1 / 4.5) + np.array([[0, 0, -95.0], [0, 0, -65.0]])
        places = np.array([[120.0, 90.0], [160, 70], [90, 130]])
        seen = centroids(
            warp_frame(draw_dots(180, 240, places, radius=8), matrix, 50).transpose(2, 0, 1) / 255
        )
        np.testing.assert_allclose(seen, places @ matrix[:, :2].T + matrix[:, 2], atol=0.12)
