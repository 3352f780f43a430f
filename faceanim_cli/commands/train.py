"""``faceanim train``: retrain the networks on your own clips."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from faceanim_cli.commands.weights import AcceptLicense, Offline, confirm_on_terminal
from faceanim_cli.console import Debug


class OptimizerChoice(str, Enum):
    """How the weights follow the gradient."""

    ADAM = "adam"
    SWATS = "swats"


class Stage(str, Enum):
    """The networks that are trained together."""

    MOTION = "motion"
    SR = "sr"


def train(
    data: Annotated[
        Path, typer.Option(help="A folder with manifest.csv, clips and landmarks.", show_default=False)
    ],
    stage: Annotated[
        Stage, typer.Option(help="What to train: the animation networks, or super-resolution on photos.")
    ] = Stage.MOTION,
    out: Annotated[Path | None, typer.Option(help="Where checkpoints go (default: runs/STAGE).")] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS", help="Start from these weights: a name, a file, or user/repo on the Hub."
        ),
    ] = None,
    perceptual: Annotated[
        Path | None,
        typer.Option(help="SqueezeNet 1.1 features (safetensors) (default: torchvision fetches them)."),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Decoded clips (default: OUT/cache).")] = None,
    size: Annotated[
        int | None, typer.Option(help="Pixels a side, a multiple of 32 (default: 256; sr: 64).")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pairs a process and step.")] = 8,
    learning_rate: Annotated[
        float | None, typer.Option(help="Adam's, after the warm-up (default: 2e-4; sr: 1e-3).")
    ] = None,
    optimizer: Annotated[
        OptimizerChoice, typer.Option(help="Adam, or SWATS: Adam that turns into SGD when its time has come.")
    ] = OptimizerChoice.ADAM,
    adversarial: Annotated[
        float, typer.Option(min=0, help="Weight of the discriminator's say, Eq. 5; 0: there is none.")
    ] = 0.0,
    max_steps: Annotated[int, typer.Option(min=1, help="Stop after this many steps.")] = 100_000,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop after this time; the learning rate is laid out for it.")
    ] = None,
    validate_minutes: Annotated[float, typer.Option(help="Score the validation people this often.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Of weights and pairs.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Loader processes of each training process.")] = 1,
    bf16: Annotated[bool, typer.Option(help="Convolve in bfloat16.")] = True,
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    debug: Debug = False,
) -> None:
    """Train keypoint detector, dense motion and generator on clips of people, or super-resolution on photos.

    Going on with the same --out continues the run. On several cores, GPUs or machines start it with torchrun:
    torchrun --nproc-per-node 2 -m faceanim_cli train --data DATA.
    """
    from faceanim_cli.training.motion import TrainingSettings, train_motion  # noqa: PLC0415 (imports torch)
    from faceanim_cli.training.motion_losses import LossWeights  # noqa: PLC0415
    from faceanim_cli.training.super_resolution import (  # noqa: PLC0415
        SuperResolutionSettings,
        train_super_resolution,
    )
    from faceanim_cli.weights.resolve import resolve_weights  # noqa: PLC0415

    def show(line: str) -> None:
        typer.echo(line, err=True)

    def found(spec: str) -> Path:
        return resolve_weights(
            spec, offline=offline, accept_license=accept_license, confirm=confirm_on_terminal()
        )

    out = out or Path("runs") / stage.value
    start = None if init is None else found(init)
    common: dict[str, Any] = {
        "data": data,
        "out": out,
        "init": start,
        "perceptual": perceptual,
        "batch": batch,
        "max_steps": max_steps,
        "max_minutes": max_minutes,
        "validate_minutes": validate_minutes,
        "seed": seed,
        "workers": workers,
        "bf16": bf16,
        # What is not given is left to the stage's own default.
        **{k: v for k, v in {"size": size, "learning_rate": learning_rate}.items() if v is not None},
    }
    if stage is Stage.SR:
        train_super_resolution(SuperResolutionSettings(**common), report=show)
    else:
        losses = LossWeights(adversarial=adversarial)
        settings = TrainingSettings(cache=cache, losses=losses, optimizer=optimizer.value, **common)
        train_motion(settings, report=show)
    best = out / "best.safetensors"  # written where there are validation people to be best on
    typer.echo(best if best.is_file() else out / "last.safetensors")
