"""First-order-model's networks: conventions worked out by hand, and the shapes its checkpoints have.

Parity with the original's outputs is in ``tests/weights/test_first_order.py``.
"""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faceanim_models import FirstOrderModel, FirstOrderSettings, Keypoints
from faceanim_models.blocks import fold_batch_norms
from faceanim_models.first_order import (
    AntialiasedShrink,
    Hourglass,
    HourglassKeypointDetector,
    candidate_grids,
    deform,
    inverse,
    sample,
)
from faceanim_models.geometry import identity_grid
from tests.conftest import TINY_FIRST_ORDER
from tests.models.conftest import randomise_norms

TINY = dataclasses.replace(TINY_FIRST_ORDER, num_keypoints=3, jacobian_maps=3, residual_blocks=2)
VARIANTS = {
    "as vox": TINY,
    "no Jacobians": dataclasses.replace(TINY, jacobian_maps=0),
    "one shared Jacobian": dataclasses.replace(TINY, jacobian_maps=1),
    "no occlusion": dataclasses.replace(TINY, occlusion=False),
    "motion at half size": dataclasses.replace(TINY, keypoint_shrink=2, motion_shrink=2),
    "motion at full size": dataclasses.replace(TINY, keypoint_shrink=1, motion_shrink=1),
}


def build(settings: FirstOrderSettings = TINY) -> FirstOrderModel:
    """A network of which every part matters: no zero weights, batch statistics as after training."""
    model = FirstOrderModel(settings)
    randomise_norms(model)
    if model.kp_detector.jacobian is not None:
        nn.init.normal_(model.kp_detector.jacobian.weight, 0, 0.05)
    return model.eval()


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64)


def run(model: FirstOrderModel, frames: torch.Tensor) -> list[torch.Tensor]:
    with torch.inference_mode():
        code = model.encode_photo(frames[:1])
        driving = model.detect(frames[1:])
        generated, motion = model(code.expand(2), driving)
    outputs = [code.keypoints, *driving, *generated, *motion]
    return [output for output in outputs if output is not None]


def test_the_default_is_vox_256_tensor_for_tensor():
    with torch.device("meta"):
        model = FirstOrderModel(FirstOrderSettings())
    for part, tensors, parameters in (
        (model.generator, 196, 45_575_391),
        (model.kp_detector, 75, 14_215_368),
    ):
        assert len(part.state_dict()) == tensors
        assert sum(parameter.numel() for parameter in part.parameters()) == parameters
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert shapes["generator.dense_motion_network.mask.weight"] == (11, 108, 7, 7)
    assert shapes["generator.dense_motion_network.down.weight"] == (3, 1, 13, 13)
    assert shapes["generator.bottleneck.r5.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["kp_detector.predictor.encoder.down_blocks.4.conv.weight"] == (1024, 512, 3, 3)
    assert shapes["kp_detector.jacobian.weight"] == (40, 35, 7, 7)


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())
class TestVariants:
    def test_shapes_and_ranges(self, settings, frames):
        model = build(settings)
        with torch.inference_mode():
            code = model.encode_photo(frames[:1])
            driving = model.detect(frames[1:])
            generated, motion = model(code.expand(2), driving)
        size = 64 // settings.motion_shrink
        assert driving.points.shape == (2, 3, 2)
        assert (driving.jacobians is None) == (settings.jacobian_maps == 0)
        assert driving.jacobians is None or driving.jacobians.shape == (2, 3, 2, 2)
        assert generated.image.shape == generated.warped.shape == (2, 3, 64, 64)
        assert 0 <= generated.image.min() < generated.image.max() <= 1
        assert motion.grid.shape == (2, size, size, 2)
        assert (motion.occlusion is None) == (not settings.occlusion)
        torch.testing.assert_close(motion.mixture.sum(1), torch.ones(2, size, size))

    def test_folding_changes_nothing_and_leaves_only_what_cannot_be_folded(self, settings, frames):
        model = build(settings)
        folded = fold_batch_norms(model)
        left = [name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)]
        assert left == ["generator.bottleneck.r0.norm1", "generator.bottleneck.r1.norm1"]
        for seen, expected in zip(run(folded, frames), run(model, frames), strict=True):
            torch.testing.assert_close(seen, expected, rtol=0, atol=1e-4)


def test_the_frames_of_a_batch_do_not_mix(frames):
    model = build()
    together, one = run(model, frames), run(model, frames[:2].repeat(2, 1, 1, 1)[[0, 1, 1]])
    for seen, expected in zip(together[1:], one[1:], strict=True):
        torch.testing.assert_close(seen[0], expected[0], rtol=0, atol=1e-5)


def test_keypoints_may_be_given():
    model, photo = build(), torch.rand(1, 3, 64, 64)
    given = Keypoints(torch.zeros(1, 3, 2), torch.eye(2).expand(1, 3, 2, 2))
    code = model.encode_photo(photo, given)
    assert code.keypoints is given.points
    assert code.jacobians is given.jacobians


def test_jacobian_maps_are_none_or_one_or_one_each():
    with pytest.raises(ValueError, match="2 Jacobian maps for 3 keypoints"):
        FirstOrderModel(dataclasses.replace(TINY, jacobian_maps=2))


def test_jacobians_start_as_the_identity(frames):
    _, jacobians, _ = HourglassKeypointDetector(TINY).eval()(frames)
    torch.testing.assert_close(jacobians, torch.eye(2).expand(3, 3, 2, 2))


def test_keypoints_are_found_in_full_precision_whatever_the_rest_runs_in(frames):
    model = build()
    expected = model.detect(frames)
    with torch.autocast("cpu", torch.bfloat16):
        seen = model.detect(frames)
    assert seen.points.dtype == torch.float32
    assert torch.equal(seen.points, expected.points)
    assert torch.equal(seen.jacobians, expected.jacobians)


def test_half_precision_stays_close(frames):
    model = build()
    expected = run(model, frames)
    with torch.autocast("cpu", torch.bfloat16):
        seen = run(model, frames)
    for a, b in zip(seen, expected, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=0.1)


def test_a_heatmap_of_one_pixel_puts_the_keypoint_on_it():
    """58 heatmap pixels for 64 of the image: the corners of the heatmap stand for -1 and 1."""
    detector = HourglassKeypointDetector(TINY).eval()
    nn.init.zeros_(detector.kp.weight)
    peaks = torch.zeros(1, 3, 10, 10)
    peaks[0, 0, 0, 9], peaks[0, 1, 9, 0], peaks[0, 2, 4, 4] = 9, 9, 9
    detector.kp.register_forward_hook(lambda *_: peaks)
    detector.jacobian = None
    points, _, _ = detector(torch.rand(1, 3, 64, 64))
    torch.testing.assert_close(points[0], torch.tensor([[1.0, -1.0], [-1.0, 1.0], [-1 / 9, -1 / 9]]))


class TestConventions:
    def test_the_identity_grid_changes_nothing(self):
        image = torch.rand(2, 3, 9, 12)
        grid = identity_grid(9, 12, image).expand(2, -1, -1, -1)
        torch.testing.assert_close(deform(image, grid), image)

    def test_beyond_the_edge_is_black(self):
        image = torch.ones(1, 1, 5, 5)
        right = identity_grid(5, 5, image) + torch.tensor([1.0, 0.0])
        torch.testing.assert_close(sample(image, right)[0, 0, 0], torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0]))

    def test_a_small_grid_is_enlarged_pixel_centre_to_pixel_centre(self):
        image, grid = torch.rand(1, 3, 8, 8), torch.rand(1, 4, 4, 2) - 0.5
        enlarged = F.interpolate(grid.permute(0, 3, 1, 2), scale_factor=2.0, mode="bilinear")
        torch.testing.assert_close(deform(image, grid), sample(image, enlarged.permute(0, 2, 3, 1)))

    @pytest.mark.parametrize("factor", [2, 4, 8])
    def test_shrinking_is_a_blur_and_then_every_nth_pixel(self, factor):
        image = torch.rand(2, 3, 32, 48)
        shrink = AntialiasedShrink(factor)
        blurred = F.conv2d(image, shrink.weight, padding=shrink.weight.shape[-1] // 2, groups=3)
        torch.testing.assert_close(shrink(image), blurred[:, :, ::factor, ::factor])
        assert shrink.weight.sum((1, 2, 3)).tolist() == pytest.approx([1.0] * 3)

    def test_the_blur_of_a_quarter_is_as_in_the_checkpoints(self):
        weight = AntialiasedShrink(4).weight[0, 0]
        assert weight.shape == (13, 13)
        # sigma 1.5: one pixel off the middle is exp(-1 / 4.5) of it
        assert weight[6, 7] / weight[6, 6] == pytest.approx(math.exp(-1 / 4.5), rel=1e-5)

    def test_candidates_are_the_background_and_each_keypoints_motion(self):
        a = math.radians(30)
        turn = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
        eye = torch.eye(2)
        source = Keypoints(torch.tensor([[[0.1, 0.2], [-0.3, 0.0]]]), torch.stack((eye, 2 * eye))[None])
        driving = Keypoints(torch.tensor([[[0.4, 0.2], [0.0, 0.5]]]), torch.stack((turn, eye))[None])
        grids = candidate_grids(source, driving, 5, 7)
        z = identity_grid(5, 7, grids)[0]
        torch.testing.assert_close(grids[0, 0], z)
        # The driver's first keypoint turned by 30 degrees: to find the photo's pixels, turn back.
        torch.testing.assert_close(grids[0, 1], source.points[0, 0] + (z - driving.points[0, 0]) @ turn)
        torch.testing.assert_close(grids[0, 2], source.points[0, 1] + 2 * (z - driving.points[0, 1]))

    def test_without_jacobians_keypoints_shift(self):
        source, driving = Keypoints(torch.tensor([[[0.1, 0.2]]])), Keypoints(torch.tensor([[[0.4, 0.0]]]))
        grids = candidate_grids(source, driving, 4, 4)
        expected = identity_grid(4, 4, grids)[0] + torch.tensor([-0.3, 0.2])
        torch.testing.assert_close(grids[0, 1], expected)

    def test_inverse(self):
        matrices = torch.randn(4, 5, 2, 2) + 2 * torch.eye(2)
        torch.testing.assert_close(inverse(matrices), torch.linalg.inv(matrices), rtol=1e-4, atol=1e-4)
        assert inverse(torch.zeros(1, 2, 2)).isfinite().all()  # no exception in the middle of a film

    def test_the_hourglass_passes_its_input_on(self):
        x = torch.rand(2, 3, 16, 24)
        network = Hourglass(3, (4, 6, 8)).eval()
        y = network(x)
        assert y.shape == (2, network.out_channels, 16, 24) == (2, 7, 16, 24)
        assert torch.equal(y[:, 4:], x)
