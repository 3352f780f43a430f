"""Files told by their content, and what a weights file holds without its network being built."""

import io
import json
import os
import pickle
import re
import struct
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.checkpoint import save_checkpoint
from faceanim_cli.weights.inspect import describe
from faceanim_cli.weights.load import load_weights
from faceanim_models import (
    AnimationModel,
    FaceSuperResolver,
    FaceSuperResolverSettings,
    FirstOrderModel,
    FirstOrderSettings,
    PatchDiscriminator,
    PatchDiscriminatorSettings,
)
from tests.conftest import TINY

FIRST_ORDER = FirstOrderSettings(4, 4, (4, 6, 8), (5, 6, 7), generator_widths=(4, 6, 8), residual_blocks=1)


@pytest.fixture(autouse=True)
def _assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))


class Runs:
    """A pickle of this runs a shell command when it is opened the naive way."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"echo opened > '{self.trace}'",)


def refusal(path: Path) -> str:
    """What both ways in say of a file that is no weights file; they say the same, in one line."""
    messages = set()
    for way_in in (describe, load_weights):
        with pytest.raises(WeightsError) as caught:
            way_in(path)
        messages.add(str(caught.value))
    assert len(messages) == 1, messages
    (message,) = messages
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def first_order_content() -> dict[str, object]:
    torch.manual_seed(0)
    model = FirstOrderModel(FIRST_ORDER)
    return {part: getattr(model, part).state_dict() for part in ("generator", "kp_detector")}


def zip_of(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return packed.getvalue()


def tar_of(name: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return packed.getvalue()


def safetensors_of(header: object) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:6792d6810d7f46e3\nsize 751000000\n"
MISTAKEN = {
    "empty": (b"", "an empty file; fetch it again"),
    "html": (b"\n<!DOCTYPE html><html><title>Sign in</title>", "an HTML page, not weights: .*download link"),
    "html, no doctype": (b"<HTML><HEAD>", "an HTML page"),
    "lfs pointer": (POINTER, "a Git LFS pointer to a file of 751 MB, not the file; .*git lfs pull"),
    "error in json": (b'{"error": "Repository not found"}', "text, not weights: .*Repository not found"),
    "error in xml": (
        b"<?xml version='1.0'?><Error>AccessDenied</Error>",
        "text, not weights: .*AccessDenied",
    ),
    "tar": (tar_of("vox-cpk.pth"), "a real tar archive .*unpack it"),
    "gzip": (b"\x1f\x8b\x08\x00rest", "a gzip archive; unpack it"),
    "7-zip": (b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7-Zip archive; unpack it"),
    "zip of something": (
        zip_of(a="1", b="2"),
        "a zip archive of 2 files, not a checkpoint; it holds no checkpoint",
    ),
    "zip of a checkpoint": (
        zip_of(**{"m__vox.pth.tar": "1"}),
        "a zip archive of 1 files.* give m/vox.pth.tar",
    ),
    "torchscript": (
        zip_of(**{"m__data.pkl": "1", "m__code__a.py": "1"}),
        "a TorchScript program.*not opened",
    ),
    "cut zip": (
        zip_of(**{"m__data.pkl": "1" * 999})[:700],
        "a truncated zip file .*700 bytes.*fetch it again",
    ),
    "pickle": (
        pickle.dumps({"a": np.zeros(2)}),
        "a Python pickle that torch did not write; .*can run any code",
    ),
    "safetensors without its tensors": (
        safetensors_of({"x": {"dtype": "F32", "shape": [999], "data_offsets": [0, 3996]}}),
        "a truncated safetensors file, .* of 4,.* bytes; fetch it again",
    ),
    "safetensors cut in the header": (
        struct.pack("<Q", 999) + b'{"x": ',
        "truncated .*cut off within its header",
    ),
    "safetensors with a broken header": (safetensors_of(b'{"x": ]'), "a damaged safetensors file"),
    "safetensors with an odd header": (safetensors_of(b'{"x": [1]}'), "a damaged safetensors file"),
    "noise": (bytes(range(7, 256)) * 9, "not a weights file of any kind that faceanim knows"),
    "one byte": (b"\x80", "not a weights file"),
}


class TestWhatIsNoWeightsFile:
    @pytest.mark.parametrize(("content", "says"), MISTAKEN.values(), ids=MISTAKEN.keys())
    @pytest.mark.parametrize("name", ["vox-cpk.pth.tar", "animation.safetensors"])
    def test_is_named_for_what_it_is_whatever_it_is_called(self, tmp_path, content, says, name):
        path = tmp_path / name
        path.write_bytes(content)
        message = refusal(path)
        assert re.search(says, message), message

    def test_missing_and_a_folder(self, tmp_path):
        assert refusal(tmp_path / "no.safetensors") == "no such weights file"
        assert refusal(tmp_path) == "a folder; give the weights file inside it"

    def test_anothers_safetensors(self, tmp_path):
        path = tmp_path / "lora.safetensors"
        save_file({"a": torch.zeros(3)}, path)
        assert refusal(path) == "a safetensors file, but not one that faceanim wrote"

    @pytest.mark.parametrize("settings", ["{broken", "[1, 2]", "null"])
    def test_ours_with_settings_that_do_not_read(self, tmp_path, settings):
        path = tmp_path / "animation.safetensors"
        metadata = {"faceanim": "1", "network": "animation", "settings": settings}
        save_file({"a": torch.zeros(3)}, path, metadata)
        for way_in in (describe, load_weights):
            with pytest.raises(WeightsError, match="its settings do not"):
                way_in(path)

    def test_weights_of_another_network_do_not_animate(self, tmp_path):
        path = tmp_path / "d.safetensors"
        save_checkpoint(path, PatchDiscriminator(PatchDiscriminatorSettings((4, 8))))
        with pytest.raises(
            WeightsError, match="holds a discriminator network where animation weights are needed"
        ):
            load_weights(path)

    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
    @pytest.mark.parametrize("kept", [0.02, 0.3, 0.98])
    def test_truncated_torch_files(self, tmp_path, zipped, kept):
        path = tmp_path / "vox-cpk.pth.tar"
        torch.save(first_order_content(), path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(kept * len(whole))])
        for way_in in (describe, load_weights):
            with pytest.raises(WeightsError, match=r"truncated .*fetch it again"):
                way_in(path)

    def test_a_damaged_pickle_in_a_whole_zip(self, tmp_path):
        path = tmp_path / "vox-cpk.pth.tar"
        path.write_bytes(zip_of(vox__version="3", **{"vox__data.pkl": "\x80\x02}q\x00(X\x04"}))
        for way_in in (describe, load_weights):
            with pytest.raises(WeightsError, match="truncated or damaged torch file"):
                way_in(path)


class TestPicklesThatRunCode:
    @pytest.fixture
    def trace(self, tmp_path: Path) -> Path:
        return tmp_path / "trace"

    def test_the_trap_works(self, trace):
        """Opened the naive way it does run: the tests below would notice."""
        pickle.loads(pickle.dumps(Runs(trace)))
        assert trace.exists()

    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
    @pytest.mark.parametrize("place", ["top", "beside", "inside"])
    def test_are_never_run(self, tmp_path, trace, zipped, place):
        content = first_order_content()
        if place == "beside":
            content["epoch"] = Runs(trace)
        if place == "inside":
            content["generator"] = OrderedDict(content["generator"], extra=Runs(trace))
        path = tmp_path / "vox-adv-cpk.pth.tar"
        torch.save(Runs(trace) if place == "top" else content, path, _use_new_zipfile_serialization=zipped)
        message = refusal(path)
        assert message.startswith("refused: to open it, posix.system would have to be called")
        assert not trace.exists()

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_plain_pickles_are_not_even_opened(self, tmp_path, trace, protocol):
        path = tmp_path / "vox-adv-cpk.pth.tar"
        path.write_bytes(pickle.dumps(Runs(trace), protocol=protocol))
        refusal(path)
        assert not trace.exists()

    def test_a_magic_number_is_no_pass(self, tmp_path, trace):
        """The old format is pickles in a row: the ones before the tensors are opened as warily."""
        path = tmp_path / "vox-adv-cpk.pth.tar"
        start = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
        path.write_bytes(start + pickle.dumps(Runs(trace), protocol=2))
        assert "posix.system" in refusal(path)
        assert not trace.exists()

    def test_harmless_classes_are_refused_too(self, tmp_path):
        path = tmp_path / "vox-adv-cpk.pth.tar"
        torch.save({**first_order_content(), "when": Path("x")}, path)
        assert "would have to be called" in refusal(path)


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, a network that is built or a file that is read whole is a failure."""
    for kind in (AnimationModel, FaceSuperResolver, FirstOrderModel, PatchDiscriminator):
        monkeypatch.setattr(kind, "__init__", lambda *_: pytest.fail("built a network"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read the whole file"))


class TestDescribe:
    @pytest.mark.parametrize(
        ("name", "build"),
        [
            ("animation", lambda: AnimationModel(TINY)),
            ("super-resolution", lambda: FaceSuperResolver(FaceSuperResolverSettings((4, 4, 4, 4, 4), 4, 1))),
            ("first-order", lambda: FirstOrderModel(FIRST_ORDER)),
            ("discriminator", lambda: PatchDiscriminator(PatchDiscriminatorSettings((4, 8)))),
        ],
    )
    def test_ours(self, tmp_path, name, build, request):
        network, path = build(), tmp_path / "x.safetensors"
        save_checkpoint(path, network, notes={"licence": "CC0-1.0"})
        request.getfixturevalue("unbuilt")
        seen = describe(path)
        assert (seen.kind, seen.network, seen.licence) == ("faceanim checkpoint", name, "CC0-1.0")
        assert seen.parameters == sum(p.numel() for p in network.parameters())
        assert (seen.bytes, seen.sha256) == (path.stat().st_size, None)
        assert seen.settings.keys() == vars(network.settings).keys()

    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
    def test_first_order(self, tmp_path, zipped, request):
        path = tmp_path / "vox-cpk.pth.tar"
        parameters = sum(p.numel() for p in FirstOrderModel(FIRST_ORDER).parameters())
        extra = {"optimizer": {"state": {0: {"exp_avg": torch.zeros(9)}}}, "epoch": 99}
        torch.save({**first_order_content(), **extra}, path, _use_new_zipfile_serialization=zipped)
        request.getfixturevalue("unbuilt")
        seen = describe(path)
        assert seen.kind == "first-order-model checkpoint" + ("" if zipped else ", before torch 1.6")
        assert (seen.network, seen.licence, seen.parameters) == ("first-order", None, parameters)
        assert FirstOrderSettings(**seen.settings) == FIRST_ORDER
        json.dumps(seen.settings)

    def test_parameters_and_shared_storages(self, tmp_path):
        """As some tools save them: parameters for tensors, and one storage under two names."""
        path = tmp_path / "vox-cpk.pth.tar"
        content = first_order_content()
        content["generator"]["final.bias"] = torch.nn.Parameter(content["generator"]["final.bias"])
        content["ema"] = content["generator"]
        torch.save(content, path)
        assert describe(path).parameters == sum(p.numel() for p in FirstOrderModel(FIRST_ORDER).parameters())
        assert isinstance(load_weights(path), FirstOrderModel)

    def test_a_large_file_takes_no_longer(self, tmp_path, monkeypatch):
        """A gigabyte of optimizer state, which takes no room on the disk, is not read."""
        path = tmp_path / "vox-cpk.pth.tar"
        torch.save(first_order_content(), path, _use_new_zipfile_serialization=False)
        os.truncate(path, 1 << 30)
        read = 0

        class Counted(io.FileIO):
            def readinto(self, buffer):
                nonlocal read
                count = super().readinto(buffer)
                read += count
                return count

        monkeypatch.setattr(Path, "open", lambda self, _: io.BufferedReader(Counted(self)))
        assert describe(path).bytes == 1 << 30
        assert 0 < read < 1 << 20
