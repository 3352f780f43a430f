"""Files that ``torch.save`` wrote, read as tensors and plain containers; nothing in them is ever run."""

from pathlib import Path
from typing import Any

import torch

from faceanim_cli.weights.torch_shapes import torch_kind, what_is_wrong


def read_torch_file(path: Path) -> Any:
    """The file's content, in memory; of a zip only those tensors that are used.

    Raises:
        WeightsError: not a torch file, truncated, or one that asks for anything but tensors.
    """
    kind = torch_kind(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "torch zip")
    except Exception as error:  # torch raises whatever its readers stumble over
        raise what_is_wrong(path, error) from error
