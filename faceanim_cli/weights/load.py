"""The network that animates, from any supported file."""

from pathlib import Path
from typing import TypeAlias

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.checkpoint import load_checkpoint
from faceanim_cli.weights.file_kind import file_kind, read_metadata
from faceanim_cli.weights.first_order import load_first_order
from faceanim_models import AnimationModel, FirstOrderModel

Model: TypeAlias = AnimationModel | FirstOrderModel


def load_weights(path: Path) -> Model:
    """The network that animates, from a file of ours or of first-order-model's; float32, evaluation mode.

    Raises:
        WeightsError: not such a file, named for what it is, or one that does not fit its network.
    """
    network = load_checkpoint(path) if file_kind(path) == "safetensors" else load_first_order(path)
    if not isinstance(network, Model):
        name = read_metadata(path)["network"]
        raise WeightsError(f"{path}: holds a {name} network where animation weights are needed")
    return network
