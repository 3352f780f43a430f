"""What a checkpoint of ours says about itself, read off its header: no torch, no tensors."""

from pathlib import Path

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.file_kind import safetensors_header

FORMAT = "1"
NETWORK_NAMES = ("animation", "first-order", "discriminator", "super-resolution")


def read_metadata(path: Path) -> dict[str, str]:
    """A checkpoint's metadata: ``faceanim``, ``network``, ``settings`` and free notes.

    Raises:
        WeightsError: missing, not safetensors, or not one of ours.
    """
    metadata = safetensors_header(path).get("__metadata__")
    if (
        not isinstance(metadata, dict)
        or metadata.get("faceanim") != FORMAT
        or metadata.get("network") not in NETWORK_NAMES
        or "settings" not in metadata
    ):
        raise WeightsError(f"{path}: a safetensors file, but not one that faceanim wrote")
    return {str(key): str(value) for key, value in metadata.items()}
