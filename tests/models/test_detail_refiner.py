"""Eyes and mouth painted again: what is fresh changes nothing, what is trained changes its patches alone."""

import dataclasses

import pytest
import torch

from faceanim_models import AnimationModel
from faceanim_models.blocks import fold_batch_norms
from faceanim_models.detail_refiner import DetailRefiner, DetailRefinerSettings
from faceanim_models.keypoint_refiner import KeypointRefinerSettings
from tests.models.conftest import SIZE, TINY_PATCHES, TINY_RIGID, randomise_norms, tiny_settings

SETTINGS = DetailRefinerSettings(TINY_PATCHES, TINY_RIGID, (4, 6, 8))
FACE = torch.tensor([[-0.5, -0.25], [-0.25, -0.25], [0.25, -0.25], [0.5, -0.25], [0.0, 0.5]])


@pytest.fixture
def refiner():
    refiner = DetailRefiner(SETTINGS, 5).eval()
    refiner.patches.mean_face.copy_(FACE)
    return refiner


def with_details() -> AnimationModel:
    """Four keypoints move the picture; a fifth is found for the details alone."""
    settings = tiny_settings(4)
    keypoints = dataclasses.replace(
        settings.keypoints,
        num_keypoints=5,
        refiner=KeypointRefinerSettings(TINY_PATCHES, TINY_RIGID, (4, 6, 8)),
    )
    anchors = ((36,), (39,), (42,), (45,), (62,))
    model = AnimationModel(
        dataclasses.replace(settings, keypoints=keypoints, anchors=anchors, details=SETTINGS)
    ).eval()
    model.details.patches.mean_face.copy_(FACE)
    model.keypoint_detector.refiner.patches.mean_face.copy_(FACE)
    return model


def test_a_fresh_refiner_leaves_the_frame_as_it_is(refiner):
    image, keypoints = torch.rand(2, 3, SIZE, SIZE), FACE.expand(2, -1, -1)
    with torch.inference_mode():
        result = refiner(image, keypoints, refiner.encode(torch.rand(2, 3, SIZE, SIZE), keypoints))
    torch.testing.assert_close(result, image)


def test_changes_stay_inside_the_patches(refiner):
    for network in refiner.networks:
        torch.nn.init.constant_(network.head.bias, 2.0)  # brighter, and M nearly 1
    image, keypoints = torch.zeros(1, 3, 65, 65), FACE[None]
    with torch.inference_mode():
        change = refiner(image, keypoints, refiner.encode(image, keypoints))[0, 0]
    # At the middle of a patch: tanh(2) sigmoid(2). Pixel (12 to 28, 24 to 32) is the left eye's.
    middle = torch.tanh(torch.tensor(2.0)) * torch.sigmoid(torch.tensor(2.0))
    torch.testing.assert_close(change[28, 20], middle, rtol=0, atol=1e-3)
    assert change[:20].abs().max() == 0
    assert change[24:33, 30:35].abs().max() == 0
    assert change[28, 12] == 0  # the border itself: faded out


def test_the_code_of_one_photo_serves_a_batch():
    model = with_details()
    randomise_norms(model)
    for network in model.details.networks:
        torch.nn.init.normal_(network.head.weight, 0, 0.5)
    photo, drivings = torch.rand(1, 3, SIZE, SIZE), FACE + 0.05 * torch.randn(3, 5, 2)
    with torch.inference_mode():
        code = model.encode_photo(photo, FACE[None])
        batched, _ = model(code.expand(3), drivings)
        for i in range(3):
            one, _ = model(code, drivings[i : i + 1])
            torch.testing.assert_close(batched.image[i : i + 1], one.image, rtol=0, atol=1e-5)
        folding = fold_batch_norms(model)
        folded, _ = folding(folding.encode_photo(photo, FACE[None]).expand(3), drivings)
    torch.testing.assert_close(folded.image, batched.image, rtol=0, atol=1e-4)


def test_the_fifth_keypoint_repaints_but_does_not_move():
    model = with_details()
    for network in model.details.networks:
        torch.nn.init.normal_(network.head.weight, 0, 0.5)
    code = model.encode_photo(torch.rand(1, 3, SIZE, SIZE), FACE[None])
    other = FACE.clone()
    other[4] += 0.05
    with torch.inference_mode():
        (before, motion), (after, same) = model(code, FACE[None]), model(code, other[None])
    assert torch.equal(motion.grid, same.grid)
    assert torch.equal(before.warped, after.warped)
    assert not torch.equal(before.image, after.image)
