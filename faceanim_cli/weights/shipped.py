"""The weights that ship inside the package: nothing to download."""

from importlib.util import find_spec
from pathlib import Path

ANIMATION = "animation.safetensors"
SUPER_RESOLUTION = "super_resolution.safetensors"


def shipped_weights(name: str) -> Path:
    """Path of a shipped weights file, ``ANIMATION`` or ``SUPER_RESOLUTION``."""
    spec = find_spec("faceanim_models")  # finds the package without importing it, and torch with it
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "weights" / name
