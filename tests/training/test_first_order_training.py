"""First-order-model's networks trained on: from its checkpoint to weights that animate."""

import json
import math
import signal

import pytest
import torch

from faceanim_cli import Animator
from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.training import optim
from faceanim_cli.training.perceptual import SqueezeNetLoss
from faceanim_cli.training.settings import FirstOrderLossWeights
from faceanim_cli.weights.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from faceanim_cli.weights.load import load_weights
from faceanim_models import AnimationModel, FirstOrderModel
from tests.conftest import TINY_FIRST_ORDER
from tests.training.conftest import SIZE, moving_frames, same, state_of, tiny_settings

PARTS = (
    "kp_detector.kp",
    "kp_detector.jacobian",
    "generator.dense_motion_network.mask",
    "generator.dense_motion_network.occlusion",
    "generator.bottleneck.r0.conv1",
    "generator.final",
)


def test_every_part_goes_on_from_the_checkpoint(first_order_run, vox, tmp_path):
    scores, reports = first_order_run(learning_rate=1e-3, warm_up=1)
    out = tmp_path / "run"
    assert {file.name for file in out.iterdir()} >= {
        *("settings.json", "last.safetensors", "best.safetensors", "step-00000003.safetensors"),
        *("state.pt", "samples"),
    }
    assert json.loads((out / "settings.json").read_text())["losses"]["equivariance_jacobian"] == 10
    assert any("2 clips of 2 people, 1 to validate on" in line for line in reports)
    assert float(read_metadata(out / "best.safetensors")["score"]) == scores.psnr
    assert math.isfinite(scores.ssim)

    start = load_weights(vox).state_dict()
    model = load_checkpoint(out / "best.safetensors", expected="first-order")
    assert model.settings == TINY_FIRST_ORDER
    for part in PARTS:
        change = (model.state_dict()[f"{part}.weight"] - start[f"{part}.weight"]).abs().max()
        assert 1e-5 < change < 1e-2, part  # three steps of 1e-3 from there
    statistics = "generator.first.norm.running_mean"
    assert not torch.equal(model.state_dict()[statistics], start[statistics])


def test_nothing_is_made_up_about_whose_the_weights_are(first_order_run, tmp_path):
    first_order_run(max_steps=1)
    said = read_metadata(tmp_path / "run" / "last.safetensors")
    assert said["started_from"].startswith("vox-cpk.pth.tar (SHA-256 ")
    assert "licence" not in said  # the file says none


def test_the_averaged_weights_are_saved(first_order_run, tmp_path):
    first_order_run(ema=0.5, learning_rate=1e-2, warm_up=1)
    state = state_of(tmp_path / "run")
    saved = load_weights(tmp_path / "run" / "last.safetensors").state_dict()["generator.final.weight"]
    assert torch.equal(saved, state["ema"]["module.generator.final.weight"])  # not rounded to half
    assert (saved - state["model"]["generator.final.weight"]).abs().max() > 1e-4


def test_a_stopped_run_goes_on_to_the_last_bit(first_order_run, tmp_path, monkeypatch):
    monkeypatch.setattr(optim, "learning_rate_factor", lambda progress: 1 - progress)
    options = {"losses": FirstOrderLossWeights(adversarial=0.5), "discriminator_side": 32, "max_steps": 5}
    first_order_run(out=tmp_path / "whole", **options)

    def interrupted(progress):
        if progress == 2 / 5:
            signal.raise_signal(signal.SIGINT)
        return 1 - progress

    with monkeypatch.context() as patch:
        patch.setattr(optim, "learning_rate_factor", interrupted)
        first_order_run(out=tmp_path / "parts", **options)
    assert state_of(tmp_path / "parts")["step"] == 3
    torch.rand(7)  # whatever else drew in the meantime
    first_order_run(out=tmp_path / "parts", **options)
    whole, parts = state_of(tmp_path / "whole"), state_of(tmp_path / "parts")
    assert whole["step"] == 5
    assert "discriminator" in whole
    assert same(whole, parts)


def test_half_precision_and_accumulated_batches(first_order_run, tmp_path):
    scores, _ = first_order_run(precision="bf16", accumulate=2, max_steps=1)
    assert math.isfinite(scores.psnr)
    assert state_of(tmp_path / "run")["pairs"] == 4


def test_it_learns(first_order_run, features, vox, tmp_path):
    """The result looks more like the person it was trained on than what the checkpoint makes of them."""
    first_order_run(max_steps=40, learning_rate=2e-3, warm_up=1, ema=0.9)
    frames, _ = moving_frames(6, seed=0)
    frames = torch.from_numpy(frames[:, 16:80, 16:80]).permute(0, 3, 1, 2).float() / 255
    perceptual = SqueezeNetLoss(features)

    @torch.inference_mode()
    def distance(file):
        model = load_weights(file)
        code = model.encode_photo(frames[:1]).expand(6)
        return perceptual(model(code, model.detect(frames))[0].image, perceptual.maps(frames)).item()

    assert distance(tmp_path / "run" / "last.safetensors") < 0.9 * distance(vox)


def test_the_result_animates_like_any_weights(first_order_run, tmp_path):
    first_order_run(max_steps=2)
    animator = Animator(tmp_path / "run" / "best.safetensors", device="cpu", precision="fp32", sr=False)
    frames, _ = moving_frames(3, seed=1)
    animator.set_photo(frames[0], crop=None)
    painted = list(animator.animate(frames))
    assert [frame.shape for frame in painted] == [(SIZE, SIZE, 3)] * 3


def test_the_result_is_trained_on_in_turn(first_order_run, tmp_path):
    first_order_run(max_steps=1)
    first_order_run(init=tmp_path / "run" / "last.safetensors", out=tmp_path / "next", max_steps=1, size=48)
    model = load_weights(tmp_path / "next" / "last.safetensors")
    assert isinstance(model, FirstOrderModel)
    assert model.settings.image_size == 48


class TestRefusals:
    def test_a_size_that_cannot_be_halved_often_enough(self, first_order_run):
        with pytest.raises(UsageError, match=r"^--size 72: these networks need a multiple of 16$"):
            first_order_run(size=72)

    def test_other_networks(self, first_order_run, tmp_path):
        save_checkpoint(tmp_path / "m.safetensors", AnimationModel(tiny_settings()))
        with pytest.raises(WeightsError, match=r"m\.safetensors: not first-order-model's networks"):
            first_order_run(init=tmp_path / "m.safetensors")
