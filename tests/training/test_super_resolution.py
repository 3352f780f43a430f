"""Super-resolution training, on one photo that scikit-image brings along."""

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut
from torch import nn
from torch.nn import functional as F

from faceanim_cli.data.portraits import (
    Portrait,
    PortraitDataset,
    View,
    degraded,
    framed_pair,
    load_portraits,
)
from faceanim_cli.errors import UnreadableInputError, WeightsError
from faceanim_cli.faces.framing import Box
from faceanim_cli.training.progress import Listener
from faceanim_cli.training.super_resolution import SuperResolutionSettings, train_super_resolution
from faceanim_cli.weights.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from faceanim_models import FaceSuperResolver, FaceSuperResolverSettings

TINY = FaceSuperResolverSettings(widths=(8, 8, 8, 8, 8), detail=12, depth=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "photos").mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "split", "identity"))
        rows.writerow(("clips/a.mp4", "train", "a"))
        for split in ("train", "val"):
            Image.fromarray(astronaut()).save(folder / "photos" / f"{split}.png")
            rows.writerow((f"photos/{split}.png", split, split))
        rows.writerow(("photos/gone.png", "train", "gone"))
    return folder


@pytest.fixture(autouse=True)
def handlers() -> object:
    """A run takes over the signals; give them back."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def portrait() -> Portrait:
    return Portrait("astronaut", "a", astronaut(), Box(170, 60, 110, 110))


def tiny(data: Path, out: Path, **changes: object) -> SuperResolutionSettings:
    settings: dict[str, object] = {
        "architecture": TINY, "perceptual_weight": 0.0, "size": 32, "batch": 2, "workers": 0, "max_steps": 3,
        "precision": "32",
    }  # fmt: skip
    return SuperResolutionSettings(data, out, **{**settings, **changes})  # type: ignore[arg-type]


def test_portraits_are_the_readable_photos_of_a_split_with_their_faces(data: Path) -> None:
    (portrait,) = load_portraits(data, "train")
    assert portrait.name == "train"
    assert portrait.face.x < 220 < portrait.face.x + portrait.face.w  # the astronaut's nose
    assert portrait.face.y < 120 < portrait.face.y + portrait.face.h


def test_pairs_repeat_themselves_and_differ(portrait: Portrait) -> None:
    pairs = [
        PortraitDataset([portrait], 32, 10, seed)[index] for seed, index in ((1, 4), (1, 4), (1, 5), (2, 4))
    ]
    assert pairs[0]["low"].shape == (3, 32, 32)
    assert pairs[0]["high"].shape == (3, 64, 64)
    assert all(torch.equal(pairs[0][name], pairs[1][name]) for name in ("low", "high"))
    assert not torch.equal(pairs[0]["high"], pairs[2]["high"])
    assert not torch.equal(pairs[0]["high"], pairs[3]["high"])


def test_both_of_a_pair_show_the_same_place(portrait: Portrait) -> None:
    # A grey level per place: what is out of place is of another level.
    y, x = np.mgrid[:512, :512]
    ramp = np.stack((x / 2, y / 2, (x + y) / 4), axis=-1).astype(np.uint8)
    pairs = PortraitDataset([Portrait("ramp", "a", ramp, portrait.face)], 32, 40)
    for index in range(40):
        pair = pairs[index]
        small = F.avg_pool2d(pair["high"], 2)
        difference = (pair["low"] - small)[:, 4:-4, 4:-4].mean((1, 2))
        assert difference.abs().max() < 0.012  # three levels; a pixel aside makes one to two of them
        assert (difference.mean()).abs() < 0.008


def test_a_turned_view_agrees_with_its_matrix(portrait: Portrait) -> None:
    photo = np.zeros((200, 200, 3), np.uint8)
    photo[70:73, 110:113] = 255  # centre (111, 71)
    view = View(100, 90, 80, 20.0)
    shown = view.of(photo, 60)[..., 0].astype(float)
    seen = (
        np.array([(shown.sum(0) * np.arange(60)).sum(), (shown.sum(1) * np.arange(60)).sum()]) / shown.sum()
    )
    assert np.abs(seen - (view.matrix(60) @ (111, 71, 1))[:2]).max() < 0.1


def test_plain_degradation_only_shrinks(portrait: Portrait) -> None:
    low, high = framed_pair(portrait, 32, 0, plain=1)
    assert (low - F.avg_pool2d(high, 2)).abs().max() < 1.01 / 255  # rounded between x and y
    soft = degraded(portrait.image, View(225, 115, 192), 32, np.random.default_rng(0), plain=0)
    assert soft.shape == (32, 32, 3)
    assert soft.dtype == np.uint8


def test_a_little_training_beats_the_plain_enlargement(portrait: Portrait) -> None:
    torch.manual_seed(0)
    network = FaceSuperResolver(TINY)
    low, high = (image[None] for image in framed_pair(portrait, 64, 0, plain=1))
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(40):
        loss = (network(low) - high).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_a_run_stops_at_max_steps_and_writes_what_loads(data: Path, tmp_path: Path) -> None:
    reported: list[str] = []
    result = train_super_resolution(tiny(data, tmp_path, notes="astronaut"), Listener(reported.append))
    assert result is not None
    scores = result.scores
    assert result.weights == tmp_path / "best.safetensors"
    assert abs(scores.value) < 1  # three steps after the plain enlargement
    assert 20 < scores.degraded_bicubic < scores.clean_bicubic
    for name in ("best", "last"):
        network = load_checkpoint(tmp_path / f"{name}.safetensors", "super-resolution")
        assert isinstance(network, FaceSuperResolver)
        assert network.settings == TINY
        assert read_metadata(tmp_path / f"{name}.safetensors")["trained"] == "step 3; astronaut"
    assert json.loads((tmp_path / "settings.json").read_text())["size"] == 32
    assert any("1 photos of 1 people" in line for line in reported)


def test_a_run_goes_on_from_weights(data: Path, tmp_path: Path) -> None:
    wider = FaceSuperResolver(FaceSuperResolverSettings(widths=(4, 4, 4, 4, 6), detail=4, depth=1))
    save_checkpoint(tmp_path / "init.safetensors", wider)
    train_super_resolution(tiny(data, tmp_path / "run", init=tmp_path / "init.safetensors", max_steps=1))
    network = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert isinstance(network, FaceSuperResolver)
    assert network.settings == wider.settings


def test_a_signal_ends_the_run_whole(data: Path, tmp_path: Path) -> None:
    validated: list[str] = []

    def interrupt(line: str) -> None:
        if "validation" in line and not validated:  # the reports before come before the run listens
            validated.append(line)
            os.kill(os.getpid(), signal.SIGTERM)

    settings = tiny(data, tmp_path, max_steps=10**6, validate_minutes=0.0, batch=1)
    train_super_resolution(settings, Listener(interrupt))
    assert read_metadata(tmp_path / "last.safetensors")["trained"] == "step 1"


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    rate = {"learning_rate": 1e-2, "warm_up": 1, "decay_over": "steps"}
    train_super_resolution(tiny(data, tmp_path / "whole", max_steps=4, **rate))

    def interrupt(line: str) -> None:
        if "validation" in line:
            os.kill(os.getpid(), signal.SIGINT)

    settings = tiny(data, tmp_path / "parts", max_steps=4, validate_minutes=0.0, **rate)
    train_super_resolution(settings, Listener(interrupt))
    assert read_metadata(tmp_path / "parts" / "last.safetensors")["trained"] == "step 1"
    train_super_resolution(tiny(data, tmp_path / "parts", max_steps=4, **rate))
    a, b = (
        torch.load(tmp_path / name / "state.pt", weights_only=True)["model"] for name in ("whole", "parts")
    )
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_loss_that_is_not_finite_ends_the_run(data: Path, tmp_path: Path) -> None:
    network = FaceSuperResolver(TINY)
    for conv in (m for m in network.modules() if isinstance(m, nn.Conv2d)):
        nn.init.constant_(conv.weight, 6e4)  # finite as fp16, but not what comes of it
    save_checkpoint(tmp_path / "init.safetensors", network)
    with pytest.raises(WeightsError, match=r"not finite at step 0: pixels"):
        train_super_resolution(tiny(data, tmp_path, init=tmp_path / "init.safetensors"))


def test_without_photos_to_train_on(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("file,split,identity\n")
    with pytest.raises(UnreadableInputError, match="train"):
        train_super_resolution(tiny(tmp_path, tmp_path / "run"))
