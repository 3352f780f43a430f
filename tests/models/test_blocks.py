"""Shared blocks: shapes, joined features, and batch norms folded for inference."""

import copy

import pytest
import torch
from torch import nn

from faceanim_models import KeypointDetector, KeypointDetectorSettings
from faceanim_models.blocks import UNet, UpBlock, cast_convolutions, fold_batch_norms
from tests.models.conftest import randomise_norms


class TestUNet:
    def test_keeps_the_size(self):
        assert UNet(5, (8, 12, 16))(torch.rand(2, 5, 24, 16)).shape == (2, 8, 24, 16)

    def test_features_join_at_their_level(self):
        network = UNet(3, (8, 12, 16), joined=(2, 0, 4)).eval()
        x, extras = torch.rand(1, 3, 16, 16), [torch.rand(1, 2, 16, 16), None, torch.rand(1, 4, 4, 4)]
        before = network(x, extras)
        for level in (0, 2):
            changed = [e + 1 if i == level else e for i, e in enumerate(extras)]
            assert (network(x, changed) - before).abs().max() > 1e-5

    def test_levels_must_match(self):
        with pytest.raises(ValueError, match="2 levels"):
            UNet(3, (8, 12, 16), joined=(1, 2))


def test_an_up_block_takes_both_its_inputs():
    block = UpBlock(6, 4, 8).eval()
    x, skip = torch.rand(1, 6, 5, 7), torch.rand(1, 4, 10, 14)
    y = block(x, skip)
    assert y.shape == (1, 8, 10, 14)
    assert (block(x + 1, skip) - y).abs().max() > 1e-4
    assert (block(x, skip + 1) - y).abs().max() > 1e-4


class TestFolding:
    @staticmethod
    def check(network, run):
        randomise_norms(network)
        network.train()
        state = copy.deepcopy(network.state_dict())
        folded = fold_batch_norms(network)

        assert network.training  # the original is left as it was
        assert network.state_dict().keys() == state.keys()
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
        assert not folded.training
        assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
        with torch.inference_mode():
            for seen, expected in zip(run(folded), run(network.eval()), strict=True):
                torch.testing.assert_close(seen, expected, rtol=0, atol=1e-4)

    def test_animation_model(self, model, photo):
        driving = torch.rand(1, 4, 2) - 0.5

        def run(network):
            code = network.encode_photo(photo)
            generated, motion = network(code, driving)
            # Features after the first are further on where they are merged.
            return [code.keypoints, code.features[0], *generated, *motion]

        self.check(model, run)

    @pytest.mark.parametrize("encoder", ["resnet18", "resnet50"])
    def test_encoders(self, encoder):
        settings = KeypointDetectorSettings(3, encoder=encoder, input_size=32, stages=2, widths=(8, 8))
        images = torch.rand(2, 3, 40, 40)
        self.check(KeypointDetector(settings), lambda network: [network(images)])


def test_convolutions_keep_their_weights_in_the_type_they_compute_in(model, photo):
    driving = torch.rand(1, 4, 2) - 0.5
    cast = fold_batch_norms(model)
    cast_convolutions(cast, torch.bfloat16)
    kinds = {type(module): module.weight.dtype for module in cast.modules() if hasattr(module, "weight")}
    assert set(kinds.values()) == {torch.bfloat16}
    assert cast.dense_motion.locality.dtype == torch.float32  # no convolution's

    def run(network):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return network(network.encode_photo(photo), driving)[0].image

    # autocast rounds the same weights, in every call
    assert torch.equal(run(cast), run(fold_batch_norms(model)))


def test_what_needs_full_precision_keeps_it():
    network = nn.ModuleDict({"free": nn.Conv2d(3, 4, 3), "kept": nn.Sequential(nn.Conv2d(3, 4, 3))})
    network["kept"].full_precision = True
    cast_convolutions(network, torch.bfloat16)
    assert network["free"].weight.dtype == torch.bfloat16
    assert network["kept"][0].weight.dtype == torch.float32
