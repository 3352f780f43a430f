"""Sets of settings: what they are, what overrides them, and that what they name can be trained."""

import io
import json
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from faceanim_cli.commands.training_view import duration, status_table
from faceanim_cli.data.data_folder import example_clips
from faceanim_cli.data.landmarks import PAPER_ANCHORS
from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.media import VideoReader
from faceanim_cli.motion.landmark_lifting import lift_keypoints
from faceanim_cli.training.optim import Schedule
from faceanim_cli.training.presets import (
    detail_settings,
    first_order_settings,
    keypoint_settings,
    loss_weights,
    motion_settings,
    super_resolution_settings,
)
from faceanim_cli.training.progress import Status
from faceanim_cli.training.settings import FirstOrderLossWeights, LossWeights, RunSettings
from faceanim_cli.weights.catalogue import ANIMATION, shipped_weights
from faceanim_cli.weights.checkpoint import load_checkpoint
from faceanim_cli.weights.load import load_weights
from tests.training.conftest import K, state_of

PLACES = {"data": Path("data"), "out": Path("out")}
FIRST_ORDER = {**PLACES, "init": Path("vox.pth.tar")}


class TestMotion:
    def test_the_shipped_one_is_the_default(self):
        settings = motion_settings("shipped", **PLACES, learning_rate=None)
        assert settings.losses == LossWeights()
        assert (settings.optimizer, settings.perceptual, settings.learning_rate) == (
            "adam",
            "squeezenet",
            2e-4,
        )

    def test_the_paper_s_is_eq_6_on_vgg_19_with_swats(self):
        settings = motion_settings("paper", **PLACES)
        assert (settings.optimizer, settings.perceptual, settings.keypoints) == ("swats", "vgg19", "paper")
        on = {name: weight for name, weight in vars(settings.losses).items() if weight}
        assert on == {"perceptual": 1.0, "adversarial": 1.0, "keypoints": 20.0}
        assert (settings.similarity, settings.segmenter, settings.free_keypoints) == (
            False,
        ) * 3  # ours, not the paper's
        assert settings.encoder_weights == "imagenet"
        assert dict(settings.pretrained) == {"vgg19": "--perceptual", "resnet18": "--encoder-weights"}

    def test_what_is_given_overrides_and_none_does_not(self):
        given = {"optimizer": "adam", "perceptual": None}
        settings = motion_settings("paper", ["pixels=2", "adversarial=0"], **PLACES, **given)
        assert (settings.optimizer, settings.perceptual) == ("adam", "vgg19")
        assert (settings.losses.pixels, settings.losses.adversarial, settings.losses.perceptual) == (2, 0, 1)

    def test_free_keypoints_are_held_by_equivariance_instead_of_landmarks(self):
        losses = motion_settings("shipped", **PLACES, keypoints="free").losses
        assert (losses.keypoints, losses.landmark_motion, losses.equivariance) == (0, 0, 10)
        assert losses.pixels == LossWeights().pixels

    @pytest.mark.parametrize(
        "wrong", ["pixel=1", "pixels", "pixels=", "pixels=-1", "pixels=nan", "pixels=inf", "=1"]
    )
    def test_a_loss_that_is_not_one_is_refused_with_the_names(self, wrong):
        with pytest.raises(UsageError, match=f"--loss {wrong}: .*perceptual_warped"):
            loss_weights(LossWeights(), [wrong])


class TestFirstOrder:
    def test_the_original_s_are_the_default(self):
        settings = first_order_settings("shipped", **FIRST_ORDER, size=None, perceptual=None)
        assert (settings.perceptual, settings.size, settings.optimizer) == ("vgg19", 256, "adam")
        assert settings.losses == FirstOrderLossWeights(10, 10, 10, 0, 10)

    def test_what_is_given_overrides(self):
        settings = first_order_settings(
            "shipped", ["adversarial=0.5"], **FIRST_ORDER, perceptual="squeezenet"
        )
        assert (settings.perceptual, settings.losses.adversarial) == ("squeezenet", 0.5)

    @pytest.mark.parametrize(
        ("preset", "option", "said"),
        [
            ("paper", {}, "--preset paper"),
            ("shipped", {"keypoints": "free"}, "--keypoints free"),
            ("shipped", {"similarity": False}, "--no-similarity"),
            ("shipped", {"segmenter": False}, "--no-segmenter"),
            ("shipped", {"free_keypoints": True}, "--free-keypoints"),
        ],
    )
    def test_what_means_nothing_to_these_networks_is_refused(self, preset, option, said):
        with pytest.raises(UsageError, match=rf"^{said}: .*first-order-model's .*vox\.pth\.tar"):
            first_order_settings(preset, **FIRST_ORDER, **option)

    def test_a_loss_of_the_other_networks_is_refused_with_the_names(self):
        with pytest.raises(UsageError, match=r"--loss pixels=1: .*perceptual, equivariance, equivar.*_jac"):
            first_order_settings("shipped", ["pixels=1"], **FIRST_ORDER)

    @pytest.mark.parametrize(
        ("losses", "perceptual"), [((), "none"), (("perceptual=0",), None)], ids=["no network", "no weight"]
    )
    def test_something_must_teach_the_generator(self, losses, perceptual):
        with pytest.raises(UsageError, match=r"without the perceptual loss .*--loss adversarial=1"):
            first_order_settings("shipped", losses, **FIRST_ORDER, perceptual=perceptual)
        losses = [*losses, "adversarial=1"]
        settings = first_order_settings("shipped", losses, **FIRST_ORDER, perceptual=perceptual)
        assert settings.losses.adversarial == 1


class TestKeypoints:
    def test_goes_on_from_the_shipped_weights_unless_others_are_given(self):
        assert keypoint_settings("shipped", **PLACES).init == shipped_weights(ANIMATION)
        assert keypoint_settings("shipped", **FIRST_ORDER).init == FIRST_ORDER["init"]

    def test_what_is_given_overrides(self):
        settings = keypoint_settings("shipped", ["openings=5"], **PLACES, batch=4)
        assert (settings.losses.openings, settings.losses.points, settings.batch) == (5, 20, 4)


@pytest.mark.parametrize(
    ("settings", "trained"),
    [
        (keypoint_settings, "--stage keypoints"),
        (detail_settings, "--stage details"),
        (super_resolution_settings, "--stage sr"),
    ],
)
@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"keypoints": "dense"}, "--keypoints dense"),
        ({"similarity": False}, "--no-similarity"),
        ({"segmenter": True}, "--segmenter"),
        ({"encoder": "resnet50"}, "--encoder resnet50"),
        ({"encoder_weights": "imagenet"}, "--encoder-weights imagenet"),
    ],
)
def test_other_stages_refuse_what_means_nothing_to_them(settings, trained, option, said):
    with pytest.raises(UsageError, match=f"^{said}: means nothing to {trained}; leave it away$"):
        settings("shipped", **PLACES, **option)


@pytest.mark.parametrize(
    ("settings", "call", "said"),
    [
        (super_resolution_settings, {"losses": ["pixels=1"]}, "--loss pixels=1"),
        (super_resolution_settings, {"cache": Path("c")}, "--cache c"),
        (super_resolution_settings, {"segmenter": False}, "--no-segmenter"),
        (keypoint_settings, {"perceptual": "vgg19"}, "--perceptual vgg19"),
        (keypoint_settings, {"preset": "paper"}, "--preset paper"),
        (detail_settings, {"preset": "paper"}, "--preset paper"),
    ],
)
def test_each_refuses_more_of_its_own(settings, call, said):
    with pytest.raises(UsageError, match=f"^{said}: means nothing to --stage"):
        settings(**{"preset": "shipped", **PLACES, **call})


def test_swats_s_tolerance_is_swats_s():
    settings = motion_settings("paper", **PLACES, swats_tolerance=0.01)
    assert settings.swats_tolerance == 0.01
    with pytest.raises(UsageError, match=r"--swats-tolerance 0\.01: is SWATS's; add --optimizer swats"):
        motion_settings("shipped", **PLACES, swats_tolerance=0.01)
    with pytest.raises(UsageError, match="--swats-tolerance 0: must be above 0"):
        motion_settings("paper", **PLACES, swats_tolerance=0.0)


def test_super_resolution_by_the_paper_is_eq_7_alone():
    assert super_resolution_settings("paper", **PLACES).perceptual_weight == 0
    assert super_resolution_settings("shipped", **PLACES, size=None).size == 64


class TestTrained:
    def test_the_paper_s_set(self, run, tmp_path):
        settings = motion_settings("paper", **PLACES)
        chosen = {"similarity": settings.similarity, "segmenter": settings.segmenter}
        chosen |= {"losses": settings.losses, "keypoints": "paper", "optimizer": "swats"}
        run(**chosen, discriminator_side=32, max_steps=1)
        built = load_checkpoint(tmp_path / "run" / "last.safetensors").settings
        assert built.anchors == PAPER_ANCHORS
        assert (built.motion.use_similarity, built.motion.photo_channels, built.motion.free_keypoints) == (
            False,
            0,
            0,
        )
        said = json.loads((tmp_path / "run" / "settings.json").read_text())
        assert (said["keypoints"], said["losses"]["adversarial"], said["max_minutes"]) == ("paper", 1.0, None)

    def test_free_keypoints_without_similarity(self, run, tmp_path):
        losses = motion_settings("shipped", **PLACES, keypoints="free").losses
        run(losses=losses, keypoints="free", similarity=False, max_steps=2)
        model = load_checkpoint(tmp_path / "run" / "last.safetensors")
        assert model.settings.anchors == ()
        assert model.settings.keypoints.num_keypoints == K
        assert not model.settings.motion.use_similarity
        torch.testing.assert_close(model.dense_motion.rigidity, torch.zeros(K))  # nothing to learn there
        run(init=tmp_path / "run" / "last.safetensors", losses=losses, out=tmp_path / "tuned", max_steps=1)
        assert state_of(tmp_path / "tuned")["step"] == 1  # keypoints are the weights' own unless one asks

    def test_the_paper_s_encoder_starts_from_a_file_of_imagenet_weights(self, run, tmp_path):
        torch.manual_seed(3)
        classifier = torchvision.models.resnet34(weights=None).state_dict()
        torch.save(classifier, tmp_path / "resnet34.pth")
        given = {"encoder": "resnet34", "encoder_weights": str(tmp_path / "resnet34.pth")}
        run(**given, learning_rate=1e-6, max_steps=1)
        model = load_checkpoint(tmp_path / "run" / "last.safetensors")
        assert model.settings.keypoints.encoder == "resnet34"
        found = model.keypoint_detector.encoder.layer1[2].conv1.weight
        torch.testing.assert_close(found, classifier["layer1.2.conv1.weight"], rtol=2**-10, atol=2e-6)
        with pytest.raises(WeightsError, match=r"resnet34\.pth: not resnet18's weights, see --encoder"):
            run(encoder_weights=given["encoder_weights"], out=tmp_path / "other", max_steps=1)

    def test_imagenet_by_name_is_torchvision_s_file(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
        with pytest.raises(WeightsError, match=r"https://download\.pytorch\.org/models/resnet18-.*\.pth"):
            run(encoder_weights="imagenet", offline=True, max_steps=1)
        classifier = torchvision.models.resnet18(weights=None).state_dict()
        (tmp_path / "checkpoints").mkdir()
        torch.save(classifier, tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
        run(encoder_weights="imagenet", offline=True, learning_rate=1e-6, max_steps=1)
        found = load_checkpoint(tmp_path / "run" / "last.safetensors").keypoint_detector.encoder.conv1.weight
        torch.testing.assert_close(found, classifier["conv1.weight"], rtol=2**-10, atol=2e-6)


class TestSchedule:
    def test_over_steps_the_rate_depends_on_the_step_alone(self):
        settings = RunSettings(Path(), Path(), learning_rate=1.0, warm_up=4, max_steps=100, max_minutes=1e-9)
        over, progress = Schedule(settings, progress=0.7).at(50)
        assert over  # the time is
        assert progress == 0.5
        assert Schedule(settings).rate(0, 0.0) == pytest.approx(0.25)
        assert Schedule(settings).rate(3, 0.0) == pytest.approx(1.0)

    def test_over_minutes_it_falls_from_where_it_was(self):
        settings = RunSettings(Path(), Path(), max_steps=100, max_minutes=1e9, decay_over="minutes")
        over, progress = Schedule(settings, progress=0.7).at(50)
        assert not over
        assert progress == pytest.approx(0.7)

    def test_minutes_to_fall_over_must_be_given(self):
        with pytest.raises(UsageError, match="--max-minutes"):
            RunSettings(Path(), Path(), decay_over="minutes")


def test_the_live_view_shows_where_a_run_stands():
    from rich.console import Console

    console = Console(width=140, record=True, file=io.StringIO())
    status = Status(
        120, 1000, 0.12, 13.44, 3723.0, 2e-4, {"pixels": 0.0312, "still": 0.2}, "25.31 dB at step 100"
    )
    console.print(status_table(status))
    text = console.export_text()
    for part in (
        "step 120 of 1000",
        "13.4 pairs/s",
        "1:02:03 left",
        "best 25.31 dB at step 100",
        "pixels 0.0312",
    ):
        assert part in text
    assert duration(59.6) == "0:01:00"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Two clips of faces that ship, with the landmarks that the shipped detector sees in them."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "landmarks").mkdir()
    model = load_weights(shipped_weights(ANIMATION))
    rows = ["file,split,identity"]
    for name in ("talk", "turn"):
        shutil.copy(example_clips() / f"{name}.mp4", folder)
        with VideoReader(folder / f"{name}.mp4") as video:
            frames = np.stack(list(islice(video, 0, 24, 4)))
        with torch.inference_mode():
            found = model.detect(torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255).points.numpy()
        pixels = (found.astype(np.float64) + 1) / 2 * (frames.shape[1] - 1)
        landmarks = lift_keypoints(pixels, model.settings.anchors)[:, :68]
        np.save(folder / "landmarks" / f"{name}.npy", landmarks.astype(np.float32))
        rows.append(f"{name}.mp4,train,{name}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_on_real_clips_swats_switches_by_its_tolerance_and_not_by_the_paper_s(run, real, tmp_path):
    settings = motion_settings("paper", **PLACES)
    paper = {"losses": settings.losses, "keypoints": "paper", "similarity": False, "segmenter": False}
    options = {**paper, "optimizer": "swats", "discriminator_side": 16, "data": real}
    brief = {"max_steps": 10, "warm_up": 1, "size": 32, "cache": tmp_path / "cache"}
    for share, out in ((0.2, "ours"), (1e-9, "paper")):
        _, said = run(**options, out=tmp_path / out, swats_tolerance=share, **brief)
        switches = [line for line in said if "from Adam to SGD" in line]
        assert bool(switches) == (out == "ours"), said
