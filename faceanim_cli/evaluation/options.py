"""What to score and how, and which options do not go together."""

from dataclasses import dataclass
from pathlib import Path

from faceanim_cli.errors import UsageError
from faceanim_cli.evaluation.frames import Framing
from faceanim_cli.evaluation.metrics import Protocol
from faceanim_cli.evaluation.subjects import BASELINES

DEFAULT_SIZE = 256  # pixels: VoxCeleb's protocols


@dataclass(frozen=True)
class EvaluationOptions:
    """What to score and how; see ``faceanim eval --help`` for each."""

    metrics: str | None = None
    protocol: Protocol = "reconstruction"
    data: Path | None = None
    split: str = "val"
    weights: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    predicted: Path | None = None
    truth: Path | None = None
    pairs: Path | None = None
    num_pairs: int = 50
    every: int = 1
    count_source: bool = False
    size: int | None = None
    crop: Framing = "auto"
    limit: int | None = None
    seed: int = 0
    landmark_model: str | None = None
    identity_model: Path | None = None
    output: Path | None = None
    overwrite: bool = False
    device: str = "auto"
    precision: str = "auto"
    offline: bool = False
    accept_license: bool = False


def check_options(options: EvaluationOptions) -> None:
    """Options that do not go together.

    Raises:
        UsageError: naming them.
    """
    files_given = options.predicted is not None or options.truth is not None
    if options.protocol == "files":
        if options.predicted is None or options.truth is None:
            raise UsageError("--protocol files needs --predicted DIR and --truth DIR")
        lost = {"--data": options.data, "--weights": options.weights, "--baseline": options.baselines}
        if any(lost.values()):
            named = ", ".join(name for name, value in lost.items() if value)
            raise UsageError(
                f"--protocol files scores --predicted against --truth and has no use for {named}"
            )
        if options.every != 1:
            raise UsageError("--protocol files compares all frames; leave --every out")
    elif files_given:
        raise UsageError("--predicted and --truth belong to --protocol files")
    if options.pairs is not None and options.protocol != "cross":
        raise UsageError("--pairs belongs to --protocol cross")
    unknown = [name for name in options.baselines if name not in BASELINES]
    if unknown:
        raise UsageError(f"--baseline: unknown {', '.join(unknown)}; known are {', '.join(BASELINES)}")
