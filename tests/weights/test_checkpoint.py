"""Checkpoints: a file alone rebuilds a network, and one that does not fit says which key."""

import dataclasses
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from faceanim_cli.errors import FaceanimError, WeightsError
from faceanim_cli.weights import checkpoint
from faceanim_cli.weights.checkpoint import (
    load_checkpoint,
    load_tensors,
    read_metadata,
    save_checkpoint,
    settings_from_json,
)
from faceanim_cli.weights.file_kind import NETWORK_NAMES
from faceanim_models import (
    AnimationModel,
    AnimationSettings,
    DenseMotionSettings,
    GeneratorSettings,
    KeypointDetectorSettings,
    PatchDiscriminator,
    PatchDiscriminatorSettings,
)
from faceanim_models.detail_refiner import DetailRefinerSettings
from faceanim_models.face_patches import PatchSettings
from faceanim_models.keypoint_refiner import KeypointRefinerSettings

SETTINGS = AnimationSettings(
    KeypointDetectorSettings(3, encoder="resnet34", input_size=32, stages=1, widths=(8,), temperature=0.2),
    DenseMotionSettings(3, size=16, widths=(8, 12), sigma=0.1, use_similarity=False),
    GeneratorSettings(3, widths=(8, 12, 16), photo_widths=(4, 6, 8)),
    anchors=((0, 1), (30,), (8, 9, 10)),
    image_size=64,
)


def small_network():
    return PatchDiscriminator(PatchDiscriminatorSettings((3, 5)))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of a small network, to be damaged."""
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, small_network())
    return path


def rewrite(path, change=lambda tensors: None, **metadata):
    """The same file with other tensors or metadata."""
    tensors, old = load_file(path), read_metadata(path)
    change(tensors)
    save_file(tensors, path, {**old, **metadata})


def test_every_network_has_its_name_in_the_metadata_too():
    assert set(checkpoint.NETWORKS) == set(NETWORK_NAMES)


class TestRoundTrip:
    def test_the_file_alone_rebuilds_an_animation_model(self, tmp_path):
        model = AnimationModel(SETTINGS)
        photo, driving = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 2) - 0.5
        for _ in range(3):  # batch statistics away from their start
            model(model.encode_photo(torch.rand(4, 3, 64, 64)), torch.rand(4, 3, 2))
        save_checkpoint(tmp_path / "m.safetensors", model, notes={"licence": "CC0", "trained": "step 7"})

        loaded = load_checkpoint(tmp_path / "m.safetensors", expected="animation")
        assert isinstance(loaded, AnimationModel)
        assert loaded.settings == SETTINGS
        assert not loaded.training
        assert {p.dtype for p in loaded.parameters()} == {torch.float32}
        model.eval()
        with torch.inference_mode():
            before, after = model.encode_photo(photo), loaded.encode_photo(photo)
            torch.testing.assert_close(after.keypoints, before.keypoints, rtol=0, atol=5e-3)
            seen, expected = loaded(before, driving)[0].image, model(before, driving)[0].image
            torch.testing.assert_close(seen, expected, rtol=0, atol=5e-3)
        notes = read_metadata(tmp_path / "m.safetensors")
        assert (notes["licence"], notes["trained"]) == ("CC0", "step 7")

    def test_weights_are_halves_of_what_was_saved(self, tmp_path, saved):
        torch.manual_seed(0)
        original, loaded = small_network().state_dict(), load_checkpoint(saved).state_dict()
        for key, value in original.items():
            # half precision keeps 11 bits
            torch.testing.assert_close(loaded[key], value, rtol=2**-11, atol=1e-7)
        assert {tensor.dtype for tensor in load_file(saved).values()} == {torch.float16}

    def test_full_precision_is_exact(self, tmp_path):
        network = small_network()
        save_checkpoint(tmp_path / "n.safetensors", network, dtype=torch.float32)
        loaded = load_checkpoint(tmp_path / "n.safetensors").state_dict()
        assert all(torch.equal(value, loaded[key]) for key, value in network.state_dict().items())

    def test_counters_stay_whole_numbers(self, tmp_path):
        model = AnimationModel(SETTINGS)
        for buffer in model.buffers():
            if buffer.dtype == torch.int64:
                buffer.fill_(70_001)  # as a half it would be infinite
        save_checkpoint(tmp_path / "m.safetensors", model)
        loaded = load_checkpoint(tmp_path / "m.safetensors")
        counters = [b.item() for b in loaded.buffers() if b.dtype == torch.int64]
        assert set(counters) == {70_001}

    def test_channels_last_weights_can_be_saved(self, tmp_path):
        network = small_network().to(memory_format=torch.channels_last)
        save_checkpoint(tmp_path / "n.safetensors", network, dtype=torch.float32)
        loaded = load_checkpoint(tmp_path / "n.safetensors").state_dict()
        assert all(torch.equal(value, loaded[key]) for key, value in network.state_dict().items())

    def test_metadata_is_readable_by_anyone(self, tmp_path):
        save_checkpoint(tmp_path / "m.safetensors", AnimationModel(SETTINGS))
        with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
            metadata = file.metadata()
        assert metadata["network"] == "animation"
        settings = json.loads(metadata["settings"])
        assert settings["keypoints"]["encoder"] == "resnet34"
        assert settings["anchors"] == [[0, 1], [30], [8, 9, 10]]

    def test_settings_within_settings_come_back_as_they_were(self):
        patch = PatchSettings(((0, 1),), ((0, 1, 2),), (True,), 0.5, 0.25, 0.125, (16, 8))
        settings = AnimationSettings(
            KeypointDetectorSettings(5, refiner=KeypointRefinerSettings((patch, patch), (0, 3))),
            DenseMotionSettings(4),
            details=DetailRefinerSettings((patch,), (0,)),
        )
        text = json.dumps(dataclasses.asdict(settings))
        assert settings_from_json(AnimationSettings, json.loads(text)) == settings
        assert settings_from_json(AnimationSettings, {"details": None}).details is None

    def test_settings_from_before_a_field_was_added_get_its_default(self, saved):
        rewrite(saved, settings="{}", change=lambda t: t.clear() or t.update(default_tensors()))
        assert load_checkpoint(saved).settings == PatchDiscriminatorSettings()


def default_tensors():
    return dict(PatchDiscriminator(PatchDiscriminatorSettings()).state_dict())


class TestKeys:
    KEY = "blocks.1.parametrizations.weight.original"

    def test_missing(self, saved):
        rewrite(saved, lambda tensors: tensors.pop(self.KEY))
        with pytest.raises(WeightsError, match=rf"missing {self.KEY}$") as error:
            load_checkpoint(saved)
        assert str(saved) in str(error.value)

    def test_unexpected(self, saved):
        rewrite(saved, lambda tensors: tensors.update({"blocks.9.bias": torch.zeros(2)}))
        with pytest.raises(WeightsError, match=r"unexpected blocks\.9\.bias$"):
            load_checkpoint(saved)

    def test_those_that_hold_what_a_face_box_weighed_still_load(self, tmp_path):
        path, network = tmp_path / "old.safetensors", AnimationModel(SETTINGS)
        save_checkpoint(path, network)
        rewrite(path, lambda tensors: tensors.update({"keypoint_detector.prior_strength": torch.zeros(3)}))
        again = load_checkpoint(path).state_dict()
        assert again.keys() == network.state_dict().keys()

    def test_misshapen(self, saved):
        rewrite(saved, lambda tensors: tensors.update({"blocks.0.bias": torch.zeros(4)}))
        with pytest.raises(WeightsError, match=r"misshapen blocks\.0\.bias \(4,\) instead of \(3,\)$"):
            load_checkpoint(saved)

    def test_a_scalar_is_not_broadcast(self, saved):
        rewrite(saved, lambda tensors: tensors.update({"blocks.0.bias": torch.zeros(())}))
        with pytest.raises(WeightsError, match="misshapen"):
            load_checkpoint(saved)

    def test_all_faults_at_once(self, saved):
        def damage(tensors):
            tensors["renamed"] = tensors.pop(self.KEY)
            tensors["score.bias"] = torch.zeros(2)

        rewrite(saved, damage)
        with pytest.raises(
            WeightsError, match=rf"missing {self.KEY}; unexpected renamed; misshapen score\.bias"
        ):
            load_checkpoint(saved)

    def test_a_hundred_faults_are_one_line(self, saved):
        rewrite(saved, lambda tensors: tensors.update({f"extra{i:03}": torch.zeros(1) for i in range(100)}))
        with pytest.raises(WeightsError) as error:
            load_checkpoint(saved)
        message = str(error.value)
        assert "extra000" in message
        assert "94 more" in message
        assert "\n" not in message

    def test_weights_that_do_not_fit_change_nothing(self, tmp_path):
        network = small_network()
        before = {key: value.clone() for key, value in network.state_dict().items()}
        tensors = {key: value + 1 for key, value in before.items()}
        tensors.pop("score.bias")
        with pytest.raises(WeightsError, match=r"missing score\.bias"):
            load_tensors(network, tensors, tmp_path / "x")
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


class TestOtherFiles:
    def test_no_such_file(self, tmp_path):
        with pytest.raises(WeightsError, match="nowhere"):
            load_checkpoint(tmp_path / "nowhere.safetensors")

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip, say", b"x" * 5000])
    def test_not_safetensors(self, tmp_path, content):
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="not a safetensors file"):
            load_checkpoint(path)

    @pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
    def test_truncated(self, saved, share):
        data = saved.read_bytes()
        saved.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(WeightsError, match="fetch it again"):
            load_checkpoint(saved)

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"faceanim": "99", "network": "animation"}])
    def test_safetensors_of_someone_else(self, tmp_path, metadata):
        path = tmp_path / "foreign.safetensors"
        save_file({"weight": torch.zeros(2)}, path, metadata)
        with pytest.raises(WeightsError, match="not one that faceanim wrote"):
            load_checkpoint(path)

    def test_another_network_than_expected(self, saved):
        with pytest.raises(WeightsError, match="discriminator network where animation"):
            load_checkpoint(saved, expected="animation")
        assert isinstance(load_checkpoint(saved, expected="discriminator"), PatchDiscriminator)

    @pytest.mark.parametrize(
        "settings",
        [
            '{"depth": 3}',  # a field of a later version
            "{broken",
            "[1, 2]",
            "null",
            '{"widths": "wide"}',
            '{"widths": [4, -1]}',
        ],
    )
    def test_settings_that_rebuild_nothing(self, saved, settings):
        rewrite(saved, settings=settings)
        with pytest.raises(WeightsError, match="settings"):
            load_checkpoint(saved)

    def test_settings_that_contradict_themselves(self, tmp_path):
        path = tmp_path / "m.safetensors"
        save_checkpoint(path, AnimationModel(SETTINGS))
        settings = dataclasses.asdict(SETTINGS)
        settings["generator"]["num_keypoints"] = 4
        rewrite(path, settings=json.dumps(settings))
        with pytest.raises(WeightsError, match="disagree"):
            load_checkpoint(path)


class TestSaving:
    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e6])  # 1e6 is too much for a half
    def test_weights_that_are_not_finite_are_refused(self, tmp_path, bad):
        network = small_network()
        with torch.no_grad():
            network.score.bias[0] = bad
        with pytest.raises(WeightsError, match=r"score\.bias"):
            save_checkpoint(tmp_path / "n.safetensors", network)
        assert not list(tmp_path.iterdir())

    def test_a_large_weight_fits_in_full_precision(self, tmp_path):
        network = small_network()
        with torch.no_grad():
            network.score.bias[0] = 1e6
        save_checkpoint(tmp_path / "n.safetensors", network, dtype=torch.float32)
        assert load_checkpoint(tmp_path / "n.safetensors").score.bias[0] == 1e6

    def test_other_networks_are_refused(self, tmp_path):
        with pytest.raises(WeightsError, match="Linear"):
            save_checkpoint(tmp_path / "n.safetensors", nn.Linear(2, 2))
        assert not list(tmp_path.iterdir())

    def test_a_failed_save_leaves_the_old_file_whole(self, saved, monkeypatch):
        def disk_full(tensors, path, metadata):
            path.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")

        before = saved.read_bytes()
        monkeypatch.setattr(checkpoint, "save_file", disk_full)
        with pytest.raises((OSError, FaceanimError)):
            save_checkpoint(saved, small_network())
        assert saved.read_bytes() == before
        assert list(saved.parent.iterdir()) == [saved]

    def test_saving_does_not_change_the_network(self, tmp_path):
        network = small_network().train()
        before = {key: value.clone() for key, value in network.state_dict().items()}
        save_checkpoint(tmp_path / "n.safetensors", network)
        assert network.training
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
