"""Checkpoints of Thin-Plate-Spline Motion Model: recognised, read, converted, and animating."""

from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch

from faceanim_cli import Animator
from faceanim_cli.errors import WeightsError
from faceanim_cli.motion.transfer import hull_area
from faceanim_cli.training.stages import stage_settings
from faceanim_cli.weights.checkpoint import read_metadata
from faceanim_cli.weights.inspect import describe
from faceanim_cli.weights.load import import_published, load_weights
from faceanim_cli.weights.records import converted_path
from faceanim_models import Keypoints
from faceanim_models.thin_plate_spline import ThinPlateSplineModel, ThinPlateSplineSettings

TINY = ThinPlateSplineSettings(2, 5, (4, 4, 6, 6), (4, 6, 8, 8), (5, 3), (3, 4, 5, 6))


@pytest.fixture(autouse=True)
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Converted copies go where they do no harm."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))


@pytest.fixture
def model() -> ThinPlateSplineModel:
    torch.manual_seed(0)
    return ThinPlateSplineModel(TINY).eval()


def content(model: ThinPlateSplineModel, prefix: str = "") -> dict[str, object]:
    """What the original's logger saves."""
    networks = ("inpainting_network", "dense_motion_network", "kp_detector")
    parts = {
        name: OrderedDict((prefix + k, v) for k, v in model.get_submodule(name).state_dict().items())
        for name in networks
    }
    return {**parts, "bg_predictor": OrderedDict(), "avd_network": OrderedDict(), "epoch": 99}


@pytest.fixture
def checkpoint(model: ThinPlateSplineModel, tmp_path: Path) -> Path:
    torch.save(content(model, "module."), tmp_path / "vox.pth.tar")
    return tmp_path / "vox.pth.tar"


def test_a_checkpoint_rebuilds_its_networks(model: ThinPlateSplineModel, checkpoint: Path) -> None:
    seen = import_published(checkpoint)
    assert seen.settings == TINY
    wanted = model.state_dict()
    assert seen.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[key]) for key, value in seen.state_dict().items())


def test_it_is_described_without_being_loaded(model: ThinPlateSplineModel, checkpoint: Path) -> None:
    seen = describe(checkpoint)
    assert (seen.kind, seen.network) == ("Thin-Plate-Spline Motion Model checkpoint", "thin-plate-spline")
    told = dict(seen.settings)
    assert told == {key: value for key, value in asdict(TINY).items() if key in told}
    assert seen.parameters == sum(p.numel() for p in model.parameters())


def test_the_slim_copy_is_ours(checkpoint: Path) -> None:
    assert isinstance(load_weights(checkpoint), ThinPlateSplineModel)
    copy = converted_path(checkpoint)
    assert read_metadata(copy)["converted"] == "Thin-Plate-Spline Motion Model checkpoint vox.pth.tar"
    assert isinstance(load_weights(copy), ThinPlateSplineModel)


@pytest.mark.parametrize("relative", [True, False])
def test_it_animates(model: ThinPlateSplineModel, checkpoint: Path, relative: bool) -> None:
    rng = np.random.default_rng(0)
    photo, *frames = rng.integers(0, 256, (4, 256, 256, 3), np.uint8)
    animator = Animator(checkpoint, "cpu", "fp32", relative=relative, sr=False, mark=None)
    animator.set_photo(photo, crop=None)
    results = list(animator.animate(frames))
    tensors = torch.from_numpy(np.stack([photo, *frames])).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        points = model.detect(tensors).points
        driving = points[1:]
        if relative:
            scale = (hull_area(points[0]) / max(hull_area(points[1]), 1e-8)) ** 0.5
            driving = points[0] + scale * (driving - points[1])
        code = model.encode_photo(tensors[:1])
        wanted, _ = model(code.expand(3), Keypoints(driving))
    for seen, expected in zip(results, wanted.image, strict=True):
        difference = np.abs(seen - 255 * expected.permute(1, 2, 0).numpy())
        assert difference.mean() < 1
    assert len(results) == 3


def test_training_does_not_go_on_from_it(checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match=r"vox\.pth\.tar: holds a thin-plate-spline network"):
        stage_settings("motion", "auto", init=checkpoint, data=Path("data"), out=Path("out"))


def test_one_of_another_shape_is_named(model: ThinPlateSplineModel, tmp_path: Path) -> None:
    saved = content(model)
    del saved["dense_motion_network"]["maps.weight"]  # type: ignore[attr-defined]
    torch.save(saved, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"a\.pth: looks like Thin-Plate-Spline"):
        import_published(tmp_path / "a.pth")
