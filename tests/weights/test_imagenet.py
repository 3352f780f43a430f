"""ImageNet weights: what ships needs no network, what is fetched is told first, what cannot be says how."""

import hashlib
import socket
from types import SimpleNamespace

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.imagenet import imagenet_file, read_imagenet


@pytest.fixture(autouse=True)
def cut_off(monkeypatch, tmp_path):
    """No network, and a cache of torchvision's that is empty."""

    def refused(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))


@pytest.fixture
def published(monkeypatch, tmp_path):
    """A classifier on a server of ours: its address, where it goes, and its tensors."""
    tensors = {"features.0.weight": torch.rand(2, 3)}
    torch.save(tensors, tmp_path / "net.pth")
    digest = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()[:8]
    source = (tmp_path / "net.pth").rename(tmp_path / f"net-{digest}.pth")
    weights = SimpleNamespace(DEFAULT=SimpleNamespace(url=source.as_uri(), meta={"_file_size": 548.05}))
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: weights)
    return source, tmp_path / "hub" / "checkpoints" / source.name, tensors


def test_squeezenet_ships_and_is_the_one_that_imagenet_trained():
    tensors = read_imagenet(imagenet_file("squeezenet1_1", "--perceptual"))
    network = torchvision.models.squeezenet1_1(weights=None).features
    assert {k: t.shape for k, t in tensors.items()} == {k: t.shape for k, t in network.state_dict().items()}
    assert all(t.dtype == torch.float32 for t in tensors.values())


def test_what_is_fetched_is_told_first_and_not_on_stdout(published, capsys):
    source, file, tensors = published
    told = []

    def report(line):
        assert not file.exists()
        told.append(line)

    assert imagenet_file("vgg19", "--perceptual", report=report) == file
    (line,) = told
    for part in (source.as_uri(), "548 MB", str(file)):
        assert part in line
    assert torch.equal(read_imagenet(file)["features.0.weight"], tensors["features.0.weight"])
    assert imagenet_file("vgg19", "--perceptual", offline=True, report=report) == file  # it is here now
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("by", ["--offline", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_tried_and_the_error_says_what_to_fetch(published, monkeypatch, by):
    source, file, _ = published
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", by == "HF_HUB_OFFLINE")
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    with pytest.raises(WeightsError, match="forbids fetching") as caught:
        imagenet_file("vgg19", "--perceptual", offline=by == "--offline")
    for part in (source.as_uri(), str(file), "--perceptual"):
        assert part in str(caught.value)
    assert not file.parent.exists()


def test_without_a_network_it_is_one_line_with_the_address(monkeypatch, tmp_path):
    with pytest.raises(WeightsError, match=r"cannot fetch https://download\.pytorch\.org/\S+") as caught:
        imagenet_file("resnet18", "--encoder-weights")
    for part in ("no route to host", str(tmp_path / "hub"), "--encoder-weights"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_download_is_not_kept(published):
    source, file, _ = published
    source.write_bytes(source.read_bytes() + b"!")
    with pytest.raises(WeightsError, match="invalid hash value"):
        imagenet_file("vgg19", "--perceptual")
    assert list(file.parent.iterdir()) == []


class TestReading:
    def test_both_formats(self, tmp_path):
        tensors = {"a": torch.rand(2).half(), "count": torch.tensor(3)}
        torch.save(tensors, tmp_path / "t.pth")
        save_file(tensors, tmp_path / "t.safetensors")
        for name in ("t.pth", "t.safetensors"):
            read = read_imagenet(tmp_path / name)
            assert torch.equal(read["a"], tensors["a"].float())
            assert read["count"].dtype == torch.int64

    @pytest.mark.parametrize("content", [[1, 2], {"model": {"a": torch.rand(1)}}, {}])
    def test_what_is_no_classifier(self, tmp_path, content):
        torch.save(content, tmp_path / "t.pth")
        with pytest.raises(WeightsError, match=r"t\.pth: not the weights of a classifier"):
            read_imagenet(tmp_path / "t.pth")
