"""A photo, and the networks that animate it, as whole jobs need them."""

from pathlib import Path

import numpy as np
import pytest

from faceanim_cli import Animator
from faceanim_cli.media import write_photo


@pytest.fixture
def photo(tmp_path: Path, astronaut: np.ndarray) -> Path:
    path = tmp_path / "photo.png"
    write_photo(path, astronaut)
    return path


@pytest.fixture
def animator(rigid_weights_file: Path) -> Animator:
    return Animator(rigid_weights_file, device="cpu", precision="fp32", sr=False)
