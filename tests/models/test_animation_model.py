"""The three networks as one: which way things move, one photo for many frames, and the budget."""

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from faceanim_cli.data.landmarks import PAPER_ANCHORS
from faceanim_cli.training.architecture import add_free_keypoints, shipped_architecture
from faceanim_models import AnimationModel, AnimationSettings
from tests.models.conftest import SIZE, force_candidate, tiny_settings


def place(points):
    """Pixel positions (column, row) to [-1, 1]."""
    return 2 * torch.tensor(points, dtype=torch.float32) / (SIZE - 1) - 1


@pytest.mark.parametrize("candidate", [1, 2, 5])
def test_a_face_that_moves_right_and_up_in_the_driver_does_so_in_the_picture(model, candidate):
    force_candidate(model, candidate)
    photo = torch.zeros(1, 3, SIZE, SIZE)
    photo[0, 1, 40, 20] = 1  # a green dot in row 40, column 20
    source = place([[[12, 30], [30, 30], [20, 40], [20, 50]]])
    driving = place([[[24, 25], [42, 25], [32, 35], [32, 45]]])  # all by 12 columns and -5 rows
    with torch.inference_mode():
        generated, _ = model(model.encode_photo(photo, source), driving)
    warped = generated.warped[0]
    assert warped[1].argmax() == 35 * SIZE + 32
    assert warped[1].max() > 0.9
    assert warped[0].max() == warped[2].max() == 0


def test_a_turned_driver_turns_the_picture(model):
    force_candidate(model, 1)
    photo = torch.zeros(1, 3, SIZE, SIZE)
    photo[0, :, 19:22, 41:44] = 1  # above and right of the middle
    source = torch.tensor([[[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]])
    driving = source.roll(-1, 1)  # each corner to the next one: a quarter turn clockwise
    with torch.inference_mode():
        generated, _ = model(model.encode_photo(photo, source), driving)
    # (42, 20) about (31.5, 31.5): (10.5, -11.5) turns to (11.5, 10.5)
    row, column = divmod(int(generated.warped[0, 0].argmax()), SIZE)
    assert abs(column - 43) <= 1
    assert abs(row - 42) <= 1


def test_no_motion_shows_the_photo(model, photo):
    keypoints = torch.rand(1, 4, 2) - 0.5
    with torch.inference_mode():
        generated, _ = model(model.encode_photo(photo, keypoints), keypoints)
    torch.testing.assert_close(generated.warped, photo, rtol=0, atol=1e-4)


def test_a_photo_encoded_once_serves_a_batch(model, photo):
    drivings = torch.rand(3, 4, 2) - 0.5
    with torch.inference_mode():
        code = model.encode_photo(photo)
        batched, motion = model(code.expand(3), drivings)
        repeated, _ = model(model.encode_photo(photo.repeat(3, 1, 1, 1)), drivings)
        for i in range(3):
            one, one_motion = model(code, drivings[i : i + 1])
            torch.testing.assert_close(batched.image[i : i + 1], one.image, rtol=0, atol=1e-5)
            torch.testing.assert_close(motion.grid[i : i + 1], one_motion.grid, rtol=0, atol=1e-5)
        torch.testing.assert_close(batched.image, repeated.image, rtol=0, atol=1e-5)


def test_keypoints_are_detected_unless_given(model, photo):
    with torch.inference_mode():
        torch.testing.assert_close(model.encode_photo(photo).keypoints, model.keypoint_detector(photo))
        given = torch.zeros(1, 4, 2)
        assert torch.equal(model.encode_photo(photo, given).keypoints, given)


@pytest.mark.parametrize("part", ["keypoints", "motion", "generator"])
def test_parts_must_agree_on_the_keypoints(part):
    settings = tiny_settings(4)
    other = dataclasses.replace(getattr(settings, part), num_keypoints=5)
    with pytest.raises(ValueError, match="disagree"):
        AnimationModel(dataclasses.replace(settings, **{part: other}))


def test_anchors_must_agree_too():
    with pytest.raises(ValueError, match="disagree"):
        AnimationModel(dataclasses.replace(tiny_settings(4), anchors=PAPER_ANCHORS))
    AnimationModel(dataclasses.replace(tiny_settings(10), anchors=PAPER_ANCHORS))


def test_defaults_build_the_papers_preset():
    model = AnimationModel(AnimationSettings()).eval()
    with torch.inference_mode():
        code = model.encode_photo(torch.rand(1, 3, 256, 256))
        generated, motion = model(code, torch.zeros(1, 10, 2))
    assert code.keypoints.shape == (1, 10, 2)
    assert motion.grid.shape == (1, 128, 128, 2)
    assert generated.image.shape == (1, 3, 256, 256)


def test_a_driving_frame_costs_little_more_than_four_gmac():
    model = add_free_keypoints(AnimationModel(shipped_architecture(256))).eval()
    frame = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        code = model.encode_photo(frame)
        with FlopCounterMode(display=False) as counter:
            model(code, model.detect(frame))
    gmac = counter.get_total_flops() / 2e9
    assert 0.5 < gmac <= 4.2  # under half a GMAC the counter has missed the convolutions
