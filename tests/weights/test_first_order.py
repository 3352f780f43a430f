"""First-order-model's checkpoints: read, converted, and animating as the original does."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from torch import nn

from faceanim_cli import Animator
from faceanim_cli.animation import animator as animator_module
from faceanim_cli.errors import WeightsError
from faceanim_cli.motion.transfer import FirstOrderTransfer, hull_area
from faceanim_cli.weights.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from faceanim_cli.weights.load import convert_published, import_published, load_weights
from faceanim_cli.weights.records import converted_path
from faceanim_models import (
    FaceSuperResolver,
    FaceSuperResolverSettings,
    FirstOrderModel,
    FirstOrderSettings,
    Keypoints,
)
from faceanim_models.blocks import fold_batch_norms
from tests.conftest import TINY_FIRST_ORDER

REFERENCE = Path(__file__).parents[2].parent / "shared" / "fomm_reference"
TINY = dataclasses.replace(TINY_FIRST_ORDER, residual_blocks=2, image_size=256)


@pytest.fixture(autouse=True)
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Converted copies go where they do no harm."""
    folder = tmp_path / "assets"
    monkeypatch.setattr(huggingface_hub.constants, "HF_ASSETS_CACHE", str(folder))
    return folder


def network(settings: FirstOrderSettings = TINY) -> FirstOrderModel:
    torch.manual_seed(0)
    model = FirstOrderModel(settings).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return model


def content(model: FirstOrderModel, prefix: str = "") -> dict[str, object]:
    """What the original's logger saves."""
    parts = {
        name: OrderedDict((prefix + key, value) for key, value in part.state_dict().items())
        for name, part in (("generator", model.generator), ("kp_detector", model.kp_detector))
    }
    state = {0: {"step": 3, "exp_avg": torch.zeros(50_000)}}
    optimizer = {"state": state, "param_groups": [{"lr": 2e-4, "betas": (0.5, 0.999), "params": [0]}]}
    return {**parts, "discriminator": OrderedDict(), "optimizer_generator": optimizer, "epoch": 99}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(what: object, zipped: bool = False, name: str = "vox-cpk.pth.tar") -> Path:
        torch.save(what, tmp_path / name, _use_new_zipfile_serialization=zipped)
        return tmp_path / name

    return write


def assert_same(seen: nn.Module, expected: nn.Module) -> None:
    a, b = seen.state_dict(), expected.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(value, b[key]) for key, value in a.items())


class TestImport:
    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_tensors_come_through_unchanged(self, write, zipped, prefix):
        model = network()
        seen = import_published(write(content(model, prefix), zipped))
        assert_same(seen, model)
        assert not seen.training

    @pytest.mark.parametrize(
        "change",
        [
            {},
            {"jacobian_maps": 0},
            {"jacobian_maps": 1},
            {"occlusion": False},
            {"keypoint_shrink": 2, "motion_shrink": 1},
            {"num_keypoints": 15, "jacobian_maps": 15},
            {"generator_widths": (6, 8, 10, 12), "residual_blocks": 0, "keypoint_widths": (3, 5)},
        ],
        ids=str,
    )
    def test_every_size_is_read_off_the_tensors(self, write, change):
        settings = dataclasses.replace(TINY, **change)
        assert import_published(write(content(network(settings)))).settings == settings

    def test_counters_that_old_torch_did_not_save_are_not_missed(self, write):
        model = network()
        saved = content(model)
        for part in ("generator", "kp_detector"):
            for key in [key for key in saved[part] if key.endswith("num_batches_tracked")]:
                del saved[part][key]
        assert_same(import_published(write(saved)), model)

    def test_missing_and_misshapen_tensors_are_named(self, write):
        saved = content(network())
        del saved["generator"]["final.bias"]
        saved["generator"]["bottleneck.r0.conv1.weight"] = torch.zeros(8, 8, 5, 5)
        with pytest.raises(
            WeightsError, match=r"missing generator\.final\.bias; misshapen .*r0\.conv1\.weight"
        ):
            import_published(write(saved))

    @pytest.mark.parametrize(
        ("saved", "says"),
        [
            ({"generator": {}, "epoch": 1}, "not a first-order-model checkpoint .it holds generator, epoch."),
            ({"generator": {}, "kp_detector": {}}, "not first-order-model's"),
            ({"generator": {"a": 1}, "kp_detector": {}}, "generator.a is a int, not a tensor"),
            ({"kp_detector": {}, "inpainting_network": {}}, "checkpoint of thin-plate-spline-motion-model"),
            (torch.zeros(3), "it holds a Tensor"),
            (OrderedDict(weight=torch.zeros(3)), "it holds weight"),
        ],
    )
    def test_other_torch_files_are_told_apart(self, write, saved, says):
        with pytest.raises(WeightsError, match=says):
            import_published(write(saved))


class TestConversion:
    def test_the_copy_is_ours_slim_and_exact(self, write, tmp_path):
        model = network()
        checkpoint, out = write(content(model)), tmp_path / "slim.safetensors"
        convert_published(checkpoint, out, {"licence": "CC-BY-NC-4.0"})
        assert_same(load_checkpoint(out, "first-order"), model)
        assert load_checkpoint(out).settings == TINY
        assert out.stat().st_size < checkpoint.stat().st_size - 4 * 50_000  # the optimizer is gone
        metadata = read_metadata(out)
        assert metadata["converted"] == "first-order-model checkpoint vox-cpk.pth.tar"
        assert metadata["licence"] == "CC-BY-NC-4.0"

    def test_load_weights_converts_once(self, write, monkeypatch, assets):
        model = network()
        checkpoint = write(content(model))
        assert_same(load_weights(checkpoint), model)
        assert converted_path(checkpoint).is_relative_to(assets)
        monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read a second time"))
        assert_same(load_weights(checkpoint), model)

    def test_a_changed_checkpoint_is_converted_anew(self, write):
        load_weights(write(content(network())))
        other = network(dataclasses.replace(TINY, occlusion=False))
        assert_same(load_weights(write(content(other))), other)

    def test_a_cache_that_cannot_be_written_is_no_obstacle(self, write, assets):
        assets.write_text("a file where the folder should be")
        model = network()
        assert_same(load_weights(write(content(model))), model)

    def test_nothing_is_left_of_a_failed_conversion(self, write, assets):
        with pytest.raises(WeightsError):
            load_weights(write({"generator": {}, "kp_detector": {}}))
        assert not list(assets.rglob("*.safetensors"))

    def test_a_slim_copy_animates_too(self, tmp_path, write):
        out = tmp_path / "slim.safetensors"
        convert_published(write(content(network())), out)
        assert isinstance(load_weights(out), FirstOrderModel)

    def test_half_precision_copies_can_be_written_and_read(self, tmp_path):
        out = tmp_path / "half.safetensors"
        save_checkpoint(out, network())
        assert next(load_weights(out).parameters()).dtype == torch.float32


class TestTransfer:
    SOURCE = Keypoints(
        torch.tensor([[[0.0, 0.0], [0.4, 0.0], [0.4, 0.4], [0.0, 0.4]]]),
        torch.tensor([[2.0, 1.0], [0.0, 1.0]]).expand(1, 4, 2, 2),
    )
    REFERENCE = Keypoints(SOURCE.points / 2 + 0.1, torch.eye(2).expand(1, 4, 2, 2))

    @pytest.mark.parametrize(("adapt", "factor"), [(True, 2.0), (False, 1.0)])
    def test_displacements_count_in_face_sizes_or_as_they_are(self, adapt, factor):
        shift = torch.tensor([0.05, -0.1])
        turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        driving = Keypoints(self.REFERENCE.points + shift, turn.expand(1, 4, 2, 2))
        points, jacobians, _ = FirstOrderTransfer(self.SOURCE, self.REFERENCE, adapt).relative(driving)
        torch.testing.assert_close(points, self.SOURCE.points + factor * shift)
        expected = torch.tensor([[0.0, -1.0], [2.0, 1.0]])  # first as the photo, then as the driver
        torch.testing.assert_close(jacobians, expected.expand(1, 4, 2, 2))

    def test_keypoints_without_jacobians(self):
        source, reference = Keypoints(self.SOURCE.points), Keypoints(self.REFERENCE.points)
        points, jacobians, _ = FirstOrderTransfer(source, reference).relative(reference)
        torch.testing.assert_close(points, source.points)
        assert jacobians is None

    def test_hull_area(self):
        assert hull_area(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.3, 0.2], [0.0, 1.0]])) == pytest.approx(0.5)
        assert hull_area(torch.zeros(4, 2)) == 0

    def test_a_driver_squeezed_into_a_point_has_no_size_and_breaks_nothing(self):
        flat = Keypoints(torch.zeros(1, 4, 2), torch.zeros(1, 4, 2, 2))
        points, jacobians, _ = FirstOrderTransfer(self.SOURCE, flat).relative(flat)
        assert points.isfinite().all()
        assert jacobians.isfinite().all()


@pytest.fixture(scope="module", params=["first_order", "legacy_format"])
def reference(request: pytest.FixtureRequest) -> tuple[Path, dict[str, np.ndarray]]:
    """A checkpoint and what the original code makes of it."""
    folder = REFERENCE / request.param
    if not folder.is_dir():
        pytest.skip("needs ../shared/fomm_reference")
    with np.load(folder / "expected.npz") as expected:
        return folder / "vox-cpk.pth.tar", dict(expected)


def batch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


class TestParity:
    @pytest.mark.parametrize("fold", [False, True], ids=["as trained", "batch norms folded"])
    @torch.inference_mode()
    def test_networks(self, reference, fold):
        path, expected = reference
        model = import_published(path)
        model = fold_batch_norms(model) if fold else model
        code = model.encode_photo(batch(expected["source"][None]))
        driving = model.detect(batch(expected["driving"]))
        source = Keypoints(code.keypoints, code.jacobians)
        first = Keypoints(driving.points[:1], driving.jacobians[:1])
        relative, adapted = (FirstOrderTransfer(source, first, a).relative(driving) for a in (False, True))
        generated, motion = model(code.expand(2), driving)
        seen = {
            "kp_source": source.points,
            "jacobian_source": source.jacobians,
            "kp_driving": driving.points,
            "occlusion_absolute": motion.occlusion,
            "deformed_absolute": generated.warped[:1],
            "prediction_absolute": generated.image,
            "prediction_relative": model(code.expand(2), relative)[0].image,
            "prediction_relative_adapt": model(code.expand(2), adapted)[0].image,
        }
        for name, value in seen.items():
            np.testing.assert_allclose(value.numpy(), expected[name], rtol=0, atol=1e-4, err_msg=name)

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("absolute", {"relative": False}),
            ("relative", {"adapt_scale": False}),
            ("relative_adapt", {}),
        ],
    )
    def test_animator(self, reference, name, options):
        path, expected = reference
        animator = Animator(path, device="cpu", precision="fp32", sr=False, mark=None, **options)
        animator.set_photo(expected["source"], crop=None)
        frames = np.stack(list(animator.animate(expected["driving"])))
        original = expected[f"prediction_{name}"].transpose(0, 2, 3, 1) * 255
        assert np.abs(frames - original).max() <= 0.5 + 255e-4

    def test_super_resolution_doubles_it(self, reference, tmp_path, monkeypatch):
        path, expected = reference
        resolver = tmp_path / "sr.safetensors"
        save_checkpoint(resolver, FaceSuperResolver(FaceSuperResolverSettings((4, 4, 4, 4, 4), 4, 1)))
        monkeypatch.setattr(animator_module, "shipped_weights", lambda _: resolver)
        animator = Animator(path, device="cpu", precision="fp32", mark=None)
        animator.set_photo(expected["source"], crop=None)
        (frame,) = animator.animate(expected["driving"][:1])
        assert frame.shape == (512, 512, 3)
        small = frame.reshape(256, 2, 256, 2, 3).mean((1, 3))
        original = expected["prediction_relative_adapt"][0].transpose(1, 2, 0) * 255
        assert np.abs(small - original).mean() < 1

    def test_settings(self, reference):
        settings = import_published(reference[0]).settings
        assert (settings.num_keypoints, settings.jacobian_maps) == (10, 10)
        assert len(settings.keypoint_widths) == len(settings.motion_widths) == 6
