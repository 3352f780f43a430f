"""``faceanim train``: retrain the networks on your own clips."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from faceanim_cli.commands.completion import weights_names
from faceanim_cli.commands.help import BASICS, MACHINES, MORE
from faceanim_cli.commands.options import (
    AcceptLicense,
    Json,
    Offline,
    Quiet,
    choice,
    confirm_on_terminal,
    option,
)
from faceanim_cli.commands.training_view import training_view
from faceanim_cli.console import item_progress

WHAT, HOW = "What is trained", "How it is trained"
OLD_PRECISIONS = {"32": "fp32", "16": "fp16"}


def train(
    data: Annotated[
        Path,
        option(
            BASICS,
            "A folder of videos, or of `prepare`\nVideos are prepared first, into DATA-prepared.",
            metavar="DIR",
        ),
    ],
    stage: Annotated[
        Literal["motion", "sr"],
        choice(BASICS, "motion, or sr: super-resolution, on photos", ("motion", "sr")),
    ] = "motion",
    out: Annotated[
        Path | None,
        option(
            BASICS,
            "Where everything goes [runs/STAGE]\nCheckpoints, samples and curves.",
            *("--output", "-o", "--out"),
            metavar="DIR",
        ),
    ] = None,
    init: Annotated[
        str | None,
        option(
            BASICS,
            "Fine-tune these weights: a name, a file, user/repo\nFirst-order-model's too; and if only on one "
            "person's clips.",
            autocompletion=weights_names,
        ),
    ] = None,
    max_steps: Annotated[int, option(BASICS, "Stop after this many steps", min=1)] = 100_000,
    max_minutes: Annotated[
        float | None,
        option(BASICS, "Stop after this time\nThe same command goes on from there.", min=0),
    ] = None,
    validate_minutes: Annotated[
        float | None, option(BASICS, "Save and score this often [10; sr: 5]", min=0)
    ] = None,
    keep: Annotated[int, option(BASICS + MORE, "Numbered checkpoints kept beside best and last", min=0)] = 3,
    cache: Annotated[
        Path | None, option(BASICS + MORE, "Decoded clips [OUTPUT/cache]", metavar="DIR")
    ] = None,
    preset: Annotated[
        Literal["shipped", "paper"],
        choice(WHAT, "Where settings start from: shipped or paper", ("shipped", "paper")),
    ] = "shipped",
    size: Annotated[int | None, option(WHAT, "Pixels a side, a multiple of 32 [256; sr: 64]")] = None,
    keypoints: Annotated[
        Literal["dense", "paper", "free"] | None,
        choice(
            WHAT,
            "dense, paper or free\nAnchored to 29 places of the face, to the paper's ten, or found freely.",
            ("dense", "paper", "free"),
        ),
    ] = None,
    similarity: Annotated[
        bool | None,
        option(WHAT + MORE, "The head's is no motion to choose from", "--similarity/--no-similarity"),
    ] = None,
    box_prior: Annotated[
        bool | None,
        option(
            WHAT + MORE,
            "Do not tell the detector where Viola-Jones sees a face",
            "--box-prior/--no-box-prior",
        ),
    ] = None,
    loss: Annotated[
        list[str] | None,
        option(
            WHAT,
            "A loss's weight, as adversarial=0.1\nMay be given more than once; a wrong name lists all.",
            metavar="NAME=X",
        ),
    ] = None,
    perceptual: Annotated[
        str | None,
        option(
            WHAT,
            "squeezenet, vgg19, none, or a file, for Eq. 3\nThe network that compares pictures, or a "
            "safetensors file of either's features (default: squeezenet; first-order-model: vgg19).",
        ),
    ] = None,
    optimizer: Annotated[
        Literal["adam", "swats"] | None,
        choice(
            HOW,
            "adam or swats\nSWATS is Adam that turns into SGD when its time has come.",
            ("adam", "swats"),
        ),
    ] = None,
    learning_rate: Annotated[float | None, option(HOW, "After the warm-up [2e-4; sr: 1e-3]", min=0)] = None,
    decay_over: Annotated[
        Literal["steps", "minutes"],
        choice(
            HOW,
            "The rate falls over steps or minutes\nTowards --max-steps, or --max-minutes.",
            ("steps", "minutes"),
            metavar="WHAT",
        ),
    ] = "steps",
    batch: Annotated[
        int, option(HOW, "Pairs that a process sees at once", "--batch-size", "--batch", min=1)
    ] = 8,
    accumulate: Annotated[int, option(HOW + MORE, "Batches whose gradients make a step", min=1)] = 1,
    seed: Annotated[int, option(HOW + MORE, "Of weights and pairs", min=0)] = 0,
    precision: Annotated[
        str,
        choice(MACHINES, "fp32, bf16 or fp16", ("fp32", "bf16", "fp16"), old=OLD_PRECISIONS),
    ] = "bf16",
    devices: Annotated[str, option(MACHINES, "How many, or which (0,2), on each node", metavar="N")] = "auto",
    nodes: Annotated[int, option(MACHINES, "Machines; under torchrun leave it away", min=1)] = 1,
    workers: Annotated[int, option(MACHINES, "Loader processes of each process", min=0)] = 1,
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the networks on clips of people.

    Keypoint detector, dense motion and generator; or super-resolution on photos. Stopped by Ctrl-C, a signal
    or --max-minutes, the same command goes on exactly where it was. torchrun may start it too, on one machine
    or many: torchrun --nproc-per-node 8 -m faceanim_cli train --data DATA.
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
    if stage == "motion":  # super-resolution learns from photos
        with item_progress("videos", quiet) as progress:
            data = prepared_folder(data, report=say, progress=progress)
    common: dict[str, Any] = {  # what is None is left to the preset
        "data": data,
        "out": out or Path("runs") / stage,
        "init": start,
        "max_steps": max_steps,
        "max_minutes": max_minutes,
        "validate_minutes": validate_minutes,
        "keep": keep,
        "size": size,
        "perceptual": perceptual,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "decay_over": decay_over,
        "batch": batch,
        "accumulate": accumulate,
        "seed": seed,
        "precision": precision.removeprefix("fp"),
        "devices": devices,
        "nodes": nodes,
        "workers": workers,
    }
    with training_view(quiet) as (report, view):
        listener = Listener(report, view)
        if stage == "sr":
            result = train_super_resolution(super_resolution_settings(preset, **common), listener)
        else:
            common |= {
                "losses": loss or (),
                "cache": cache,
                "keypoints": keypoints,
                "similarity": similarity,
                "box_prior": box_prior,
            }
            if start and describe(start).network == "first-order":
                result = train_first_order(first_order_settings(preset, **common), listener)
            else:
                result = train_motion(motion_settings(preset, **common), listener)
    if result is not None:  # in the first of all processes
        typer.echo(json.dumps({"weights": str(result.weights)}) if as_json else result.weights)
