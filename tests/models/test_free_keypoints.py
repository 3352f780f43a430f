"""Free keypoints: where they are found, and what of a picture moves by them."""

import dataclasses

import pytest
import torch
from torch import nn

from faceanim_models import AnimationModel, Keypoints
from faceanim_models.free_keypoints import HOMES, FreeKeypointDetector, FreeKeypointSettings
from tests.models.conftest import SIZE, force_candidate, randomise_norms, tiny_settings

TINY = FreeKeypointSettings(((-0.5, 0.5), (0.5, 0.5)), input_size=32, stem=4, widths=(4, 6))


@pytest.fixture
def model():
    settings = tiny_settings(4)
    motion = dataclasses.replace(settings.motion, free_keypoints=2)
    model = AnimationModel(dataclasses.replace(settings, motion=motion, free_keypoints=TINY)).eval()
    randomise_norms(model)
    return model


class TestDetector:
    def test_a_blank_heatmap_finds_each_at_home(self):
        detector = FreeKeypointDetector(FreeKeypointSettings()).eval()
        nn.init.zeros_(detector.heatmaps.weight)
        nn.init.zeros_(detector.heatmaps.bias)
        found = detector(torch.rand(1, 3, 256, 256))[0]
        inside = torch.tensor(HOMES).abs().amax(1) + 0.3 <= 1  # others are cut off by the picture's edge
        torch.testing.assert_close(found[inside], torch.tensor(HOMES)[inside], rtol=0, atol=0.02)

    def test_none_goes_beyond_its_reach(self):
        detector = FreeKeypointDetector(dataclasses.replace(TINY, temperature=1e-3)).eval()
        found = detector(torch.rand(8, 3, SIZE, SIZE))
        away = torch.linalg.vector_norm(found - torch.tensor(TINY.homes), dim=-1)
        assert away.max() <= TINY.reach
        assert away.max() > 0.5 * TINY.reach  # a pointed heatmap goes where it points

    def test_gradients_are_finite(self):
        detector = FreeKeypointDetector(TINY)
        detector(torch.rand(2, 3, SIZE, SIZE)).square().sum().backward()
        assert all(p.grad.isfinite().all() for p in detector.parameters() if p.grad is not None)


class TestModel:
    def test_finds_them_beside_the_others(self, model, photo):
        with torch.inference_mode():
            found, code = model.detect(photo), model.encode_photo(photo)
        assert (found.points.shape, found.free.shape) == ((1, 4, 2), (1, 2, 2))
        assert torch.equal(code.free, found.free)
        assert code.expand(3).free.shape == (3, 2, 2)

    def test_what_is_at_one_moves_with_it(self, model):
        force_candidate(model, 7)  # after identity, head, and four anchored ones: the second of the free
        with torch.no_grad():
            model.dense_motion.turning.fill_(-40.0)
        photo = torch.zeros(1, 3, SIZE, SIZE)
        photo[0, 1, 50, 40] = 1  # a green dot
        points, free = torch.rand(1, 4, 2) - 0.5, torch.tensor(TINY.homes)[None]
        step = torch.tensor([2 * 8 / (SIZE - 1), -2 * 5 / (SIZE - 1)])  # 8 columns, -5 rows
        with torch.inference_mode():
            code = model.encode_photo(photo, Keypoints(points, free=free))
            generated, _ = model(code, Keypoints(points, free=free + step))
        assert generated.warped[0, 1].argmax() == 45 * SIZE + 48

    def test_a_driver_of_anchored_keypoints_alone_will_do(self, model, photo):
        points = torch.rand(2, 4, 2) - 0.5
        with torch.inference_mode():
            code = model.encode_photo(photo)
            alone, _ = model(code.expand(2), points)
            named, _ = model(code.expand(2), Keypoints(points))
        assert torch.equal(alone.image, named.image)

    def test_one_photo_serves_a_batch(self, model, photo):
        points, free = torch.rand(3, 4, 2) - 0.5, torch.rand(3, 2, 2) - 0.5
        with torch.inference_mode():
            code = model.encode_photo(photo)
            batched, _ = model(code.expand(3), Keypoints(points, free=free))
            one, _ = model(code, Keypoints(points[1:2], free=free[1:2]))
        torch.testing.assert_close(batched.image[1:2], one.image, rtol=0, atol=1e-5)

    def test_detector_and_motion_must_agree(self):
        with pytest.raises(ValueError, match="2 free keypoints found, 0 moved"):
            AnimationModel(dataclasses.replace(tiny_settings(4), free_keypoints=TINY))
