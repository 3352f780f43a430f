"""Imports LivePortrait's five published files, and converts them to one of ours."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.checkpoint import load_tensors, save_checkpoint
from faceanim_cli.weights.file_kind import file_kind
from faceanim_cli.weights.liveportrait_layout import (
    PUBLISHED_NAMES,
    SPECTRAL,
    check_complete,
    complete_files,
    liveportrait_part,
    liveportrait_sizes,
    liveportrait_tensors,
)
from faceanim_cli.weights.records import converted_path
from faceanim_cli.weights.torch_file import read_torch_file
from faceanim_models.liveportrait.model import LivePortraitModel, LivePortraitSettings


def import_liveportrait(files: Iterable[Path]) -> LivePortraitModel:
    """The networks of LivePortrait's five files, in float32, in evaluation mode.

    Args:
        files: the five, in any order and by any name, as published or as the safetensors mirror has them.

    Raises:
        WeightsError: one is missing, twice there or something else; or they do not belong together.
    """
    files = list(files)
    tensors: dict[str, torch.Tensor] = {}
    seen: dict[str, Path] = {}
    for path in files:
        content: Any = load_file(path) if file_kind(path) == "safetensors" else read_torch_file(path)
        part = liveportrait_part(content)
        if part is None:
            raise WeightsError(
                f"{path}: none of LivePortrait's five files ({', '.join(PUBLISHED_NAMES.values())})"
            )
        if part in seen:
            raise WeightsError(f"{path}: LivePortrait's {PUBLISHED_NAMES[part]}, as {seen[part]} is")
        seen[part] = path
        tensors |= liveportrait_tensors(part, content, path)
    folder = Path(os.path.commonpath([path.parent for path in files])) if files else Path()
    check_complete(seen, folder)
    settings = LivePortraitSettings(**liveportrait_sizes(tensors, folder))
    # Built without memory, then given the files' own tensors: the weights are in memory once.
    with torch.device("meta"):
        network = LivePortraitModel(settings)
    network.to_empty(device="cpu")
    load_tensors(network, with_folded_spectral_norms(tensors), folder)
    return network.float().eval()


def converted_folder(folder: Path) -> Path:
    """The slim file of the five in a folder, made on first use and from then on only found.

    Raises:
        WeightsError: as :func:`import_liveportrait`. UsageError: it cannot be written.
    """
    files = list(complete_files(folder).values())
    copy = converted_path(*files)
    if not copy.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        convert_liveportrait(files, copy)
    return copy


def with_folded_spectral_norms(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``weight_orig / (u . (M v))`` in the place of weight_orig, weight_u and weight_v.

    M is weight_orig as a matrix, one row for each output; u and v are taken as stored, as the original does
    in evaluation: they are not exactly the singular vectors.
    """
    folded = {key: value for key, value in tensors.items() if not key.endswith(SPECTRAL)}
    for key, weight in tensors.items():
        name = key.removesuffix(".weight_orig")
        if name != key:
            u, v = tensors[f"{name}.weight_u"].float(), tensors[f"{name}.weight_v"].float()
            folded[f"{name}.weight"] = weight.float() / torch.dot(u, weight.float().flatten(1) @ v)
    return folded


def convert_liveportrait(files: Iterable[Path], out: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write the five files' networks as one of ours: a third of the size less, safe, quick to open.

    Raises:
        WeightsError: as :func:`import_liveportrait`.
    """
    network = import_liveportrait(files)
    save_checkpoint(
        out, network, dtype=torch.float32, notes={"converted": "LivePortrait's weights", **(notes or {})}
    )
