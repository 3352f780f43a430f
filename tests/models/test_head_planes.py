"""Planes through a head that turns, against a head turned by scipy and seen by weak perspective."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from faceanim_models.head_planes import HeadPlanes

DEPTHS = (-0.6, -1.5)
K = 9


@pytest.fixture
def head():
    """Keypoints on a head, (K, 3), and how much each counts."""
    rng = np.random.default_rng(4)
    weights = rng.uniform(0.5, 1.5, K)
    return rng.uniform(-0.7, 0.7, (K, 3)), weights / weights.sum()


@pytest.fixture
def planes(head):
    planes = HeadPlanes(DEPTHS, K)
    planes.lay_on(*map(torch.from_numpy, head))
    return planes


class View:
    """A head as seen: turned by yaw, pitch and roll in degrees, scaled and shifted."""

    def __init__(self, yaw, pitch, roll, scale=0.5, shift=(0.1, -0.05)):
        turn = Rotation.from_euler("yxz", (yaw, pitch, roll), degrees=True).as_matrix()
        self.axes, self.shift = scale * turn[:2], np.array(shift)

    def __call__(self, places):
        return places @ self.axes.T + self.shift


def seen(view, head):
    points, weights = head
    return torch.from_numpy(view(points - weights @ points)).float()[None]


FRONT, LEFT, DOWN = View(0, 0, 0), View(-35, 5, 3, 0.6), View(10, 30, -12, 0.4, (0.2, 0.3))


@pytest.mark.parametrize("view", [FRONT, LEFT, DOWN, View(75, 0, 0)])
def test_the_pose_of_a_head_that_is_the_average_one(planes, head, view):
    pose = planes.pose(seen(view, head))
    np.testing.assert_allclose(pose.axes[0], view.axes, atol=1e-4)
    np.testing.assert_allclose(pose.centre[0], view.shift, atol=1e-5)


@pytest.mark.parametrize("photo", [FRONT, LEFT])
@pytest.mark.parametrize("frame", [FRONT, LEFT, DOWN, View(65, 0, 0)])
def test_places_at_a_depth_are_carried_back_to_where_the_photo_shows_them(planes, head, photo, frame):
    linear, shifts = planes(seen(photo, head), seen(frame, head))
    for number, depth in enumerate(DEPTHS):
        hair = np.array([(-0.8, -1.1, depth), (0.0, 0.4, depth), (0.9, -0.2, depth)])
        carried = frame(hair) @ linear[0].numpy().T + shifts[0, number].numpy()
        np.testing.assert_allclose(carried, photo(hair), atol=2e-4)


def test_a_face_that_is_no_head_model_still_has_a_rigid_pose(planes, head):
    rng = np.random.default_rng(0)
    points = seen(LEFT, head) + torch.from_numpy(rng.normal(0, 0.05, (1, K, 2))).float()
    axes = planes.pose(points).axes[0].numpy()
    lengths = np.linalg.norm(axes, axis=1)
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-3)
    assert axes[0] @ axes[1] == pytest.approx(0, abs=1e-4)
    assert lengths[0] == pytest.approx(0.6, rel=0.2)


def test_a_head_that_does_not_move_leaves_every_plane_in_place(planes, head):
    points = seen(DOWN, head)
    linear, shifts = planes(points, points)
    torch.testing.assert_close(linear[0], torch.eye(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(shifts, torch.zeros(1, len(DEPTHS), 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("view", [View(88, 0, 0), View(0, 90, 0)], ids=["profile", "from above"])
def test_a_head_seen_from_the_side_moves_its_planes_within_bounds(planes, head, view):
    linear, shifts = planes(seen(FRONT, head), seen(view, head))
    assert linear.abs().max() < 4
    assert shifts.abs().max() < 4


@pytest.mark.parametrize(
    "points", [torch.zeros(1, K, 2), torch.linspace(-1, 1, K)[None, :, None].expand(1, K, 2)]
)
def test_a_face_squeezed_into_a_point_or_a_line_gives_finite_motions_and_gradients(planes, points):
    points = points.clone().requires_grad_()
    linear, shifts = planes(points, points + 0.1)
    assert linear.isfinite().all()
    assert shifts.isfinite().all()
    (linear.sum() + shifts.sum()).backward()
    assert points.grad.isfinite().all()
