"""``faceanim train`` on folders as people have them: from raw videos to an animation, and bad input."""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import huggingface_hub.constants
import numpy as np
import pytest
import torch

from faceanim_cli import interrupts
from faceanim_cli.data.prepared_folder import prepared_folder
from faceanim_cli.media import VideoReader, VideoWriter, write_photo
from faceanim_cli.training import motion
from faceanim_cli.weights import resolve
from faceanim_cli.weights.catalogue import ANIMATION, shipped_weights
from faceanim_cli.weights.checkpoint import load_checkpoint, save_checkpoint
from faceanim_models import AnimationModel
from tests.training.conftest import first_order_checkpoint, squeezenet_file, tiny_settings

SHIPPED_ARCHITECTURE = motion.shipped_architecture
Run = Callable[..., tuple[int, str, str]]
FRAMES = 26  # a clip of ``faceanim prepare`` has 25 or more
BRIEF = ("--size", 64, "--max-steps", 2, "--batch", 2, "--workers", 0)
PLAIN = ("--perceptual", "none", "--precision", 32, "--devices", 1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny networks; Ctrl-C means afterwards what it meant before, and SIGTERM what the command line set."""
    monkeypatch.setattr(motion, "shipped_architecture", tiny_settings)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        assert signal.getsignal(number) in (handler, interrupts._end)
        signal.signal(number, handler)


@pytest.fixture
def vox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return first_order_checkpoint(tmp_path / "vox-cpk.pth.tar")


@pytest.fixture
def make_clip(tmp_path: Path, astronaut: np.ndarray) -> Callable[[str, int], Path]:
    """A face crop that drifts, with landmarks beside it; the tint makes it somebody else's."""

    def make(name: str, tint: int) -> Path:
        path = tmp_path / "videos" / name
        path.parent.mkdir(exist_ok=True)
        picture = np.clip(astronaut.astype(int) + tint, 0, 255).astype(np.uint8)
        with VideoWriter(path, Fraction(25), (256, 256)) as writer:
            for n in range(FRAMES):
                crop = picture[20:230, 120 - n : 330 - n]
                writer.write(cv2.resize(crop, (256, 256), interpolation=cv2.INTER_CUBIC))
        face = np.random.default_rng(0).uniform((65, 55), (170, 190), (68, 2))
        np.save(path.with_suffix(".npy"), [face + np.array((256 / 210 * n, 0)) for n in range(FRAMES)])
        return path

    return make


def test_from_raw_videos_to_an_animation(
    faceanim: Run,
    make_clip: Callable[[str, int], Path],
    make_driver: Callable[..., Path],
    astronaut: np.ndarray,
    tmp_path: Path,
) -> None:
    videos = [make_clip(name, tint) for name, tint in (("anna.mp4", 0), ("ben.mp4", 25))]
    folder, run = tmp_path / "videos", tmp_path / "run"
    code, out, err = faceanim("train", "--data", folder, "--out", run, *BRIEF, *PLAIN)
    assert code == 0
    assert f"its videos are prepared first (2), into {folder}-prepared" in err
    assert "1 clips of 1 people, 1 to validate on" in err
    weights = Path(out.strip())
    assert weights.parent == run
    # beside the videos, not among them
    assert {path.name for path in folder.iterdir()} == {
        f"{p.stem}{s}" for p in videos for s in (".mp4", ".npy")
    }

    code, _, err = faceanim("train", "--data", folder, "--out", run, *BRIEF, *PLAIN)
    assert code == 0
    assert "was prepared before" in err
    assert "going on from step 2" in err

    write_photo(tmp_path / "photo.png", astronaut)
    result = tmp_path / "out.mp4"
    options = ("--weights", weights, "--no-sr", "--device", "cpu")
    code, _, err = faceanim("animate", tmp_path / "photo.png", make_driver(frames=3), "-o", result, *options)
    assert code == 0, err
    with VideoReader(result) as video:
        assert (video.width, video.height, len(list(video))) == (64, 64, 3)


def test_from_a_first_order_checkpoint_to_an_animation_and_a_score(
    faceanim: Run,
    make_clip: Callable[[str, int], Path],
    make_driver: Callable[..., Path],
    astronaut: np.ndarray,
    vox: Path,
    tmp_path: Path,
) -> None:
    for name, tint in (("anna.mp4", 0), ("ben.mp4", 25)):
        make_clip(name, tint)
    run = tmp_path / "run"
    seeing = ("--perceptual", squeezenet_file(tmp_path / "features.safetensors"))
    options = ("--data", tmp_path / "videos", "--out", run, "--init", vox, *BRIEF, *PLAIN, *seeing)
    code, out, err = faceanim("train", *options)
    assert code == 0, err
    weights = out.strip()
    assert weights == str(run / "best.safetensors")

    code, out, _ = faceanim("weights", "info", weights, "--json")
    assert (code, json.loads(out)["network"]) == (0, "first-order")
    write_photo(tmp_path / "photo.png", astronaut)
    result, use = tmp_path / "out.mp4", ("--weights", weights, "--device", "cpu")
    code, _, err = faceanim(
        "animate", tmp_path / "photo.png", make_driver(frames=3), "-o", result, "--no-sr", *use
    )
    assert code == 0, err
    with VideoReader(result) as video:
        assert (video.width, video.height, len(list(video))) == (64, 64, 3)
    code, out, err = faceanim("eval", "--metrics", "psnr", "--every", 20, "--json", *use)
    assert code == 0, err
    assert "psnr" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--keypoints", "dense"), "--keypoints dense: means nothing to first-order-model's networks"),
        (("--no-similarity",), "--no-similarity: means nothing to first-order-model's networks"),
        (("--no-segmenter",), "--no-segmenter: means nothing to first-order-model's networks"),
        (("--preset", "paper"), "--preset paper: means nothing to first-order-model's networks"),
        (("--loss", "still=1"), "--loss still=1: write NAME=WEIGHT"),
        (("--perceptual", "none"), "without the perceptual loss nothing teaches"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_options_that_mean_nothing_to_first_order_model(
    faceanim: Run, vox: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    (tmp_path / "manifest.csv").write_text("file,split,identity\n")
    where = ("--data", tmp_path, "--out", tmp_path / "run", "--init", vox)
    code, out, err = faceanim("train", *where, *options)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network at all, and nothing that torchvision fetched before."""

    def refused(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))


def test_a_bare_install_trains_what_ships_without_a_network(
    faceanim: Run,
    make_clip: Callable[[str, int], Path],
    monkeypatch: pytest.MonkeyPatch,
    cut_off: None,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(motion, "shipped_architecture", SHIPPED_ARCHITECTURE)
    clip = make_clip("anna.mp4", 0)
    brief = ("--size", 64, "--max-steps", 1, "--batch", 1, "--workers", 0, "--keep", 0)
    options = ("-o", tmp_path / "run", *brief, "--devices", 1, "--offline", "--json", "--quiet")
    code, out, err = faceanim("train", "--data", clip, *options)
    assert (code, err) == (0, "")
    assert json.loads(out) == {"weights": str(tmp_path / "run" / "last.safetensors")}
    files = (tmp_path / "run" / "last.safetensors", shipped_weights(ANIMATION))
    built, ours = (load_checkpoint(file).settings for file in files)
    assert built.motion == ours.motion
    assert built.generator == ours.generator


@pytest.mark.parametrize("offline", [True, False], ids=["offline", "cut off"])
def test_what_must_be_fetched_is_told_before_videos_are_prepared(
    faceanim: Run, make_clip: Callable[[str, int], Path], cut_off: None, tmp_path: Path, offline: bool
) -> None:
    clip = make_clip("anna.mp4", 0)
    options = ("--preset", "paper", *(["--offline"] if offline else []))
    code, out, err = faceanim("train", "--data", clip.parent, "-o", tmp_path / "run", *options)
    assert (code, out) == (4, "")
    said = err.splitlines()[-1]
    assert "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth" in said
    assert str(tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth") in said
    assert len(err.splitlines()) == (1 if offline else 2)  # else it says first what it fetches
    assert not (tmp_path / "videos-prepared").exists()
    assert not (tmp_path / "run").exists()


def test_super_resolution_goes_on_from_a_repository_s_super_resolution(
    faceanim: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    monkeypatch.setattr(resolve, "cached_file", asked.append)
    options = ("--stage", "sr", "--init", "somebody/weights", "--offline", "-o", tmp_path / "run")
    code, _, err = faceanim("train", "--data", tmp_path, *options)
    assert code == 4
    assert "somebody/weights is not on this machine" in err
    assert [source.filename for source in asked] == ["super_resolution.safetensors"]


@pytest.mark.parametrize(
    ("options", "expected", "said"),
    [
        (("--stage", "sr", "--keypoints", "dense"), 2, "--keypoints dense: means nothing to --stage sr"),
        (("--stage", "sr", "--loss", "pixels=1"), 2, "--loss pixels=1: means nothing to --stage sr"),
        (("--stage", "sr", "--init", "animation"), 4, "holds a animation network; --stage sr goes on from"),
        (
            ("--stage", "keypoints", "--init", "super-resolution"),
            4,
            "goes on from animation",
        ),
        (("--size", "63"), 2, "--size 63: give a multiple of 16"),
        (("--size", "40"), 2, "--size 40: give a multiple of 16"),
        (("--swats-tolerance", "0.1"), 2, "add --optimizer swats"),
        (("--perceptual", "vgg16"), 4, "--perceptual vgg16: no such file, nor a name"),
        (("--encoder-weights", "r.pth"), 4, "--encoder-weights r.pth: no such file, nor a name"),
    ],
)
def test_options_that_mean_nothing_to_a_stage(
    faceanim: Run, tmp_path: Path, options: tuple[str, ...], expected: int, said: str
) -> None:
    code, out, err = faceanim("train", "--data", tmp_path / "nowhere", "-o", tmp_path / "run", *options)
    assert (code, out) == (expected, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_the_keypoint_detector_alone(
    faceanim: Run, make_clip: Callable[[str, int], Path], tmp_path: Path
) -> None:
    for name, tint in (("anna.mp4", 0), ("ben.mp4", 25)):
        make_clip(name, tint)
    save_checkpoint(tmp_path / "init.safetensors", AnimationModel(tiny_settings()))
    options = ("--stage", "keypoints", "--init", tmp_path / "init.safetensors", "-o", tmp_path / "run")
    code, out, err = faceanim("train", "--data", tmp_path / "videos", *options, *BRIEF, "--precision", "fp32")
    assert code == 0, err
    assert "validation error" in err
    assert "px of 256" in err
    assert out.strip() == str(tmp_path / "run" / "best.safetensors")


def test_one_single_clip_trains_and_says_that_nobody_validates_it(
    faceanim: Run, make_clip: Callable[[str, int], Path], tmp_path: Path
) -> None:
    clip = make_clip("anna.mp4", 0)
    code, out, err = faceanim("train", "--data", clip, "--out", tmp_path / "run", *BRIEF, *PLAIN)
    assert code == 0
    assert "nobody to validate on" in err
    assert out.strip().endswith("last.safetensors")


def test_folders_with_nothing_to_train_on(faceanim: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nobody").mkdir()
    with VideoWriter(tmp_path / "nobody" / "a.mp4", Fraction(25), (320, 256)) as writer:
        for _ in range(3):
            writer.write(np.full((256, 320, 3), 90, np.uint8))
    np.save(tmp_path / "nobody" / "a.npy", np.full((3, 68, 2), np.nan))
    for name, expected, says in (
        ("nowhere", 5, "nowhere: there is no such file; check the path"),
        ("empty", 5, "no video"),
        ("nobody", 3, "1 videos and no clip (no face)"),
        ("nobody", 3, "1 videos and no clip (no face)"),  # nor the second time
    ):
        code, out, err = faceanim("train", "--data", tmp_path / name, "--out", tmp_path / "run")
        assert (code, out) == (expected, "")
        assert says in err.splitlines()[-1]
        assert name == "nobody" or len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_the_other_processes_wait_for_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    videos, beside = tmp_path / "videos", tmp_path / "videos-prepared"
    looks = []

    def prepared_meanwhile(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            beside.mkdir()
            (beside / "manifest.csv").touch()

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("faceanim_cli.data.prepared_folder.time.sleep", prepared_meanwhile)
    assert prepared_folder(videos) == beside
    assert len(looks) == 2
