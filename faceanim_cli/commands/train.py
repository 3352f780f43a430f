"""``faceanim train``: retrain the networks on your own clips."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from faceanim_cli.commands.training_view import training_view
from faceanim_cli.commands.weights import AcceptLicense, Offline, confirm_on_terminal
from faceanim_cli.console import Debug, Json, Quiet, item_progress


class Stage(str, Enum):
    """The networks that are trained together."""

    MOTION = "motion"
    SR = "sr"


class Preset(str, Enum):
    """Settings that belong together."""

    SHIPPED = "shipped"
    PAPER = "paper"


class OptimizerChoice(str, Enum):
    """How the weights follow the gradient."""

    ADAM = "adam"
    SWATS = "swats"


class KeypointsChoice(str, Enum):
    """What keypoints are trained to be."""

    DENSE = "dense"
    PAPER = "paper"
    FREE = "free"


class DecayOver(str, Enum):
    """Towards which end the learning rate falls."""

    STEPS = "steps"
    MINUTES = "minutes"


class PrecisionChoice(str, Enum):
    """What convolutions are computed in."""

    FULL = "32"
    BF16 = "bf16"
    FP16 = "16"


WHAT, HOW, WHERE = "What is trained", "How it is trained", "On what machines"


def train(
    data: Annotated[
        Path,
        typer.Option(
            help="A folder by faceanim prepare, or one of videos: prepared first, into DATA-prepared.",
            show_default=False,
        ),
    ],
    stage: Annotated[
        Stage, typer.Option(help="What to train: the animation networks, or super-resolution on photos.")
    ] = Stage.MOTION,
    out: Annotated[
        Path | None, typer.Option(help="Where checkpoints, samples and curves go (default: runs/STAGE).")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Fine-tune these weights, first-order-model's too, if only on one person's clips: a name, "
            "a file, or user/repo.",
        ),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Decoded clips (default: OUT/cache).")] = None,
    max_steps: Annotated[int, typer.Option(min=1, help="Stop after this many steps.")] = 100_000,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after this time; the same command goes on from there.")
    ] = None,
    validate_minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Save and score this often (default: 10; sr: 5).", show_default=False),
    ] = None,
    keep: Annotated[int, typer.Option(min=0, help="Numbered checkpoints kept beside best and last.")] = 3,
    preset: Annotated[
        Preset, typer.Option(help="Where settings start from.", rich_help_panel=WHAT)
    ] = Preset.SHIPPED,
    size: Annotated[
        int | None,
        typer.Option(help="Pixels a side, a multiple of 32 (default: 256; sr: 64).", rich_help_panel=WHAT),
    ] = None,
    keypoints: Annotated[
        KeypointsChoice | None,
        typer.Option(
            help="Anchored to 29 places of the face, to the paper's ten, or found freely.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    similarity: Annotated[
        bool, typer.Option(help="One of the motions to choose from is the head's.", rich_help_panel=WHAT)
    ] = True,
    box_prior: Annotated[
        bool, typer.Option(help="Tell the detector where Viola-Jones sees the face.", rich_help_panel=WHAT)
    ] = True,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WEIGHT",
            help="A loss's weight, as adversarial=0.1; may be given more than once; a wrong name lists all.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    perceptual: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK",
            help="Sees for Eq. 3: squeezenet, vgg19, none, or a safetensors file of either's features "
            "(default: squeezenet; first-order-model: vgg19).",
            rich_help_panel=WHAT,
        ),
    ] = None,
    optimizer: Annotated[
        OptimizerChoice | None,
        typer.Option(
            help="Adam, or SWATS: Adam that turns into SGD when its time has come.", rich_help_panel=HOW
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=0, help="After the warm-up (default: 2e-4; sr: 1e-3).", rich_help_panel=HOW),
    ] = None,
    decay_over: Annotated[
        DecayOver,
        typer.Option(
            help="The learning rate falls towards --max-steps, or --max-minutes.", rich_help_panel=HOW
        ),
    ] = DecayOver.STEPS,
    batch: Annotated[
        int, typer.Option(min=1, help="Pairs that a process sees at once.", rich_help_panel=HOW)
    ] = 8,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Batches whose gradients make a step.", rich_help_panel=HOW)
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and pairs.", rich_help_panel=HOW)] = 0,
    precision: Annotated[
        PrecisionChoice, typer.Option(help="What convolutions are computed in.", rich_help_panel=WHERE)
    ] = PrecisionChoice.BF16,
    devices: Annotated[
        str, typer.Option(help="How many, or which (0,2), on each node.", rich_help_panel=WHERE)
    ] = "auto",
    nodes: Annotated[
        int, typer.Option(min=1, help="Machines; under torchrun leave it away.", rich_help_panel=WHERE)
    ] = 1,
    workers: Annotated[
        int, typer.Option(min=0, help="Loader processes of each process.", rich_help_panel=WHERE)
    ] = 1,
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train keypoint detector, dense motion and generator on clips of people, or super-resolution on photos.

    Stopped by Ctrl-C, a signal or --max-minutes, the same command goes on exactly where it was. torchrun may
    start it too, on one machine or many: torchrun --nproc-per-node 8 -m faceanim_cli train --data DATA.
    """
    from faceanim_cli.data.unprepared import prepared_folder  # noqa: PLC0415 (imports torch)
    from faceanim_cli.training.first_order import train_first_order  # noqa: PLC0415
    from faceanim_cli.training.motion import train_motion  # noqa: PLC0415
    from faceanim_cli.training.presets import (  # noqa: PLC0415
        first_order_settings,
        motion_settings,
        super_resolution_settings,
    )
    from faceanim_cli.training.progress import Listener  # noqa: PLC0415
    from faceanim_cli.training.super_resolution import train_super_resolution  # noqa: PLC0415
    from faceanim_cli.weights.inspect import describe  # noqa: PLC0415
    from faceanim_cli.weights.resolve import resolve_weights  # noqa: PLC0415

    def say(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    start = init and resolve_weights(
        init, offline=offline, accept_license=accept_license, confirm=confirm_on_terminal()
    )
    if stage is Stage.MOTION:  # super-resolution learns from photos
        with item_progress("videos", quiet) as progress:
            data = prepared_folder(data, report=say, progress=progress)
    common: dict[str, Any] = {  # what is None is left to the preset
        "data": data,
        "out": out or Path("runs") / stage.value,
        "init": start,
        "max_steps": max_steps,
        "max_minutes": max_minutes,
        "validate_minutes": validate_minutes,
        "keep": keep,
        "size": size,
        "perceptual": perceptual,
        "optimizer": optimizer and optimizer.value,
        "learning_rate": learning_rate,
        "decay_over": decay_over.value,
        "batch": batch,
        "accumulate": accumulate,
        "seed": seed,
        "precision": precision.value,
        "devices": devices,
        "nodes": nodes,
        "workers": workers,
    }
    with training_view(quiet) as (report, view):
        listener = Listener(report, view)
        if stage is Stage.SR:
            result = train_super_resolution(super_resolution_settings(preset.value, **common), listener)
        else:
            common |= {
                "losses": loss or (),
                "cache": cache,
                "keypoints": keypoints and keypoints.value,
                "similarity": similarity,
                "box_prior": box_prior,
            }
            if start and describe(start).network == "first-order":
                result = train_first_order(first_order_settings(preset.value, **common), listener)
            else:
                result = train_motion(motion_settings(preset.value, **common), listener)
    if result is not None:  # in the first of all processes
        typer.echo(json.dumps({"weights": str(result.weights)}) if as_json else result.weights)
