"""Relative motion against displacements worked out by hand."""

import math

import pytest
import torch

from faceanim_cli.data.landmarks import DENSE_ANCHORS, PAPER_ANCHORS
from faceanim_cli.motion.transfer import MotionTransfer, rigid_weights

DRIVER = torch.tensor([[-0.2, -0.2], [0.2, -0.2], [0.2, 0.2], [-0.2, 0.2], [0.0, 0.1]])
# The same face twice as large and elsewhere; its last point, the "mouth", sits lower.
PHOTO = DRIVER * 2 + torch.tensor([0.3, -0.1])
PHOTO[4, 1] += 0.05
RIGID = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])


def rotation(degrees: float) -> torch.Tensor:
    a = math.radians(degrees)
    return torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])


def test_a_driver_that_has_not_moved_leaves_the_photo_as_it_is() -> None:
    moved = MotionTransfer(PHOTO, DRIVER, RIGID).relative(DRIVER[None])
    torch.testing.assert_close(moved[0], PHOTO)


@pytest.mark.parametrize(("adapt", "factor"), [(True, 2.0), (False, 1.0)])
def test_a_shift_counts_in_face_sizes_or_frame_sizes(adapt: bool, factor: float) -> None:
    shift = torch.tensor([0.1, -0.05])
    moved = MotionTransfer(PHOTO, DRIVER, RIGID, adapt).relative((DRIVER + shift)[None])
    torch.testing.assert_close(moved[0], PHOTO + factor * shift)


def test_a_tilt_turns_the_photos_own_face_about_its_centre() -> None:
    turn = rotation(30)  # clockwise on screen, y pointing down
    moved = MotionTransfer(PHOTO, DRIVER, RIGID).relative((DRIVER @ turn.T)[None])
    centre = PHOTO[:4].mean(0)
    torch.testing.assert_close(moved[0], (PHOTO - centre) @ turn.T + centre, atol=1e-5, rtol=0)


def test_coming_nearer_enlarges_the_photos_own_face() -> None:
    moved = MotionTransfer(PHOTO, DRIVER, RIGID).relative((DRIVER * 1.25)[None])
    centre = PHOTO[:4].mean(0)
    torch.testing.assert_close(moved[0], (PHOTO - centre) * 1.25 + centre, atol=1e-5, rtol=0)


def test_an_opening_mouth_moves_only_the_mouth() -> None:
    driving = DRIVER.clone()
    driving[4, 1] += 0.03
    moved = MotionTransfer(PHOTO, DRIVER, RIGID).relative(driving[None])[0]
    torch.testing.assert_close(moved[:4], PHOTO[:4], atol=1e-6, rtol=0)
    torch.testing.assert_close(moved[4] - PHOTO[4], torch.tensor([0.0, 0.06]), atol=1e-6, rtol=0)


def test_frames_of_a_batch_do_not_mix() -> None:
    transfer = MotionTransfer(PHOTO, DRIVER, RIGID)
    frames = torch.stack([DRIVER + 0.1, DRIVER @ rotation(-20).T, DRIVER])
    together = transfer.relative(frames)
    for i in range(3):
        torch.testing.assert_close(together[i], transfer.relative(frames[i : i + 1])[0])


def test_bone_weighs_more_than_lips_and_free_keypoints_weigh_the_same() -> None:
    weights = rigid_weights(DENSE_ANCHORS, len(DENSE_ANCHORS))
    for landmark, heavy in ((36, True), (30, True), (1, True), (62, False), (8, False), (48, False)):
        index = DENSE_ANCHORS.index((landmark,))
        assert (weights[index] == 1) == heavy, landmark
    assert rigid_weights(PAPER_ANCHORS, 10).min() > 0
    assert torch.equal(rigid_weights((), 7), torch.ones(7))
