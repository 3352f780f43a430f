"""The detector's second step: points found on patches land where the image shows them; the others stay."""

import dataclasses

import pytest
import torch

from faceanim_models import KeypointDetector, KeypointDetectorSettings
from faceanim_models.keypoint_refiner import KeypointRefiner, KeypointRefinerSettings
from tests.models.conftest import TINY_PATCHES, TINY_RIGID, randomise_norms

SETTINGS = KeypointRefinerSettings(TINY_PATCHES, TINY_RIGID, (4, 6, 8))
FACE = torch.tensor([[-0.5, -0.25], [-0.25, -0.25], [0.25, -0.25], [0.5, -0.25], [0.0, 0.5]])


class PointsAtTheBrightest(torch.nn.Module):
    """In a network's place: one heatmap for each point, the patch's brightness."""

    def __init__(self, points: int) -> None:
        super().__init__()
        self.points = points

    def forward(self, folded):
        return 100 * folded[:, :1].repeat(1, self.points, 1, 1)  # red of the first of each 2x2 pixels


@pytest.fixture
def refiner():
    refiner = KeypointRefiner(SETTINGS, 5).eval()
    refiner.patches.mean_face.copy_(FACE)
    return refiner


def test_points_are_found_where_the_image_shows_them(refiner):
    refiner.networks[0], refiner.networks[1] = PointsAtTheBrightest(2), PointsAtTheBrightest(1)
    image = torch.zeros(1, 3, 129, 129)  # pixel p lies at p / 64 - 1
    for x, y in ((-0.4375, -0.1875), (0.375, -0.25), (0.0625, 0.4375)):
        column, row = round((x + 1) * 64), round((y + 1) * 64)
        image[..., row - 1 : row + 2, column - 1 : column + 2] = 1
    found = refiner(image, FACE[None])[0]
    wanted = torch.tensor([[-0.4375, -0.1875]] * 2 + [[0.375, -0.25]] * 2 + [[0.0625, 0.4375]])
    # A cell of the heatmaps is 0.5 / 8 wide here, and the lit pixel the first of its cell.
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.05)


def test_points_in_no_patch_stay(refiner):
    one_less = dataclasses.replace(TINY_PATCHES[1], points=((2,),))
    settings = dataclasses.replace(SETTINGS, patches=(one_less,))
    refiner = KeypointRefiner(settings, 5).eval()
    refiner.patches.mean_face.copy_(FACE)
    with torch.inference_mode():
        found = refiner(torch.rand(2, 3, 64, 64), FACE.expand(2, -1, -1))
    assert torch.equal(found[:, [0, 1, 3, 4]], FACE[[0, 1, 3, 4]].expand(2, -1, -1))
    assert not torch.equal(found[:, 2], FACE[2].expand(2, -1))


def test_the_detector_refines_what_it_finds_and_trains_both_steps():
    plain = KeypointDetectorSettings(5, input_size=32, stages=2, widths=(12, 8))
    detector = KeypointDetector(dataclasses.replace(plain, refiner=SETTINGS))
    randomise_norms(detector)
    detector.refiner.patches.mean_face.copy_(FACE)
    images = torch.rand(2, 3, 64, 64)
    coarse, refined = detector.steps(images)
    assert torch.equal(detector.eval()(images), detector.steps(images)[-1])
    (coarse.sum() + refined.square().sum()).backward()
    for part in (
        detector.heatmaps,
        detector.refiner.networks[0].head,
        detector.refiner.networks[1].stem.conv,
    ):
        assert part.weight.grad.abs().sum() > 0
    detector.zero_grad()
    _, refined = detector.train().steps(images)
    refined.square().sum().backward()
    assert detector.heatmaps.weight.grad is None  # where a patch lies is no way to be right in it
