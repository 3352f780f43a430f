"""From keypoints back to landmarks."""

import numpy as np
import pytest

from faceanim_cli.data.landmarks import DENSE_ANCHORS, PAPER_ANCHORS, anchored_keypoints
from faceanim_cli.motion.landmark_lifting import lift_keypoints
from tests.data.conftest import face_landmarks


@pytest.mark.parametrize("anchors", [PAPER_ANCHORS, DENSE_ANCHORS])
def test_the_landmarks_meet_every_keypoint(anchors):
    keypoints = np.random.default_rng(0).normal(size=(2, len(anchors), 2))
    np.testing.assert_allclose(anchored_keypoints(lift_keypoints(keypoints, anchors), anchors), keypoints)


def test_a_moved_turned_and_squeezed_face_gives_moved_turned_and_squeezed_landmarks():
    keypoints = anchored_keypoints(face_landmarks(), DENSE_ANCHORS)
    linear, shift = np.array([[1.5, 0.4], [-0.3, 0.8]]), np.array([100.0, -20.0])
    expected = lift_keypoints(keypoints, DENSE_ANCHORS) @ linear.T + shift
    np.testing.assert_allclose(lift_keypoints(keypoints @ linear.T + shift, DENSE_ANCHORS), expected)


def test_it_comes_near_landmarks_that_it_never_saw():
    truth = face_landmarks()  # drawn by hand, so a face unlike the average
    lifted = lift_keypoints(anchored_keypoints(truth, DENSE_ANCHORS), DENSE_ANCHORS)
    outer_eyes = np.linalg.norm(truth[36] - truth[45])
    assert np.linalg.norm(lifted[:68] - truth, axis=1).mean() < 0.05 * outer_eyes


def test_two_keypoints_place_no_face():
    with pytest.raises(ValueError, match="2 anchors"):
        lift_keypoints(np.zeros((2, 2)), ((0,), (1,)))


def test_landmarks_beyond_the_68_are_known_where_the_model_has_them_and_change_nothing():
    keypoints = np.random.default_rng(0).normal(size=(4, 31, 2))
    lifted = lift_keypoints(keypoints, (*DENSE_ANCHORS[:5], (69,), (68,), *DENSE_ANCHORS[5:]))
    usual = lift_keypoints(np.delete(keypoints, (5, 6), axis=1), DENSE_ANCHORS)
    np.testing.assert_allclose(lifted[:, :68], usual[:, :68])
    np.testing.assert_allclose(lifted[:, [69, 68]], keypoints[:, 5:7])
    assert np.isnan(lifted[:, 70:]).all()
    assert np.isnan(usual[:, 68:]).all()
