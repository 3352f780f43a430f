"""A photo, and the networks that animate it, as whole jobs need them."""

from pathlib import Path

import pytest

from faceanim_cli import Animator


@pytest.fixture
def animator(rigid_weights_file: Path) -> Animator:
    return Animator(rigid_weights_file, device="cpu", precision="fp32", sr=False)
