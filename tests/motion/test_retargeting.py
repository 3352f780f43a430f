"""Free keypoints beside anchored ones: shoulders and hair take the driver's displacements."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from faceanim_cli.data.landmarks import DENSE_ANCHORS
from faceanim_cli.motion.head_model import HEAD, anchor_means
from faceanim_cli.motion.retargeting import Retargeting
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.motion.transfer import FARTHEST
from faceanim_models import Keypoints

FACE = torch.from_numpy(anchor_means(HEAD, DENSE_ANCHORS)[None, :, :2] * 0.5).float()
PHOTO = Keypoints(0.8 * FACE + 0.1, free=torch.tensor([[[-0.5, 0.8], [0.5, 0.8], [0.0, -0.7]]]))
REST = Keypoints(FACE, free=torch.tensor([[[-0.4, 0.7], [0.6, 0.7], [0.1, -0.6]]]))
STEPS = torch.tensor([[[0.05, -0.02], [0.0, 0.1], [0.2, 0.0]], [[0.0, 0.0], [-0.1, 0.0], [0.0, -0.1]]])
DRIVER = Keypoints(FACE.expand(2, -1, -1), free=REST.free + STEPS)


def moved(settings=None, driver=DRIVER, photo=PHOTO, reference=REST):
    return Retargeting(photo, DENSE_ANCHORS, settings or MotionSettings(), reference=reference)(driver).free


def test_they_move_as_the_driver_s_have_since_its_reference_in_face_sizes():
    torch.testing.assert_close(moved() - PHOTO.free, 0.8 * STEPS, rtol=0, atol=1e-5)


def test_without_a_reference_the_first_frame_is_one():
    wanted = 0.8 * (STEPS - STEPS[:1])
    torch.testing.assert_close(moved(reference=None) - PHOTO.free, wanted, rtol=0, atol=1e-5)


def test_in_frame_sizes_if_asked():
    frames = moved(MotionSettings(adapt_scale=False))
    torch.testing.assert_close(frames - PHOTO.free, STEPS, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pose", [0.0, 0.5])
def test_they_are_part_of_the_pose(pose):
    torch.testing.assert_close(
        moved(MotionSettings(pose=pose)) - PHOTO.free, pose * 0.8 * STEPS, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("settings", [MotionSettings(clamp=False), MotionSettings()])
def test_absolute_they_are_the_driver_s(settings):
    torch.testing.assert_close(moved(replace(settings, relative=False)), DRIVER.free, rtol=0, atol=1e-5)


def test_what_goes_too_far_is_held_back_in_its_direction():
    far = DRIVER._replace(free=REST.free + torch.tensor([3.0, -4.0]) / 0.8)
    held = (moved(driver=far) - PHOTO.free)[0]
    length = torch.linalg.vector_norm(held, dim=-1)
    assert length.min() > FARTHEST
    assert length.max() <= 1.5 * FARTHEST + 1e-6
    np.testing.assert_allclose(held / length[:, None], np.broadcast_to((0.6, -0.8), held.shape), atol=1e-5)
    torch.testing.assert_close(
        moved(MotionSettings(clamp=False), far) - PHOTO.free,
        torch.tensor([3.0, -4.0]).expand(1, 3, 2),
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("driver", "photo", "reference"),
    [
        (DRIVER._replace(free=None), PHOTO, REST),
        (DRIVER, PHOTO._replace(free=None), REST),
        (DRIVER, PHOTO, REST._replace(free=None)),
    ],
    ids=["driver", "photo", "reference"],
)
@pytest.mark.parametrize("relative", [True, False])
def test_where_one_has_none_the_others_say_nothing(driver, photo, reference, relative):
    settings = MotionSettings(relative=relative)
    found = moved(settings, driver, photo, reference)
    counted = (driver, photo, reference) if relative else (driver, photo)
    assert (found is None) == any(keypoints.free is None for keypoints in counted)
