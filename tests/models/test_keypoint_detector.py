"""Keypoints: where they come to lie for known heatmaps, what a face box does, and what can be built."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanim_models import KeypointDetector, KeypointDetectorSettings
from faceanim_models.keypoint_detector import ENCODERS, soft_argmax

TINY = KeypointDetectorSettings(4, input_size=32, stages=1, widths=(8,))


class TestSoftArgmax:
    def test_finds_the_one_hot_pixel(self):
        logits = torch.full((1, 2, 5, 9), -1e4)
        logits[0, 0, 2, 6] = logits[0, 1, 4, 0] = 0
        # column 6 of 9 is 2 * 6 / 8 - 1, row 2 of 5 is 2 * 2 / 4 - 1
        torch.testing.assert_close(soft_argmax(logits), torch.tensor([[[0.5, 0.0], [-1.0, 1.0]]]))

    def test_mixes_two_pixels_by_their_softmax(self):
        logits = torch.full((1, 1, 5, 9), -1e4)
        logits[0, 0, 0, 0] = math.log(3)  # three quarters at (-1, -1)
        logits[0, 0, 1, 8] = 0  # a quarter at (1, -0.5)
        torch.testing.assert_close(soft_argmax(logits), torch.tensor([[[-0.5, -0.875]]]))

    @settings(max_examples=25, deadline=None)
    @given(st.integers(-5, 5), st.integers(-4, 4))
    def test_follows_a_shifted_map(self, dx, dy):
        ys, xs = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")
        logits = -((xs - 15) ** 2 + (ys - 11) ** 2)[None, None]
        before, after = soft_argmax(logits), soft_argmax(logits.roll((dy, dx), (2, 3)))
        expected = torch.tensor([[[2 * dx / 31, 2 * dy / 23]]])
        torch.testing.assert_close(after - before, expected, rtol=0, atol=1e-5)

    def test_temperature_divides_the_logits(self, monkeypatch):
        settings_ = dataclasses.replace(TINY, num_keypoints=1, temperature=0.25)
        detector = KeypointDetector(settings_).eval()
        logits = torch.full((1, 1, 16, 16), -1e4)
        logits[0, 0, 0, 0], logits[0, 0, 0, 15] = 0.25 * math.log(4), 0
        monkeypatch.setattr(detector, "logits", lambda images: logits)
        # weights 4 : 1 of x = -1 and x = 1
        torch.testing.assert_close(detector(torch.rand(1, 3, 32, 32)), torch.tensor([[[-0.6, -1.0]]]))


class TestNetwork:
    @pytest.mark.parametrize("encoder", ENCODERS)
    @pytest.mark.parametrize("stages", [1, 2, 3, 4])
    def test_every_encoder_and_depth_builds(self, encoder, stages):
        widths = (16, 12, 8, 8)[:stages]
        with torch.device("meta"):  # shapes without arithmetic
            detector = KeypointDetector(
                KeypointDetectorSettings(7, encoder=encoder, input_size=64, stages=stages, widths=widths)
            )
            images = torch.empty(2, 3, 100, 80)
            assert detector.logits(images).shape == (2, 7, 32, 32)
            assert detector(images).shape == (2, 7, 2)

    def test_the_papers_preset_gives_ten_points_in_range(self):
        points = KeypointDetector(KeypointDetectorSettings()).eval()(torch.rand(2, 3, 256, 256))
        assert points.shape == (2, 10, 2)
        assert points.abs().max() <= 1

    def test_images_are_rgb_normalised_as_for_imagenet(self):
        detector = KeypointDetector(TINY).eval()
        seen = []
        detector.encoder.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        red = torch.zeros(1, 3, 32, 32)
        red[:, 0] = 1
        detector(red)
        expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]  # torchvision's documented constants
        np.testing.assert_allclose(seen[0][0, :, 5, 9], expected, rtol=1e-4)

    def test_one_image_does_not_influence_another(self):
        detector = KeypointDetector(TINY).eval()
        images = torch.rand(3, 3, 48, 48)
        torch.testing.assert_close(detector(images)[1:2], detector(images[1:2]), rtol=0, atol=1e-5)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"encoder": "vgg19"}, "vgg19"),
            ({"stages": 5}, "5 stages"),
            ({"widths": (8, 8)}, "2 decoder widths"),
        ],
    )
    def test_impossible_settings_are_named(self, change, message):
        with pytest.raises(ValueError, match=message):
            KeypointDetector(dataclasses.replace(TINY, **change))


def test_the_encoder_starts_as_torchvision_s_does():
    found = KeypointDetector(KeypointDetectorSettings(stages=2, widths=(12, 8))).encoder
    wanted = torchvision.models.resnet18(weights=None)
    assert not hasattr(found, "layer3")
    for name, tensor in found.state_dict().items():
        like = wanted.state_dict()[name]
        assert tensor.dtype == like.dtype
        if tensor.ndim == 4:
            assert abs(float(tensor.std() / like.std()) - 1) < 0.05
            assert abs(float(tensor.mean())) < 0.1 * float(like.std())
        else:
            torch.testing.assert_close(tensor, like)
