"""Clips and weights that scoring is tried on: tiny, and with known answers."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.media import VideoWriter, write_photo


@pytest.fixture
def frame_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes frames as PNG files 0000.png, 0001.png, ..."""

    def make(name: str, frames: np.ndarray, skip: tuple[int, ...] = ()) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for i, frame in enumerate(frames):
            if i not in skip:
                write_photo(folder / f"{i:04d}.png", frame)
        return folder

    return make


@pytest.fixture
def video(tmp_path: Path) -> Callable[..., Path]:
    """Writes frames as an MP4 file."""

    def make(name: str, frames: np.ndarray) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, Fraction(25), (frames.shape[2], frames.shape[1]), crf=0) as writer:
            for frame in frames:
                writer.write(frame)
        return path

    return make


@pytest.fixture(scope="session")
def gliding(astronaut: np.ndarray) -> np.ndarray:
    """The astronaut's face sliding to the right, 8 frames of 64 x 64."""
    return np.stack([astronaut[40:168:2, 150 - 2 * i : 278 - 2 * i : 2] for i in range(8)])
