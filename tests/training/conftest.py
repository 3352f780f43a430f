"""Tiny networks with the shipped model's keypoints, and pairs to train them on."""

import dataclasses
import signal
from fractions import Fraction

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from scipy import ndimage

from faceanim_cli.data.landmarks import DENSE_ANCHORS, Anchors
from faceanim_cli.media import VideoWriter
from faceanim_cli.training import motion
from faceanim_cli.training.architecture import moved, shipped_architecture
from faceanim_cli.training.first_order import train_first_order
from faceanim_cli.training.motion import train_motion
from faceanim_cli.training.progress import Listener
from faceanim_cli.training.settings import FirstOrderTrainingSettings, MotionTrainingSettings
from faceanim_models import (
    AnimationModel,
    AnimationSettings,
    DenseMotionSettings,
    FirstOrderModel,
    GeneratorSettings,
    KeypointDetectorSettings,
)
from tests.conftest import TINY_FIRST_ORDER

SIZE = 64
K = len(DENSE_ANCHORS)
SIDE = 96  # pixels of the clips


def tiny_settings(
    size: int = SIZE,
    anchors: Anchors = DENSE_ANCHORS,
    similarity: bool = True,
    segmenter: bool = True,
    encoder: str = "resnet18",
) -> AnimationSettings:
    """The shipped architecture, all its parts, in small."""
    k = len(moved(anchors) or DENSE_ANCHORS)
    shipped = shipped_architecture(size, anchors)
    refiner, details = shipped.keypoints.refiner, shipped.details
    if refiner is not None and details is not None:
        refiner, details = (
            dataclasses.replace(
                part,
                patches=tuple(dataclasses.replace(kind, pixels=(16, 16)) for kind in part.patches),
                widths=(4, 4, 4),
            )
            for part in (refiner, details)
        )
    motion = {"use_similarity": similarity, "photo_channels": 2 if segmenter else 0}
    return AnimationSettings(
        KeypointDetectorSettings(
            len(anchors) or k, encoder, input_size=32, stages=1, widths=(8,), refiner=refiner
        ),
        DenseMotionSettings(k, size=16, widths=(8, 12), **motion),
        GeneratorSettings(k, widths=(8, 8, 8), photo_widths=(4, 4, 4)),
        anchors,
        size,
        details,
    )


def squeezenet_file(path, prefix="", seed=0, value=None):
    """Random SqueezeNet 1.1 features in the format of the real file."""
    torch.manual_seed(seed)
    features = torchvision.models.squeezenet1_1(weights=None).features.state_dict()
    if value is not None:
        features = {key: torch.full_like(tensor, value) for key, tensor in features.items()}
    save_file({prefix + key: tensor for key, tensor in features.items()}, path)
    return path


def first_order_checkpoint(path):
    """A tiny checkpoint as first-order-model's authors save theirs."""
    model = FirstOrderModel(TINY_FIRST_ORDER)
    torch.nn.init.normal_(model.kp_detector.jacobian.weight, 0, 0.05)
    parts = {"generator": model.generator.state_dict(), "kp_detector": model.kp_detector.state_dict()}
    torch.save({**parts, "epoch": 99}, path)
    return path


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def features(tmp_path_factory):
    return squeezenet_file(tmp_path_factory.mktemp("weights") / "features.safetensors")


@pytest.fixture
def model() -> AnimationModel:
    return AnimationModel(tiny_settings())


@pytest.fixture
def pairs() -> dict[str, torch.Tensor]:
    """Four pairs."""
    return {
        "source": torch.rand(4, 3, SIZE, SIZE),
        "driving": torch.rand(4, 3, SIZE, SIZE),
        "source_points": torch.rand(4, K, 2) - 0.5,
        "driving_points": torch.rand(4, K, 2) - 0.5,
    }


def face_points():
    """(68, 2): a fixed arrangement about 32 pixels high; training never asks whether it is a face."""
    return np.random.default_rng(7).uniform(-16, 16, (68, 2))


def moving_frames(count, seed):
    """A soft texture and its landmarks, both moving a pixel right and half a pixel down each frame."""
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).random((SIDE, SIDE, 3)), (4, 4, 0))
    texture = (texture - texture.min()) / np.ptp(texture)
    frames = [ndimage.shift(texture, (0.5 * n, n, 0), order=1, mode="grid-wrap") for n in range(count)]
    points = [face_points() + SIDE / 2 + [n, 0.5 * n] for n in range(count)]
    return np.rint(255 * np.stack(frames)).astype(np.uint8), np.stack(points).astype(np.float32)


def write_data(folder, clips, scale=1):
    """A data folder of clips given as (name, split, number of frames), ``scale`` times as large as SIDE."""
    (folder / "landmarks").mkdir(parents=True)
    rows = ["file,split,identity"]
    for seed, (name, split, count) in enumerate(clips):
        frames, points = moving_frames(count, seed)
        frames = frames.repeat(scale, axis=1).repeat(scale, axis=2)
        with VideoWriter(folder / f"{name}.mp4", Fraction(15), (scale * SIDE, scale * SIDE)) as writer:
            for frame in frames:
                writer.write(frame)
        np.save(folder / "landmarks" / f"{name}.npy", scale * points)
        rows.append(f"{name}.mp4,{split},{name}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    clips = [("anna", "train", 6), ("ben", "train", 6), ("vera", "val", 12)]
    return write_data(tmp_path_factory.mktemp("data"), clips)


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.fixture
def small(monkeypatch):
    """Tiny networks; and whatever becomes of a run, signals mean afterwards what they meant before."""
    monkeypatch.setattr(motion, "shipped_architecture", tiny_settings)
    before = handlers()
    yield
    assert handlers() == before


@pytest.fixture
def quick(data, features, tmp_path):
    """Settings of a short run."""
    return {
        **{"data": data, "out": tmp_path / "run", "perceptual": str(features), "cache": data / "cache"},
        **{"size": SIZE, "batch": 2, "max_steps": 3, "workers": 0, "precision": "32"},
    }


def training(train, settings, quick):
    """Calls ``train`` with changed settings; returns the scores and the reports."""

    def run(**changes):
        reports = []
        result = train(settings(**{**quick, **changes}), Listener(reports.append))
        return None if result is None else result.scores, reports  # None but in the first process

    return run


@pytest.fixture
def run(small, quick):
    """Train into tmp_path / "run", without free keypoints; returns the scores and the reports."""

    def settings(**given):
        if given.get("init") is None:
            given = {"free_keypoints": False, **given}
        return MotionTrainingSettings(**given)

    return training(train_motion, settings, quick)


@pytest.fixture
def vox(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return first_order_checkpoint(tmp_path / "vox-cpk.pth.tar")


@pytest.fixture
def first_order_run(small, quick, vox):
    """The same for first-order-model's networks."""
    return training(train_first_order, FirstOrderTrainingSettings, {**quick, "init": vox})


def state_of(folder):
    return torch.load(folder / "state.pt", map_location="cpu", weights_only=True)


def same(a, b):
    """Whether two states are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b
