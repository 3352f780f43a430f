"""Eq. 3 with SqueezeNet features: a distance, and a loader that takes the files people have."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage.data import astronaut
from skimage.filters import gaussian
from torch.nn import functional as F
from torchvision.models import vgg

from faceanim_cli.errors import WeightsError
from faceanim_cli.training.perceptual import PerceptualLoss, SqueezeNetLoss, VGG19Loss, perceptual_loss
from tests.training.conftest import squeezenet_file

EXACT = Path(__file__).parents[3] / "shared" / "weights" / "squeezenet1_1_features.safetensors"


@pytest.fixture
def loss(features):
    return SqueezeNetLoss(features)


def astronaut_face():
    return astronaut()[0:192, 130:322] / 255


def batch_of(picture):
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()


class TestDistance:
    def test_is_zero_for_the_same_picture_and_positive_for_another(self, loss):
        images = torch.rand(2, 3, 64, 64)
        target = loss.maps(images)
        assert loss(images, target) == 0
        assert loss(images.flip(-1), target) > 0
        assert loss(images.flip(1), target) > 0  # colours swapped

    def test_grows_with_the_difference(self, loss):
        face = astronaut_face()
        target = loss.maps(batch_of(face))
        distances = [
            loss(batch_of(gaussian(face, s, channel_axis=-1)), target).item() for s in (0.5, 1, 2, 4)
        ]
        assert distances == sorted(distances)
        assert distances[0] > 0

    def test_is_bounded_by_unit_vectors(self, loss):
        # two unit vectors of C numbers are at most 2 sqrt(C) apart in L1: 2 for each of five stages
        assert loss(torch.zeros(1, 3, 64, 64), loss.maps(torch.ones(1, 3, 64, 64))) <= 10

    def test_leaves_scales_out_that_the_poolings_leave_nothing_of(self, loss):
        assert len(loss.maps(torch.rand(1, 3, 34, 34))) == 2 * len(SqueezeNetLoss.STAGES)
        assert len(loss.maps(torch.rand(1, 3, 32, 32))) == len(SqueezeNetLoss.STAGES)  # not at 16 pixels

    def test_of_a_batch_is_the_mean(self, loss):
        a, b = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
        each = [loss(a[i : i + 1], loss.maps(b[i : i + 1])).item() for i in (0, 1)]
        assert loss(a, loss.maps(b)).item() == pytest.approx(sum(each) / 2, rel=1e-4)

    def test_scales_count_equally(self, features):
        a, b = torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128)

        def at(*scales):
            loss = SqueezeNetLoss(features, scales)
            return loss(a, loss.maps(b)).item()

        assert at(1.0, 0.5) == pytest.approx((at(1.0) + at(0.5)) / 2, rel=1e-4)
        assert at(1.0) != pytest.approx(at(0.5), rel=1e-3)

    def test_compares_unit_vectors_at_five_stages_of_two_scales(self, loss):
        maps = loss.maps(torch.rand(1, 3, 128, 128))
        assert [m.shape[1] for m in maps] == [64, 128, 256, 384, 512] * 2 or len(maps) == 10
        assert maps[0].shape[-1] > 1.8 * maps[5].shape[-1]
        for features in maps:
            assert features.norm(dim=1).max() == pytest.approx(1, abs=1e-3)

    def test_images_are_rgb_normalised_as_for_imagenet(self, loss):
        seen = []
        loss.features[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        loss.maps(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 64, 64))
        expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
        np.testing.assert_allclose(seen[0][0, :, 3, 3], expected, rtol=1e-4)

    def test_teaches_the_picture_not_the_features(self, loss):
        images = torch.rand(1, 3, 64, 64, requires_grad=True)
        loss.train()
        loss(images, loss.maps(torch.rand(1, 3, 64, 64))).backward()
        assert images.grad.abs().sum() > 0
        assert all(not p.requires_grad and p.grad is None for p in loss.parameters())


class TestLoading:
    def test_keys_with_and_without_prefix_are_the_same_network(self, tmp_path, features, loss):
        prefixed = squeezenet_file(tmp_path / "p.safetensors", prefix="features.")
        images, target = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
        expected = loss(images, loss.maps(target))
        other = SqueezeNetLoss(prefixed)
        assert other(images, other.maps(target)) == expected
        different = SqueezeNetLoss(squeezenet_file(tmp_path / "d.safetensors", seed=1))
        assert different(images, different.maps(target)) != expected

    def test_a_missing_key_is_named(self, tmp_path, features):
        tensors = load_file(features)
        tensors.pop("3.squeeze.weight")
        save_file(tensors, tmp_path / "f.safetensors")
        with pytest.raises(WeightsError, match=r"3\.squeeze\.weight"):
            SqueezeNetLoss(tmp_path / "f.safetensors")

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(WeightsError, match="nowhere"):
            SqueezeNetLoss(tmp_path / "nowhere.safetensors")

    @pytest.mark.parametrize("content", [b"", b"not safetensors at all"])
    def test_a_file_that_is_not_safetensors_is_named(self, tmp_path, content):
        path = tmp_path / "f.safetensors"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"f\.safetensors"):
            SqueezeNetLoss(path)

    def test_the_weights_that_ship_see_that_a_blurred_face_is_the_same_face(self):
        loss = perceptual_loss("squeezenet")
        face = astronaut_face()
        target = loss.maps(batch_of(face))
        blurred = loss(batch_of(gaussian(face, 0.7, channel_axis=-1)), target)
        other = loss(batch_of(astronaut()[250:442, 250:442] / 255), target)
        assert blurred < 0.7 * other

    @pytest.mark.skipif(not EXACT.is_file(), reason="no SqueezeNet weights beside this checkout")
    def test_half_precision_costs_the_weights_that_ship_nothing(self):
        exact, shipped = SqueezeNetLoss(EXACT), perceptual_loss("squeezenet")
        a, b = batch_of(astronaut_face()), batch_of(astronaut()[250:442, 250:442] / 255)
        assert shipped(a, shipped.maps(b)).item() == pytest.approx(exact(a, exact.maps(b)).item(), rel=2e-3)


@pytest.fixture(scope="module")
def layers():
    torch.manual_seed(0)
    return vgg.make_layers(vgg.cfgs["E"], batch_norm=False)


class TestVGG19:
    def test_is_first_order_model_s_pyramid(self, layers, tmp_path):
        # relu1_1, relu2_1, ... relu5_1, mean L1 of each, added up over stages and scales
        save_file(
            {f"features.{key}": t for key, t in layers.state_dict().items()}, tmp_path / "vgg.safetensors"
        )
        loss = perceptual_loss(str(tmp_path / "vgg.safetensors"))
        assert isinstance(loss, VGG19Loss)
        a, b = torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        expected = 0.0
        for size in (128, 64, 32, 16):
            x, y = (
                (F.adaptive_avg_pool2d(image, size) - mean[:, None, None]) / std[:, None, None]
                for image in (a, b)
            )
            for first, end in ((0, 2), (2, 7), (7, 12), (12, 21), (21, 30)):  # as FOMM slices it
                x, y = layers[first:end](x), layers[first:end](y)
                expected += (x - y).abs().mean().item()
        assert loss(a, loss.maps(b)).item() == pytest.approx(expected, rel=1e-4)

    def test_leaves_scales_out_that_the_poolings_leave_nothing_of(self, layers):
        loss = PerceptualLoss(layers, VGG19Loss.STAGES, (1.0, 0.5, 0.25, 0.125), unit_vectors=False)
        assert len(loss.maps(torch.rand(1, 3, 64, 64))) == 3 * 5  # not at 8 pixels


class TestChoice:
    def test_none(self):
        assert perceptual_loss("none") is None

    def test_a_squeezenet_file(self, features):
        assert isinstance(perceptual_loss(str(features)), SqueezeNetLoss)

    def test_what_is_neither_a_name_nor_a_file_is_told_the_names(self):
        with pytest.raises(WeightsError, match=r"vgg16: .*squeezenet, vgg19 and none"):
            perceptual_loss("vgg16")

    def test_squeezenet_is_there_without_a_network(self, monkeypatch):
        monkeypatch.setattr(torch.hub, "download_url_to_file", None)
        assert isinstance(perceptual_loss("squeezenet", offline=True), SqueezeNetLoss)

    def test_vgg19_offline_names_its_address(self, monkeypatch, tmp_path):
        monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
        with pytest.raises(WeightsError, match=r"https://download\.pytorch\.org/models/vgg19-.*--perceptual"):
            perceptual_loss("vgg19", offline=True)
