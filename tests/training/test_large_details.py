"""What paints eyes and mouth of large results: what it learns from, what stays, and whom it refuses."""

import math

import pytest
import torch

from faceanim_cli.errors import UnreadableInputError, WeightsError
from faceanim_cli.training.architecture import SHIPPED_ANCHORS, add_large_details, set_mean_face
from faceanim_cli.training.large_details import DetailObjective, train_details
from faceanim_cli.training.motion import train_motion
from faceanim_cli.training.settings import (
    DetailLossWeights,
    DetailTrainingSettings,
    MotionTrainingSettings,
)
from faceanim_cli.weights.checkpoint import load_checkpoint, save_checkpoint
from faceanim_models import AnimationModel, KeypointDetector
from faceanim_models.face_patches import cut_patches
from tests.training.conftest import SIZE, same, state_of, tiny_settings, training, write_data

LARGE = 2 * SIZE


@pytest.fixture
def model(monkeypatch) -> AnimationModel:
    """With a mean face wherever it looks: an untrained detector finds all in one place."""
    model = AnimationModel(tiny_settings(anchors=SHIPPED_ANCHORS))
    set_mean_face(model)
    face = model.details.patches.mean_face
    monkeypatch.setattr(
        KeypointDetector, "forward", lambda self, images, kept=None: face.expand(len(images), -1, -1)
    )
    return add_large_details(model)


@pytest.fixture(scope="session")
def large_data(tmp_path_factory):
    clips = [("anna", "train", 6), ("ben", "train", 6), ("vera", "val", 12)]
    return write_data(tmp_path_factory.mktemp("large"), clips, scale=2)


@pytest.fixture
def init(tmp_path, model):
    plain = AnimationModel(tiny_settings(anchors=SHIPPED_ANCHORS))
    plain.load_state_dict(model.state_dict(), strict=False)
    save_checkpoint(tmp_path / "init.safetensors", plain, notes={"licence": "CC BY-NC 4.0"})
    return tmp_path / "init.safetensors"


@pytest.fixture
def run(large_data, tmp_path, init):
    quick = {
        **{"data": large_data, "out": tmp_path / "run", "cache": large_data / "cache", "size": SIZE},
        **{"batch": 2, "max_steps": 2, "workers": 0, "precision": "32", "init": init},
    }
    return training(train_details, DetailTrainingSettings, quick)


class TestRun:
    def test_it_learns_alone(self, run, init, tmp_path):
        scores, reports = run()
        assert any("2 clips of 2 people with large faces, 1 to validate on" in line for line in reports)
        assert any("best" in line and "apart" in line for line in reports)
        assert math.isfinite(scores.distance)
        start = load_checkpoint(init).state_dict()
        model = load_checkpoint(tmp_path / "run" / "best.safetensors", expected="animation")
        changed = {
            key
            for key, value in model.state_dict().items()
            if key not in start or not torch.equal(value, start[key])
        }
        assert changed
        assert all(key.startswith("large_details.") for key in changed)
        assert model.settings.large_details.fold == 4

    def test_a_stopped_run_goes_on_to_the_last_bit(self, run, tmp_path):
        run(out=tmp_path / "whole", max_steps=3)
        run(out=tmp_path / "parts", max_steps=3, max_minutes=1e-9)
        run(out=tmp_path / "parts", max_steps=3)
        assert same(state_of(tmp_path / "whole"), state_of(tmp_path / "parts"))

    def test_the_motion_stage_leaves_it_as_it_is(self, small, quick, model, tmp_path):
        save_checkpoint(tmp_path / "large.safetensors", model)
        training(train_motion, MotionTrainingSettings, quick)(
            init=tmp_path / "large.safetensors", max_steps=1
        )
        start = load_checkpoint(tmp_path / "large.safetensors").large_details.state_dict()
        after = load_checkpoint(tmp_path / "run" / "last.safetensors").large_details.state_dict()
        assert same(after, start)

    def test_small_faces_are_refused(self, run, data):
        with pytest.raises(UnreadableInputError, match="whose crop has 96 pixels or more"):
            run(data=data, cache=data / "cache")

    def test_weights_that_paint_no_eyes_and_mouth_are_refused(self, run, tmp_path):
        save_checkpoint(tmp_path / "dense.safetensors", AnimationModel(tiny_settings()))
        with pytest.raises(WeightsError, match=r"dense\.safetensors: paints no eyes and mouth"):
            run(init=tmp_path / "dense.safetensors")


def test_a_fresh_refiner_changes_nothing_and_learns(model):
    objective = DetailObjective(model, None, DetailLossWeights(patch_keypoints=0, patch_sharpness=0))
    photo = torch.nn.functional.interpolate(torch.rand(2, 3, 24, 24), (LARGE, LARGE), mode="bicubic")
    batch = {"source": photo, "driving": photo.flip(1)}  # other colours
    made, before, _ = objective.patches(batch["source"], batch["driving"])
    for found, old in zip(made, before, strict=True):
        torch.testing.assert_close(found, old)
    optimizer = torch.optim.Adam(model.large_details.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss, terms, _ = objective(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert terms.keys() == {"patch_pixels", "patch_sharpness"}
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is None for p in model.generator.parameters())


def test_keypoints_seen_in_a_patch_are_those_seen_in_the_image(model):
    objective = DetailObjective(model.eval(), None, DetailLossWeights())
    image = torch.nn.functional.interpolate(torch.rand(2, 3, 16, 16), (LARGE, LARGE), mode="bicubic")
    face = model.details.patches.mean_face.expand(2, -1, -1) @ torch.tensor([[0.98, -0.2], [0.2, 0.98]])
    detector, refiner = model.keypoint_detector.refiner, model.large_details
    for network in detector.networks:
        torch.nn.init.normal_(network.head.weight, std=8)  # sure of what it sees
    with torch.no_grad():
        wanted = detector.places(image, detector.patches(face))
        for number, (kind, frames) in enumerate(
            zip(refiner.settings.patches, refiner.patches(face), strict=True)
        ):
            if number == 0:
                continue  # the detector's patches of eyes show the brows, which lie beyond the refiner's
            sharp = cut_patches(image, frames, (4 * kind.pixels[0], 4 * kind.pixels[1])).flatten(0, 1)
            found = objective._keypoints(number, sharp).view_as(wanted[number])
            assert wanted[number].std() > 0.1
            torch.testing.assert_close(found, wanted[number], rtol=0, atol=0.04)
