"""Keypoints that lie as on a head, and such that do not."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from faceanim_cli.data.landmarks import DENSE_ANCHORS
from faceanim_cli.motion.head_likeness import HeadLikeness
from faceanim_cli.motion.head_model import HEAD, anchor_means, bone_weights

POINTS = anchor_means(HEAD, DENSE_ANCHORS)


def seen(yaw: float, pitch: float = 0, roll: float = 0, scale: float = 0.6) -> np.ndarray:
    turned = Rotation.from_euler("yxz", (yaw, pitch, roll), degrees=True).apply(POINTS)
    return scale * turned[:, :2] + (0.1, -0.2)


@pytest.mark.parametrize("pose", [(0,), (50,), (-40, 20), (10, -25, 160), (0, 0, 0, 0.05)])
def test_a_head_in_any_pose_fits(pose) -> None:
    likeness = HeadLikeness(DENSE_ANCHORS)
    points = torch.from_numpy(seen(*pose)[None])
    assert likeness.misfit(points) < 1e-3
    assert likeness(points)


def test_the_misfit_is_what_least_squares_leaves() -> None:
    rng = np.random.default_rng(0)
    points = seen(20) + 0.02 * rng.standard_normal((len(POINTS), 2))
    root = np.sqrt(bone_weights(DENSE_ANCHORS))[:, None]
    design = np.column_stack((POINTS, np.ones(len(POINTS))))
    camera, left, *_ = np.linalg.lstsq(root * design, root * points, rcond=None)
    scale = np.linalg.svd(camera[:3], compute_uv=False)[0]
    wanted = np.sqrt(left.sum() / bone_weights(DENSE_ANCHORS).sum()) / scale
    found = HeadLikeness(DENSE_ANCHORS).misfit(torch.from_numpy(points[None]))
    assert found.item() == pytest.approx(wanted, rel=1e-3)


def test_points_anywhere_are_no_head() -> None:
    points = torch.rand(50, len(POINTS), 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert not HeadLikeness(DENSE_ANCHORS)(points).any()


def test_what_is_no_number_is_no_head() -> None:
    points = torch.from_numpy(np.stack((seen(0), seen(0) * np.nan)))
    assert HeadLikeness(DENSE_ANCHORS)(points).tolist() == [True, False]
