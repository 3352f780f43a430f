"""What any supported weights file holds: its header or its opcodes tell, without torch."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from faceanim_cli.errors import WeightsError
from faceanim_cli.files import file_sha256
from faceanim_cli.weights.catalogue import CATALOGUE
from faceanim_cli.weights.file_kind import file_kind, read_metadata, safetensors_header
from faceanim_cli.weights.first_order_layout import first_order_parts, first_order_sizes
from faceanim_cli.weights.records import recorded_sha256
from faceanim_cli.weights.thin_plate_spline import (
    is_thin_plate_spline,
    thin_plate_spline_parts,
    thin_plate_spline_sizes,
)
from faceanim_cli.weights.torch_file import read_torch_shapes

# Numbers in a state dict that are not learned: batch statistics, the vectors of spectral normalisation, and
# the blur of first-order-model.
BUFFERS = (".running_mean", ".running_var", ".num_batches_tracked", "._u", "._v", ".down.weight")
HASH_AT_ONCE = 200_000_000  # bytes that are hashed in a blink; above, only a hash on record is told


@dataclass(frozen=True)
class WeightsDescription:
    """What a weights file holds, read without building its network."""

    kind: str  # what the file is: "faceanim checkpoint", "first-order-model checkpoint", ...
    network: str  # a name of ``file_kind.NETWORK_NAMES``: animation, first-order, super-resolution, ...
    parameters: int  # numbers that the network learned, without buffers
    bytes: int  # the file's size
    sha256: str | None  # filled in by :func:`identify`: hashing takes longer than all the rest
    licence: str | None  # None: the file does not say
    settings: Mapping[str, object]  # what rebuilds the network, as JSON values


def describe(path: Path) -> WeightsDescription:
    """What a supported weights file is, in well under a second, without building its network.

    Raises:
        WeightsError: anything that is no supported weights file, named for what it is.
    """
    size = path.stat().st_size if path.is_file() else 0
    kind = file_kind(path)
    if kind == "safetensors":
        metadata = read_metadata(path)
        shapes = {
            key: entry["shape"] for key, entry in safetensors_header(path).items() if key != "__metadata__"
        }
        try:
            settings = dict(json.loads(metadata["settings"]))
        except (TypeError, ValueError) as error:
            raise WeightsError(f"{path}: its settings do not read ({error}); fetch it again") from error
        name = "faceanim checkpoint"
        return WeightsDescription(
            name, metadata["network"], _parameters(shapes), size, None, metadata.get("licence"), settings
        )
    content = read_torch_shapes(path)
    if is_thin_plate_spline(content):
        name, network = "Thin-Plate-Spline Motion Model checkpoint", "thin-plate-spline"
        tensors = thin_plate_spline_parts(content, path)
        settings = thin_plate_spline_sizes(tensors, path)
    else:
        name, network = "first-order-model checkpoint", "first-order"
        tensors = first_order_parts(content, path)
        settings = first_order_sizes(tensors, path)
    name += ", before torch 1.6" if kind == "torch legacy" else ""
    shapes = {key: list(value.shape) for key, value in tensors.items()}
    return WeightsDescription(name, network, _parameters(shapes), size, None, None, settings)


def identify(path: Path) -> WeightsDescription:
    """What :func:`describe` says, with the SHA-256, if it is quickly had, and the licence, as far as known.

    Raises:
        WeightsError: as :func:`describe`.
    """
    known = describe(path)
    digest = recorded_sha256(path)
    if digest is None and known.bytes <= HASH_AT_ONCE:
        digest = file_sha256(path)
    entry = next((e for e in CATALOGUE.values() if digest is not None and e.sha256 == digest), None)
    return replace(known, sha256=digest, licence=known.licence or (None if entry is None else entry.licence))


def _parameters(shapes: Mapping[str, list[int]]) -> int:
    return sum(math.prod(shape) for key, shape in shapes.items() if not key.endswith(BUFFERS))
