"""Loads animation networks from any supported file: ours, or a published checkpoint.

First-order-model's and Thin-Plate-Spline Motion Model's are recognised by their keys, all sizes read off the
tensors: no YAML is asked for. Read with ``weights_only``, which builds tensors and nothing else. Optimizers,
discriminators and what else an animation can do without are left: of first-order-model's files two thirds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import nn

from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.media.output_checks import check_writable
from faceanim_cli.weights.checkpoint import load_checkpoint, load_tensors, save_checkpoint
from faceanim_cli.weights.file_kind import file_kind, read_metadata, safetensors_header
from faceanim_cli.weights.first_order_layout import first_order_parts, first_order_sizes
from faceanim_cli.weights.liveportrait_layout import incomplete_files_error, liveportrait_part
from faceanim_cli.weights.records import converted_path
from faceanim_cli.weights.thin_plate_spline import (
    is_thin_plate_spline,
    thin_plate_spline_parts,
    thin_plate_spline_sizes,
)
from faceanim_cli.weights.torch_file import read_torch_file
from faceanim_models import AnimationModel, FirstOrderModel, FirstOrderSettings, LivePortraitModel
from faceanim_models.thin_plate_spline import ThinPlateSplineModel, ThinPlateSplineSettings

PublishedModel: TypeAlias = FirstOrderModel | ThinPlateSplineModel
KeypointModel: TypeAlias = AnimationModel | PublishedModel
Model: TypeAlias = KeypointModel | LivePortraitModel


def load_weights(path: Path) -> Model:
    """The network that animates, from a file of ours or one that another project published; float32.

    Raises:
        WeightsError: not such a file, named for what it is, or one that does not fit its network.
    """
    if file_kind(path) != "safetensors":
        network: nn.Module = load_published(path)
    elif (part := liveportrait_part(safetensors_header(path))) is not None:
        raise incomplete_files_error(part, path)
    else:
        network = load_checkpoint(path)
    if not isinstance(network, Model):
        name = read_metadata(path)["network"]
        raise WeightsError(f"{path}: holds a {name} network where animation weights are needed")
    return network


def load_published(path: Path) -> PublishedModel:
    """The network of a checkpoint, through a converted copy that is made on first use.

    The copy of a first-order-model checkpoint is 240 MB to read instead of 750, and takes a third of the
    memory. Where its folder cannot be written the checkpoint itself is read every time.

    Raises:
        WeightsError: as :func:`import_published`.
    """
    copy = converted_path(path)
    if not copy.is_file():
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            check_writable(copy)
        except (OSError, UsageError):
            return import_published(path)
        convert_published(path, copy)
    return cast(PublishedModel, load_checkpoint(copy))


def import_published(path: Path) -> PublishedModel:
    """The network of a checkpoint, in float32, in evaluation mode.

    Raises:
        WeightsError: not such a checkpoint, named for what it is; or keys missing, unexpected or misshapen.
    """
    content = read_torch_file(path)
    if (part := liveportrait_part(content)) is not None:
        raise incomplete_files_error(part, path)
    kind: type[Any]
    settings: Any
    if is_thin_plate_spline(content):
        tensors = thin_plate_spline_parts(content, path)
        kind, settings = (
            ThinPlateSplineModel,
            ThinPlateSplineSettings(**thin_plate_spline_sizes(tensors, path)),
        )
    else:
        tensors = first_order_parts(content, path)
        kind, settings = FirstOrderModel, FirstOrderSettings(**first_order_sizes(tensors, path))
    for key in [key for key in tensors if key.endswith("running_mean")]:
        # Not saved before torch 0.4.1, and never used: our networks are not trained on from it.
        tensors.setdefault(key.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    # Built without memory, then given the file's own tensors: the weights are in memory once.
    with torch.device("meta"):
        try:
            network = kind(settings)
        except ValueError as error:
            raise WeightsError(f"{path}: not a checkpoint of a shape that faceanim knows: {error}") from error
    network.to_empty(device="cpu")
    load_tensors(network, tensors, path)
    return network.float().eval()


def convert_published(path: Path, out: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write the networks of a checkpoint that animate as one of ours: slim, safe, quick to open.

    Kept in float32: in half precision the results would differ from the original's by more than rounding.

    Raises:
        WeightsError: as :func:`import_published`.
    """
    network = import_published(path)
    project = (
        "first-order-model" if isinstance(network, FirstOrderModel) else "Thin-Plate-Spline Motion Model"
    )
    notes = {"converted": f"{project} checkpoint {path.name}", **(notes or {})}
    save_checkpoint(out, network, dtype=torch.float32, notes=notes)
