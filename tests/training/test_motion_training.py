"""The training loop on two people who do not exist: what it writes, how it goes on, and how it stops."""

import hashlib
import json
import math
import os
import signal
import stat
from importlib.util import find_spec

import pytest
import torch

from faceanim_cli.errors import FaceanimError, UnreadableInputError, WeightsError
from faceanim_cli.training import motion, optim
from faceanim_cli.training.architecture import SHIPPED_ANCHORS
from faceanim_cli.training.progress import LossReport
from faceanim_cli.training.settings import LossWeights
from faceanim_cli.weights.checkpoint import load_checkpoint, read_metadata, save_checkpoint, stored_type
from faceanim_models import (
    AnimationModel,
    PatchDiscriminator,
    PatchDiscriminatorSettings,
)
from tests.training.conftest import K, squeezenet_file, state_of, tiny_settings, write_data

TIME_LIMIT = 60.0  # seconds for a test that takes three on an idle core


@pytest.fixture
def no_waiting_for_ever():
    """A run whose loader process never answers fails instead of hanging."""

    def too_long(*_):
        raise TimeoutError("training hangs")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def report_every_step(monkeypatch):
    """The names of the terms of each step, as they come."""
    seen = []
    add = LossReport.add
    monkeypatch.setattr(
        LossReport, "add", lambda self, terms, *rest: (seen.append(list(terms)), add(self, terms, *rest))
    )
    return seen


class TestRun:
    def test_writes_everything_and_goes_on_from_there(self, run, tmp_path):
        out = tmp_path / "run"
        scores, reports = run()
        assert {file.name for file in out.iterdir()} == {
            *("settings.json", "last.safetensors", "best.safetensors", "step-00000003.safetensors"),
            *("state.pt", "samples"),
            *(["curves"] if find_spec("tensorboard") else []),
        }
        assert json.loads((out / "settings.json").read_text())["max_steps"] == 3
        umask = os.umask(0)
        os.umask(umask)
        modes = {stat.S_IMODE(file.stat().st_mode) for file in out.rglob("*.*") if file.is_file()}
        assert modes == {0o666 & ~umask}  # colleagues may read them
        assert math.isfinite(scores.psnr)
        assert scores.psnr_static < 60
        assert any("2 clips of 2 people, 1 to validate on" in line for line in reports)
        state = state_of(out)
        assert state["step"] == 3
        assert float(read_metadata(out / "best.safetensors")["score"]) == scores.psnr
        first = {key: value.clone() for key, value in state["model"].items()}
        assert read_metadata(out / "last.safetensors")["trained"] == "step 3"
        model = load_checkpoint(out / "best.safetensors", expected="animation")
        assert isinstance(model, AnimationModel)
        assert model.settings == tiny_settings(anchors=SHIPPED_ANCHORS)
        assert stored_type(out / "best.safetensors") == torch.float16

        _, reports = run(max_steps=5)
        assert any("going on from step 3" in line for line in reports)
        state = state_of(out)
        assert state["step"] == 5
        assert {int(entry["step"]) for entry in state["model optimizer"]["state"].values()} == {5}
        assert not torch.equal(state["model"]["generator.head.weight"], first["generator.head.weight"])
        assert read_metadata(out / "last.safetensors")["trained"] == "step 5"

        # everything is done: nothing is trained, nothing is lost
        run(max_steps=5)
        assert state_of(out)["step"] == 5

    def test_every_part_is_trained(self, run, tmp_path):
        run(max_steps=1)
        one = state_of(tmp_path / "run")["model"]
        run(max_steps=2)
        two = state_of(tmp_path / "run")["model"]
        parts = (
            "keypoint_detector.heatmaps",
            "dense_motion.mixture",
            "dense_motion.residual",
            "generator.head",
        )
        for part in parts:
            assert not torch.equal(one[f"{part}.weight"], two[f"{part}.weight"])

    def test_the_averaged_weights_are_saved(self, run, tmp_path):
        run(ema=0.5, learning_rate=1e-2, warm_up=1)
        state = state_of(tmp_path / "run")
        saved = load_checkpoint(tmp_path / "run" / "last.safetensors").state_dict()["generator.head.weight"]
        averaged = state["ema"]["module.generator.head.weight"]
        torch.testing.assert_close(saved, averaged, rtol=2**-10, atol=1e-6)
        assert (saved - state["model"]["generator.head.weight"]).abs().max() > 1e-4

    def test_the_same_seed_gives_the_same_weights(self, run, tmp_path):
        for name in ("a", "b"):
            run(out=tmp_path / name, max_steps=2)
        run(out=tmp_path / "c", max_steps=2, seed=1)
        a, b, c = (state_of(tmp_path / name)["model"]["generator.head.weight"] for name in "abc")
        torch.testing.assert_close(a, b)
        assert not torch.allclose(a, c)

    def test_starts_from_given_weights(self, run, tmp_path):
        torch.manual_seed(5)
        model = AnimationModel(tiny_settings())
        with torch.no_grad():
            model.dense_motion.rigidity.fill_(0.75)
        init = tmp_path / "init.safetensors"
        save_checkpoint(init, model, notes={"licence": "CC BY-NC 4.0"}, dtype=torch.float32)
        run(init=init, max_steps=1)
        assert stored_type(tmp_path / "run" / "best.safetensors") == torch.float32  # as init's are
        said = read_metadata(tmp_path / "run" / "best.safetensors")
        assert said["licence"] == "CC BY-NC 4.0"  # stays with what is made of them
        digest = hashlib.sha256((tmp_path / "init.safetensors").read_bytes()).hexdigest()
        assert said["started_from"] == f"init.safetensors (SHA-256 {digest})"
        rigidity = state_of(tmp_path / "run")["model"]["dense_motion.rigidity"]
        assert rigidity.numel() == K
        torch.testing.assert_close(rigidity, torch.full((K,), 0.75), rtol=0, atol=1e-3)

    def test_bfloat16_and_a_loader_process(self, run, no_waiting_for_ever):
        scores, _ = run(precision="bf16", workers=1, max_steps=1)
        assert math.isfinite(scores.psnr)

    def test_a_step_that_overflows_half_precision_leaves_the_weights_alone(self, run, tmp_path):
        run(precision="16", max_steps=1)
        first = state_of(tmp_path / "run")
        # The scale it begins with is too high for these networks: that is how a scaler finds the right one.
        assert first["scaler"]["scale"] < 65536
        assert all(state["step"] == 0 for state in first["model optimizer"]["state"].values())
        scores, _ = run(precision="16", max_steps=12)
        last = state_of(tmp_path / "run")
        assert all(t.isfinite().all() for t in last["model"].values() if t.is_floating_point())
        assert all(state["step"] > 0 for state in last["model optimizer"]["state"].values())
        assert math.isfinite(scores.psnr)

    def test_a_first_run_that_decodes_large_clips_can_load_them(self, run, tmp_path, no_waiting_for_ever):
        # Decoding uses OpenCV's threads; a loader process forked after that must not wait for them.
        data = write_data(tmp_path / "data", [("anna", "train", 4)], scale=5)
        run(data=data, cache=None, workers=1, max_steps=1)
        assert state_of(tmp_path / "run")["step"] == 1

    def test_without_people_to_validate_on(self, run, features, tmp_path):
        data = write_data(tmp_path / "data", [("anna", "train", 4)])
        scores, _ = run(data=data, cache=None, max_steps=1)
        assert scores is None
        assert (tmp_path / "run" / "last.safetensors").is_file()
        assert (tmp_path / "run" / "cache").is_dir()

    def test_validation_clips_too_short_to_score_do_not_cost_the_run(self, run, tmp_path):
        data = write_data(tmp_path / "data", [("anna", "train", 4), ("vera", "val", 5)])
        run(data=data, cache=None, max_steps=1)
        assert (tmp_path / "run" / "last.safetensors").is_file()


class TestOptimizer:
    @pytest.mark.parametrize("optimizer", ["adam", "swats"])
    def test_scalars_that_weigh_keypoints_move_faster(self, run, tmp_path, optimizer):
        run(optimizer=optimizer, learning_rate=1e-3, warm_up=1, max_steps=1)
        state = state_of(tmp_path / "run")["model"]
        # Adam's first step is the rate itself, whatever the gradient.
        moved = (state["dense_motion.locality"] - 4.0).abs()
        torch.testing.assert_close(moved, torch.full((K,), 20e-3), rtol=0.1, atol=0)
        assert state["dense_motion.rigidity"].abs().max() == pytest.approx(20e-3, rel=5e-2)

    def test_swats_switches_group_by_group_says_so_and_goes_on_after_a_stop(self, run, tmp_path):
        options = {"optimizer": "swats", "swats_tolerance": 0.3, "learning_rate": 1e-6}
        _, reports = run(**options, max_steps=4)
        groups = state_of(tmp_path / "run")["model optimizer"]["param_groups"]
        assert [group["name"] for group in groups] == [
            *("keypoint_detector", "dense_motion", "dense_motion scalars", "generator", "details")
        ]
        assert [group["steps"] for group in groups] == [4, 4, 4, 4, 4]
        switched = {group["name"]: group["sgd_rate"] for group in groups if group["sgd_rate"] is not None}
        assert switched
        for name in switched:
            assert sum(line.startswith(f"{name}: from Adam to SGD with rate ") for line in reports) == 1
        _, reports = run(**options, max_steps=6)
        groups = state_of(tmp_path / "run")["model optimizer"]["param_groups"]
        assert [group["steps"] for group in groups] == [6, 6, 6, 6, 6]
        assert {group["name"]: group["sgd_rate"] for group in groups if group["name"] in switched} == switched
        assert not any(line.startswith(f"{name}: from") for line in reports for name in switched)


class TestAdversary:
    def test_discriminator_is_trained_saved_and_gone_on_with(self, run, tmp_path, monkeypatch):
        lines = report_every_step(monkeypatch)
        with_adversary = {"losses": LossWeights(adversarial=0.1), "discriminator_side": 32}
        run(**with_adversary, max_steps=1)
        one = state_of(tmp_path / "run")
        run(**with_adversary, max_steps=3)
        three = state_of(tmp_path / "run")
        assert {int(entry["step"]) for entry in three["discriminator optimizer"]["state"].values()} == {3}
        weight = "discriminator.score.parametrizations.weight.original"
        assert not torch.equal(one["discriminator"][weight], three["discriminator"][weight])
        assert {"adversarial", "feature_matching", "discriminator"} <= set(lines[-1])

    def test_joins_a_run_that_began_without_one(self, run, tmp_path):
        run(max_steps=1)
        assert "discriminator" not in state_of(tmp_path / "run")
        run(max_steps=2, losses=LossWeights(adversarial=0.1))
        assert {
            int(entry["step"])
            for entry in state_of(tmp_path / "run")["discriminator optimizer"]["state"].values()
        } == {1}

    def test_changes_what_the_generator_learns(self, run, tmp_path):
        for name, weight in (("without", 0.0), ("with", 5.0)):
            run(out=tmp_path / name, losses=LossWeights(adversarial=weight), max_steps=2)
        a, b = (state_of(tmp_path / name)["model"]["generator.head.weight"] for name in ("without", "with"))
        assert not torch.allclose(a, b)


class TestStopping:
    def test_at_the_time_limit(self, run, tmp_path):
        run(max_minutes=1e-7, max_steps=1000)
        assert state_of(tmp_path / "run")["step"] <= 1
        assert (tmp_path / "run" / "last.safetensors").is_file()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_the_run_after_the_step(self, run, tmp_path, monkeypatch, number):
        def interrupted(progress):
            signal.raise_signal(number)
            return 1.0

        monkeypatch.setattr(optim, "learning_rate_factor", interrupted)
        run(max_steps=1000)
        assert state_of(tmp_path / "run")["step"] == 1
        assert (tmp_path / "run" / "last.safetensors").is_file()

    def test_saves_before_it_scores(self, run, tmp_path, monkeypatch):
        # torchrun ends with force what has not ended half a minute after SIGTERM
        def killed(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(motion, "validate", killed)
        with pytest.raises(KeyboardInterrupt):
            run(max_steps=2)
        assert state_of(tmp_path / "run")["step"] == 2
        assert (tmp_path / "run" / "last.safetensors").is_file()

    def test_signals_are_given_back(self, run):
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        run(max_steps=1)
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    def test_a_loss_that_is_not_finite_names_its_terms(self, run, tmp_path):
        broken = squeezenet_file(tmp_path / "nan.safetensors", value=math.nan)
        with pytest.raises(
            WeightsError, match=r"step 0: perceptual, perceptual_warped, patch_perceptual; nothing was"
        ):
            run(perceptual=str(broken))
        assert not (tmp_path / "run" / "last.safetensors").exists()


class TestRefusals:
    def test_a_manifest_without_people_to_train_on(self, run, tmp_path):
        data = write_data(tmp_path / "data", [("vera", "val", 3)])
        with pytest.raises(UnreadableInputError, match="train"):
            run(data=data, cache=None)

    def test_no_data_at_all(self, run, tmp_path):
        with pytest.raises(UnreadableInputError, match=r"manifest\.csv"):
            run(data=tmp_path)

    def test_weights_of_another_network(self, run, tmp_path):
        save_checkpoint(tmp_path / "d.safetensors", PatchDiscriminator(PatchDiscriminatorSettings((4,))))
        with pytest.raises(WeightsError, match="discriminator"):
            run(init=tmp_path / "d.safetensors")

    def test_weights_of_first_order_model(self, run, vox):
        with pytest.raises(WeightsError, match="first-order-model's networks, which train_first_order"):
            run(init=vox)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [({"keypoints": "free"}, "--keypoints free"), ({"similarity": False}, "similarity")],
    )
    def test_weights_that_are_not_what_was_asked_for(self, run, tmp_path, changes, said):
        save_checkpoint(tmp_path / "m.safetensors", AnimationModel(tiny_settings()))
        with pytest.raises(WeightsError, match=said):
            run(init=tmp_path / "m.safetensors", **changes)

    def test_a_state_of_another_architecture(self, run, tmp_path):
        (tmp_path / "run").mkdir()
        state = {"model": {}, "ema": {}, "optimizer": {}, "step": 3, "progress": 0.5, "best": 1.0}
        torch.save(state, tmp_path / "run" / "state.pt")
        with pytest.raises(FaceanimError, match=r"state\.pt"):
            run()
