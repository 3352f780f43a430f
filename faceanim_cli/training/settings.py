"""What both training stages let one choose."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from faceanim_cli.errors import UsageError

OptimizerName: TypeAlias = Literal["adam", "swats"]
Precision: TypeAlias = Literal["32", "bf16", "16"]


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run; written beside its results."""

    data: Path  # a folder with manifest.csv, see faceanim_cli.data.clips and .portraits
    out: Path  # checkpoints, settings and curves go here
    init: Path | None = None  # start from these weights
    perceptual: str = "squeezenet"  # or vgg19, none, a safetensors file; see training.perceptual
    batch: int = 8  # pairs that a process sees at once
    accumulate: int = 1  # batches whose gradients make one step
    optimizer: OptimizerName = "adam"
    learning_rate: float = 2e-4
    warm_up: int = 200  # steps; fewer where they are more than a twentieth of the run
    clip_gradients: float = 5.0  # norm
    ema: float = 0.999
    max_steps: int = 100_000
    max_minutes: float | None = None
    decay_over: Literal["steps", "minutes"] = "steps"  # which end the learning rate falls towards
    validate_minutes: float = 10.0  # checkpoints are written as often
    keep: int = 3  # numbered checkpoints besides best and last
    seed: int = 0
    workers: int = 1  # loader processes of each process; 0: load in the training process itself
    precision: Precision = "bf16"  # what convolutions are computed in: torch.autocast's type
    devices: str = "auto"  # how many on each node, or which ("0,2"); torchrun decides for itself
    nodes: int = 1
    notes: str = ""  # kept in the checkpoints, about the data and its licence

    def __post_init__(self) -> None:
        if self.decay_over == "minutes" and not self.max_minutes:
            raise UsageError("--decay-over minutes needs --max-minutes")

    def as_json(self) -> dict[str, Any]:
        """All settings in JSON's own types."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
