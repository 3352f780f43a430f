"""The parts of a training stage: network, objective, data, validation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor, nn
from torch.utils.data import Dataset

from faceanim_cli.pictures import Image
from faceanim_cli.training.adversarial import AdversarialLoss
from faceanim_cli.training.optim import BETAS

Batch: TypeAlias = dict[str, Tensor]


class Scores(Protocol):
    """How well a network does on people who are never trained on; in words as ``str``."""

    @property
    def value(self) -> float:
        """The number that weights are best by, in the stage's ``unit``; higher is better."""


@dataclass(frozen=True)
class Stage:
    """What is trained, on what, and how it is validated."""

    network: nn.Module  # trained, averaged, saved
    objective: nn.Module  # holds the network: a batch in; the loss, its terms by name and the output
    data: Callable[[int], Dataset[Batch]]  # that many pairs, the i-th the same every time
    about: str  # the data in words
    # Scores the averaged network in evaluation mode, perhaps with a picture.
    # None: there is nobody to validate on.
    validate: Callable[[nn.Module], tuple[Scores, Image | None]] | None
    unit: str  # of the number that weights are best by
    lower_is_better: bool = False  # in that unit: the scores' value is minus it
    adversarial: AdversarialLoss | None = None
    betas: tuple[float, float] = BETAS
