"""Checkpoints of first-order-model (``vox-cpk.pth.tar``, ``vox-adv-cpk.pth.tar`` and the like).

Recognised by their keys, all sizes read off the tensors: no YAML is asked for. Read with ``weights_only``,
which builds tensors and nothing else; the optimizers and the discriminator are two thirds of a published
file, and are left.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch

from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.media.output_checks import check_writable
from faceanim_cli.weights.checkpoint import load_checkpoint, load_tensors, save_checkpoint
from faceanim_cli.weights.first_order_layout import first_order_parts, first_order_sizes
from faceanim_cli.weights.records import converted_path
from faceanim_cli.weights.torch_file import read_torch_file
from faceanim_models import FirstOrderModel, FirstOrderSettings


def load_first_order(path: Path) -> FirstOrderModel:
    """The network of a checkpoint, through a converted copy that is made on first use.

    The copy is 240 MB to read instead of 750, and takes a third of the memory. Where its folder cannot be
    written the checkpoint itself is read every time.

    Raises:
        WeightsError: as :func:`import_first_order`.
    """
    copy = converted_path(path)
    if not copy.is_file():
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            check_writable(copy)
        except (OSError, UsageError):
            return import_first_order(path)
        convert_first_order(path, copy)
    return cast(FirstOrderModel, load_checkpoint(copy, "first-order"))


def import_first_order(path: Path) -> FirstOrderModel:
    """The network of a first-order-model checkpoint, in float32, in evaluation mode.

    Raises:
        WeightsError: not such a checkpoint, named for what it is; or keys missing, unexpected or misshapen.
    """
    tensors = first_order_parts(read_torch_file(path), path)
    for key in [key for key in tensors if key.endswith("running_mean")]:
        # Not saved before torch 0.4.1, and never used: our networks are not trained on from it.
        tensors.setdefault(key.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    # Built without memory, then given the file's own tensors: the weights are in memory once.
    settings = FirstOrderSettings(**first_order_sizes(tensors, path))
    with torch.device("meta"):
        try:
            network = FirstOrderModel(settings)
        except ValueError as error:
            raise WeightsError(
                f"{path}: not a first-order-model checkpoint that faceanim knows: {error}"
            ) from error
    network.to_empty(device="cpu")
    load_tensors(network, tensors, path)
    return network.float().eval()


def convert_first_order(path: Path, out: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write the generator and keypoint detector of a checkpoint as ours: slim, safe, quick to open.

    Kept in float32: in half precision the results would differ from the original's by more than rounding.

    Raises:
        WeightsError: as :func:`import_first_order`.
    """
    notes = {"converted": f"first-order-model checkpoint {path.name}", **(notes or {})}
    save_checkpoint(out, import_first_order(path), dtype=torch.float32, notes=notes)
