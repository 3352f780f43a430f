"""Best-frame search against heads in known poses."""

import cv2
import numpy as np
import pytest
import torch

from faceanim_cli.data.landmarks import DENSE_ANCHORS
from faceanim_cli.motion import best_frame
from faceanim_cli.motion.head_model import HEAD, Anchors, anchor_means
from faceanim_models import Keypoints


def seen(
    yaw: float, opening: float = 0.0, scale: float = 0.4, shape: float = 1.0, blink: float = 0.0
) -> np.ndarray:
    head = HEAD * (shape, 1.0, 1.0)
    head[[57, 65, 66, 67, 8], 1] += opening
    head[[37, 38, 43, 44], 1] += blink
    turn = cv2.Rodrigues(np.array([0.0, np.radians(yaw), 0.0]))[0]
    return anchor_means((head @ turn.T)[:, :2] * scale, DENSE_ANCHORS)


def closest_frame(photo: np.ndarray, driver: np.ndarray, anchors: Anchors) -> int:
    source, candidates = (Keypoints(torch.from_numpy(points)) for points in (photo[None], driver))
    return best_frame.closest_frame(source, candidates, anchors)


def test_the_frame_with_the_photos_pose_is_found_whatever_the_faces_shape_and_size() -> None:
    driver = np.stack([seen(yaw) for yaw in (-30, -20, -10, 0, 10, 20, 30)])
    for index, yaw in ((1, -20), (3, 0), (5, 20)):
        assert closest_frame(seen(yaw, scale=0.25, shape=1.06), driver, DENSE_ANCHORS) == index


def test_of_frames_in_one_pose_the_expression_decides() -> None:
    driver = np.stack([seen(0, opening) for opening in (0.3, 0.15, 0.0)])
    assert closest_frame(seen(0, 0.0), driver, DENSE_ANCHORS) == 2
    assert closest_frame(seen(0, 0.3), driver, DENSE_ANCHORS) == 0


def test_a_frame_in_the_middle_of_a_blink_is_taken_last() -> None:
    """All that opens the eyes again would open the photo's beyond what they were."""
    driver = np.stack([seen(0, blink=0.07), seen(20), seen(-22)])
    assert closest_frame(seen(0), driver, DENSE_ANCHORS) == 1


@pytest.mark.parametrize("gaze", [-0.2, 0.0, 0.15])
def test_of_frames_in_one_pose_the_one_that_looks_where_the_photo_does_is_taken(gaze: float) -> None:
    anchors = (*DENSE_ANCHORS, (68,), (69,))

    def looking(right: float, scale: float, tilt: float) -> np.ndarray:
        head = HEAD.copy()
        head[[68, 69], 0] += right * (HEAD[39, 0] - HEAD[36, 0])
        turn = cv2.Rodrigues(np.array([0.0, 0.0, np.radians(tilt)]))[0]
        return anchor_means((head @ turn.T)[:, :2] * scale, anchors)

    driver = np.stack([looking(right, 0.3, 4) for right in (0.15, -0.2, 0.0)])
    assert closest_frame(looking(gaze, 0.4, 0), driver, anchors) == [0.15, -0.2, 0.0].index(gaze)


def test_free_keypoints_are_compared_after_centring_and_scaling() -> None:
    photo = np.random.default_rng(0).standard_normal((10, 2))
    other = np.random.default_rng(1).standard_normal((10, 2))
    assert closest_frame(photo, np.stack([other, photo * 0.3 + 0.2]), ()) == 1
