"""Our checkpoint format: safetensors with the network's settings in the metadata. A file rebuilds a network.

Metadata keys: ``faceanim`` (format version), ``network`` (a name of ``NETWORKS``), ``settings`` (JSON of the
settings dataclass), and free text such as ``licence`` and ``trained``.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from faceanim_cli.errors import WeightsError
from faceanim_cli.files import parse_json
from faceanim_cli.media.atomic_file import whole_file
from faceanim_cli.weights.file_kind import FORMAT, file_kind, read_metadata, safetensors_header
from faceanim_models import (
    AnimationModel,
    AnimationSettings,
    FaceSuperResolver,
    FaceSuperResolverSettings,
    FirstOrderModel,
    FirstOrderSettings,
    PatchDiscriminator,
    PatchDiscriminatorSettings,
)
from faceanim_models.liveportrait.model import LivePortraitModel, LivePortraitSettings
from faceanim_models.thin_plate_spline import ThinPlateSplineModel, ThinPlateSplineSettings

NETWORKS: Mapping[str, tuple[type[nn.Module], type[Any]]] = types.MappingProxyType(
    {
        "animation": (AnimationModel, AnimationSettings),
        "first-order": (FirstOrderModel, FirstOrderSettings),
        "discriminator": (PatchDiscriminator, PatchDiscriminatorSettings),
        "super-resolution": (FaceSuperResolver, FaceSuperResolverSettings),
        "liveportrait": (LivePortraitModel, LivePortraitSettings),
        "thin-plate-spline": (ThinPlateSplineModel, ThinPlateSplineSettings),
    }
)
NAMED_AT_MOST = 6  # keys in an error message: more says nothing more


def save_checkpoint(
    path: Path,
    network: nn.Module,
    *,
    dtype: torch.dtype = torch.float16,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a network of ``NETWORKS`` whole or not at all; floating point tensors as ``dtype``.

    Raises:
        WeightsError: not one of our networks, or weights that are not finite as ``dtype``.
    """
    name = network_name(network)
    if name is None:
        raise WeightsError(f"{path}: a {type(network).__name__} is none of {', '.join(NETWORKS)}")
    tensors = {
        key: (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu()
        for key, value in network.state_dict().items()
    }
    bad = [key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise WeightsError(f"{path}: not finite as {dtype}: {_some(bad)}; nothing was written")
    settings = dataclasses.asdict(typing.cast(Any, network).settings)
    metadata = {**(notes or {}), "faceanim": FORMAT, "network": name, "settings": json.dumps(settings)}
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata)


def network_name(network: nn.Module) -> str | None:
    """What ``NETWORKS`` calls a network; None if it is none of them."""
    return next((name for name, (kind, _) in NETWORKS.items() if isinstance(network, kind)), None)


# How much a face box weighed on each keypoint's heatmap, in checkpoints of version 0.1: next to nothing.
BOX_PRIOR = "keypoint_detector.prior_strength"
GONE = ("head_depths",)  # settings of networks before; where they ask for nothing, nothing is missing


def load_checkpoint(path: Path, expected: str | None = None) -> nn.Module:
    """The network that a checkpoint holds, in float32, in evaluation mode.

    Args:
        path: a file that :func:`save_checkpoint` wrote.
        expected: the name in ``NETWORKS`` it should be; None for any.

    Raises:
        WeightsError: missing file, not safetensors, not ours, another network than expected, settings that
            do not rebuild it, or keys missing, unexpected or misshapen, by name.
    """
    metadata = read_metadata(path)
    name = metadata["network"]
    if expected is not None and name != expected:
        raise WeightsError(f"{path}: holds a {name} network where {expected} weights are needed")
    kind, settings_type = NETWORKS[name]
    try:
        network = kind(settings_from_json(settings_type, parse_json(metadata["settings"])))
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:  # what wrong settings lead to
        raise WeightsError(f"{path}: its settings do not rebuild a {name} network: {error}") from error
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no dict)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: a damaged safetensors file ({error}); fetch it again") from error
    tensors.pop(BOX_PRIOR, None)
    load_tensors(network, tensors, path)
    return network.float().eval()


def stored_type(path: Path) -> torch.dtype:
    """What the weights in a file are kept in: half precision where all are, else float32.

    Raises:
        WeightsError: no weights file.
    """
    if file_kind(path) != "safetensors":  # another project's
        return torch.float32
    types = {entry["dtype"] for key, entry in safetensors_header(path).items() if key != "__metadata__"}
    return torch.float32 if types & {"F32", "F64", "BF16"} else torch.float16


def load_tensors(network: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Copy tensors into a network, all of them or none.

    Raises:
        WeightsError: keys missing, unexpected or misshapen, by name.
    """
    wanted = network.state_dict()
    missing = [key for key in wanted if key not in tensors]
    unexpected = [key for key in tensors if key not in wanted]
    misshapen = [
        f"{key} {tuple(tensors[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in tensors and tensors[key].shape != wanted[key].shape
    ]
    faults = [
        f"{fault} {_some(keys)}"
        for fault, keys in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
        if keys
    ]
    if faults:
        raise WeightsError(f"{path}: does not fit {type(network).__name__}: {'; '.join(faults)}")
    network.load_state_dict(tensors)


def settings_from_json(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """Rebuild a settings dataclass from its JSON: nested dataclasses, and lists back to tuples.

    Raises:
        TypeError: a field that the dataclass does not have.
    """
    hints = typing.get_type_hints(kind)
    kept = {key: value for key, value in values.items() if value or key not in GONE}
    return kind(**{key: _as_hinted(hints.get(key), value) for key, value in kept.items()})


def _as_hinted(hint: Any, value: Any) -> Any:
    """A value from JSON as the field's type has it: a dataclass, one that may be None, a tuple of them."""
    kinds = [kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)]
    if kinds and isinstance(value, dict):
        return settings_from_json(typing.cast(type[Any], kinds[0]), value)
    if isinstance(value, list):
        (item, *_) = typing.get_args(hint) or (None,)
        return tuple(_as_hinted(item, element) for element in value)
    return value


def _some(keys: list[str]) -> str:
    rest = len(keys) - NAMED_AT_MOST
    return ", ".join(keys[:NAMED_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")
