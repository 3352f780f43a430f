"""The weights that ship inside the package: nothing to download."""

from importlib.resources import files
from pathlib import Path

ANIMATION = "animation.safetensors"
SUPER_RESOLUTION = "super_resolution.safetensors"


def shipped_weights(name: str) -> Path:
    """Path of a shipped weights file, ``ANIMATION`` or ``SUPER_RESOLUTION``."""
    return Path(str(files("faceanim_models") / "weights" / name))
