"""Describes any supported weights file by its header or opcodes, without torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faceanim_cli.errors import WeightsError
from faceanim_cli.files import file_sha256, parse_json
from faceanim_cli.weights.catalogue import CATALOGUE
from faceanim_cli.weights.file_kind import file_kind, read_metadata
from faceanim_cli.weights.first_order_layout import first_order_parts, first_order_sizes
from faceanim_cli.weights.liveportrait_layout import (
    PUBLISHED_NAMES,
    complete_files,
    liveportrait_part,
    liveportrait_sizes,
    liveportrait_tensors,
    read_shapes,
)
from faceanim_cli.weights.records import recorded_sha256
from faceanim_cli.weights.thin_plate_spline import (
    is_thin_plate_spline,
    thin_plate_spline_parts,
    thin_plate_spline_sizes,
)

# Numbers in a state dict that are not learned: batch statistics, the vectors of spectral normalisation, and
# the blur of first-order-model.
BUFFERS = (
    ".running_mean", ".running_var", ".num_batches_tracked", "._u", "._v", "weight_u", "weight_v",
    ".down.weight",
)  # fmt: skip
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
    if path.is_dir():
        return _describe_folder(path)
    size = path.stat().st_size if path.is_file() else 0
    kind = file_kind(path)
    content = read_shapes(path)
    if (part := liveportrait_part(content)) is not None:
        name = f"LivePortrait's {PUBLISHED_NAMES[part]}, one of five files"
        parameters = _parameters(liveportrait_tensors(part, content, path))
        return WeightsDescription(name, "liveportrait", parameters, size, None, None, {})
    if kind == "safetensors":
        metadata = read_metadata(path)
        try:
            settings = dict(parse_json(metadata["settings"]))
        except (TypeError, ValueError) as error:
            raise WeightsError(f"{path}: its settings do not read ({error}); fetch it again") from error
        name = "faceanim checkpoint"
        return WeightsDescription(
            name, metadata["network"], _parameters(content), size, None, metadata.get("licence"), settings
        )
    if is_thin_plate_spline(content):
        name, network = "Thin-Plate-Spline Motion Model checkpoint", "thin-plate-spline"
        tensors = thin_plate_spline_parts(content, path)
        settings = thin_plate_spline_sizes(tensors, path)
    else:
        name, network = "first-order-model checkpoint", "first-order"
        tensors = first_order_parts(content, path)
        settings = first_order_sizes(tensors, path)
    name += ", before torch 1.6" if kind == "torch legacy" else ""
    return WeightsDescription(name, network, _parameters(tensors), size, None, None, settings)


def _describe_folder(folder: Path) -> WeightsDescription:
    files = complete_files(folder)
    tensors: dict[str, Any] = {}
    for part, path in files.items():
        tensors |= liveportrait_tensors(part, read_shapes(path), path)
    settings = liveportrait_sizes(tensors, folder)
    size = sum(path.stat().st_size for path in files.values())
    name = "LivePortrait's five files"
    return WeightsDescription(name, "liveportrait", _parameters(tensors), size, None, None, settings)


def identify(path: Path) -> WeightsDescription:
    """What :func:`describe` says, with the SHA-256, if it is quickly had, and the licence, as far as known.

    Raises:
        WeightsError: as :func:`describe`.
    """
    known = describe(path)
    digest = recorded_sha256(path)
    if digest is None and known.bytes <= HASH_AT_ONCE and path.is_file():
        digest = file_sha256(path)
    entry = next((e for e in CATALOGUE.values() if digest is not None and e.sha256 == digest), None)
    return replace(known, sha256=digest, licence=known.licence or (None if entry is None else entry.licence))


def _parameters(tensors: Mapping[str, Any]) -> int:
    return sum(math.prod(tensor.shape) for key, tensor in tensors.items() if not key.endswith(BUFFERS))
