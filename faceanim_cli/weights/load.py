"""The network that animates, from any supported file."""

from pathlib import Path
from typing import TypeAlias

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.checkpoint import load_checkpoint
from faceanim_cli.weights.file_kind import file_kind, read_metadata
from faceanim_cli.weights.published import load_published
from faceanim_models import AnimationModel, FirstOrderModel
from faceanim_models.thin_plate_spline import ThinPlateSplineModel

Model: TypeAlias = AnimationModel | FirstOrderModel | ThinPlateSplineModel


def load_weights(path: Path) -> Model:
    """The network that animates, from a file of ours or one that another project published; float32.

    Raises:
        WeightsError: not such a file, named for what it is, or one that does not fit its network.
    """
    network = load_checkpoint(path) if file_kind(path) == "safetensors" else load_published(path)
    if not isinstance(network, Model):
        name = read_metadata(path)["network"]
        raise WeightsError(f"{path}: holds a {name} network where animation weights are needed")
    return network
