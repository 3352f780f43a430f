"""Tiny networks, free pictures and the command line, which several tests share."""

import hashlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import settings

from faceanim_cli.app import main
from faceanim_cli.data.landmarks import PAPER_ANCHORS
from faceanim_cli.faces import detector
from faceanim_cli.media import VideoWriter, write_photo
from faceanim_cli.weights.checkpoint import save_checkpoint
from faceanim_models import (
    AnimationModel,
    AnimationSettings,
    DenseMotionSettings,
    FirstOrderSettings,
    GeneratorSettings,
    KeypointDetectorSettings,
)

TINY = AnimationSettings(
    KeypointDetectorSettings(10, input_size=32, stages=1, widths=(8,)),
    DenseMotionSettings(10, size=32, widths=(8, 16)),
    GeneratorSettings(10, widths=(8, 16, 16), photo_widths=(8, 8, 8)),
    PAPER_ANCHORS,
    image_size=64,
)
TINY_FIRST_ORDER = FirstOrderSettings(
    num_keypoints=4,
    jacobian_maps=4,
    keypoint_widths=(4, 6, 8),
    motion_widths=(5, 6, 7),
    generator_widths=(4, 6, 8),
    residual_blocks=1,
    image_size=64,
)

# A busy machine is no fault of the code under test.
settings.register_profile("faceanim", deadline=None)
settings.load_profile("faceanim")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked gpu needs one."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu") is not None:
                item.add_marker(pytest.mark.skip(reason="no CUDA GPU"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # Tiny networks: threads cost more than they give, above all beside other work; so in child processes.
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _in_the_foreground() -> None:
    # A suite that a shell runs in the background ignores Ctrl-C, and so would every process that it starts.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class RememberingCascade:
    """A cascade that searches each picture once: many tests look at the same few, and it takes long."""

    loaded: ClassVar[dict[tuple[str, str], "RememberingCascade"]] = {}

    def __init__(self, cascade: Any) -> None:
        self._cascade, self._found, self._lock = cascade, {}, threading.Lock()

    def detectMultiScale2(self, image: np.ndarray, **how: Any) -> Any:  # noqa: N802 (OpenCV's)
        key = (image.shape, hashlib.sha256(np.ascontiguousarray(image)).digest(), *how.values())
        with self._lock:
            if key not in self._found:
                self._found[key] = self._cascade.detectMultiScale2(image, **how)
            return self._found[key]


@pytest.fixture(autouse=True, scope="session")
def _remembering_cascades() -> Iterator[None]:
    load = detector._load_cascade

    def load_once(file: str) -> RememberingCascade:
        place = (str(getattr(getattr(detector.cv2, "data", None), "haarcascades", None)), file)
        if place not in RememberingCascade.loaded:
            RememberingCascade.loaded[place] = RememberingCascade(load(file))
        return RememberingCascade.loaded[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, "_load_cascade", load_once)
        yield


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """The NASA portrait, public domain: uint8 RGB (512, 512, 3), one face."""
    return skimage.data.astronaut()


@pytest.fixture
def photo(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A file with the astronaut."""
    path = tmp_path / "photo.png"
    write_photo(path, astronaut)
    return path


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Frames of noise that differ from each other: uint8 (N, H, W, 3)."""

    def make(count: int, height: int = 48, width: int = 48, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)

    return make


@pytest.fixture(scope="session")
def rigid_weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint that moves the whole photo by the similarity and repaints nothing.

    Its output is then known: the photo, moved as the keypoints say.
    """
    torch.manual_seed(0)
    model = AnimationModel(TINY)
    with torch.no_grad():
        for layer, bias in ((model.dense_motion.mixture, None), (model.generator.head, -30.0)):
            layer.weight.zero_()
            layer.bias.zero_()
            if bias is not None:
                layer.bias.fill_(bias)  # M = 0
        model.dense_motion.mixture.bias[1] = 30.0  # the similarity alone
    path = tmp_path_factory.mktemp("weights") / "rigid.safetensors"
    save_checkpoint(path, model, dtype=torch.float32)
    return path


@pytest.fixture(scope="session")
def drivers() -> dict[tuple[object, ...], bytes]:
    """Driving videos that were written before, by what is in them: encoding each once is enough."""
    return {}


@pytest.fixture
def make_driver(
    tmp_path: Path, astronaut: np.ndarray, drivers: dict[tuple[object, ...], bytes]
) -> Callable[..., Path]:
    """Writes a short driving video of the astronaut's face that drifts to the right."""

    def make(
        name: str = "driver.mp4", frames: int = 12, fps: Fraction = Fraction(25), audio: Path | None = None
    ) -> Path:
        path = tmp_path / name
        kind = (path.suffix, frames, fps, audio and audio.read_bytes())
        if kind not in drivers:
            with VideoWriter(path, fps, (320, 256), audio_from=audio) as writer:
                for i in range(frames):
                    writer.write(np.ascontiguousarray(astronaut[:256, 70 - i : 390 - i]))
            drivers[kind] = path.read_bytes()
        path.write_bytes(drivers[kind])
        return path

    return make


@pytest.fixture
def faceanim(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """The command line called as a shell would call it, in this process.

    Takes the arguments; returns exit code, stdout and stderr. What it told the loggers ends with the test.
    """
    loggers = [logging.getLogger(name) for name in (None, "faceanim_cli")]
    levels = [logger.level for logger in loggers]

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["faceanim", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        return int(exit_.value.code or 0), out, err

    yield call
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
