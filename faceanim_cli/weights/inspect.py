"""What a file is, told by its content: our checkpoints, first-order-model's, and what is often taken for one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn


@dataclass(frozen=True)
class WeightsDescription:
    """What a weights file holds, read without building its network."""

    kind: str  # what the file is: "faceanim checkpoint", "first-order-model checkpoint", ...
    network: str  # a name of ``checkpoint.NETWORKS``: animation, first-order, super-resolution, ...
    parameters: int  # numbers that the network learned, without buffers
    bytes: int  # the file's size
    sha256: str | None  # filled in by those who hash it: hashing 751 MB takes longer than all the rest
    licence: str | None  # None: the file does not say
    settings: Mapping[str, object]  # what rebuilds the network, as JSON values


def describe(path: Path) -> WeightsDescription:
    """What a supported weights file is, in well under a second, without building its network.

    Raises:
        WeightsError: anything that is no supported weights file, named for what it is.
    """
    raise NotImplementedError


def load_weights(path: Path, expected: str | None = None) -> nn.Module:
    """The network that a file of weights holds: ours, or a first-order-model checkpoint."""
    raise NotImplementedError
