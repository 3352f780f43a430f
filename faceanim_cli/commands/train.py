"""``faceanim train``: retrain the networks on your own clips."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from faceanim_cli.commands.help import BASICS, MACHINES, MORE
from faceanim_cli.commands.options import (
    AcceptLicense,
    Json,
    Offline,
    Quiet,
    choice,
    expand_options,
    find_weights,
    on_terminal,
    option,
    stderr_printer,
)
from faceanim_cli.commands.training_view import training_view
from faceanim_cli.commands.values import parse_widths, weights_names
from faceanim_cli.console import item_progress

WHAT, HOW = "What is trained", "How it is trained"
OLD_PRECISIONS = {"32": "fp32", "16": "fp16"}


@dataclass(frozen=True)
class TrainingFlags:
    """What a run is trained on and how; None is left to the preset."""

    data: Annotated[
        Path,
        option(
            BASICS,
            "A folder of videos, or of `prepare`\nVideos (and photos, for sr) are prepared first, into "
            "DATA-prepared.",
            metavar="DIR",
        ),
    ]
    stage: Annotated[
        Literal["motion", "keypoints", "details", "sr"],
        choice(
            BASICS,
            "motion, keypoints, details, or sr\nThe animation networks; of them the keypoint detector "
            "alone, on landmarks, or what paints eyes and mouth of large results, on large faces; or "
            "super-resolution, on photos.",
            ("motion", "keypoints", "details", "sr"),
        ),
    ] = "motion"
    out: Annotated[
        Path | None,
        option(
            BASICS,
            "Where everything goes [runs/STAGE]\nCheckpoints, samples and curves.",
            *("--output", "-o", "--out"),
            metavar="DIR",
        ),
    ] = None
    init: Annotated[
        str | None,
        option(
            BASICS,
            "Fine-tune these weights: a name, a file, user/repo\nFirst-order-model's too; and if only on one "
            "person's clips. The stages of keypoints and details go on from the shipped ones.",
            autocompletion=weights_names,
        ),
    ] = None
    max_steps: Annotated[int, option(BASICS, "Stop after this many steps", min=1)] = 100_000
    max_minutes: Annotated[
        float | None,
        option(BASICS, "Stop after this time\nThe same command goes on from there.", min=0),
    ] = None
    validate_minutes: Annotated[
        float | None, option(BASICS, "Save and score this often [10; sr: 5]", min=0)
    ] = None
    keep: Annotated[int, option(BASICS + MORE, "Numbered checkpoints kept beside best and last", min=0)] = 3
    cache: Annotated[Path | None, option(BASICS + MORE, "Decoded clips [OUTPUT/cache]", metavar="DIR")] = None
    preset: Annotated[
        Literal["shipped", "paper"],
        choice(WHAT, "Where settings start from: shipped or paper", ("shipped", "paper")),
    ] = "shipped"
    size: Annotated[int | None, option(WHAT, "Frames' side, a multiple of 16 [256; sr: 64]")] = None
    keypoints: Annotated[
        Literal["dense", "paper", "free"] | None,
        choice(
            WHAT,
            "Keypoints: dense, paper or free\nAnchored to 29 places of the face, to the paper's ten, "
            "or found freely.",
            ("dense", "paper", "free"),
        ),
    ] = None
    similarity: Annotated[
        bool | None,
        option(WHAT + MORE, "The head's is no motion to choose from", "--similarity/--no-similarity"),
    ] = None
    segmenter: Annotated[
        bool | None,
        option(WHAT + MORE, "The photo's head is not told apart", "--segmenter/--no-segmenter"),
    ] = None
    free_keypoints: Annotated[
        bool | None,
        option(
            WHAT + MORE,
            "Shoulders, hair and background have keypoints of their own\nLearned beside the anchored ones, "
            "from optical flow; new networks have them, those of --init get them.",
            "--free-keypoints/--no-free-keypoints",
        ),
    ] = None
    generator_widths: Annotated[
        str | None,
        option(
            WHAT + MORE,
            "The generator's channels, as 32,64,128,192\nAt a half, a quarter, ... of the image. The "
            "generator of --init is pruned to fewer, and taught by what it was.",
            metavar="N,N,N,N",
        ),
    ] = None
    encoder: Annotated[
        Literal["resnet18", "resnet34", "resnet50"] | None,
        choice(
            WHAT + MORE,
            "resnet18, resnet34 or resnet50 [resnet18]\nOf the keypoint detector.",
            ("resnet18", "resnet34", "resnet50"),
        ),
    ] = None
    encoder_weights: Annotated[
        str | None,
        option(
            WHAT + MORE,
            "imagenet, a file, or none, to start from [none]\nimagenet fetches torchvision's (45 to 100 MB) "
            "unless they are here; the paper's preset does.",
        ),
    ] = None
    loss: Annotated[
        list[str] | None,
        option(
            WHAT,
            "A loss's weight, as adversarial=0.1\nMay be given more than once; a wrong name lists all.",
            metavar="NAME=X",
        ),
    ] = None
    perceptual: Annotated[
        str | None,
        option(
            WHAT,
            "Perceptual loss: squeezenet, vgg19, none, or a file\nEq. 3: the network that compares "
            "pictures, or a safetensors file of either's features (default: squeezenet; "
            "first-order-model: vgg19).",
        ),
    ] = None
    discriminator_side: Annotated[
        int | None,
        option(
            WHAT + MORE,
            "Pixels of the windows on eyes and mouth that the discriminator sees [128]\nThere is one with "
            "--loss adversarial=X.",
            min=16,
        ),
    ] = None
    optimizer: Annotated[
        Literal["adam", "swats"] | None,
        choice(
            HOW,
            "adam or swats\nSWATS is Adam that turns into SGD when its time has come.",
            ("adam", "swats"),
        ),
    ] = None
    learning_rate: Annotated[
        float | None, option(HOW, "Learning rate after the warm-up [2e-4; sr: 1e-3]", min=0)
    ] = None
    decay_over: Annotated[
        Literal["steps", "minutes"],
        choice(
            HOW,
            "The rate falls over steps, or minutes\nTowards --max-steps, or --max-minutes.",
            ("steps", "minutes"),
            metavar="WHAT",
        ),
    ] = "steps"
    swats_tolerance: Annotated[
        float | None,
        option(
            HOW + MORE,
            "When SWATS switches: SGD's rate is this settled [1e-3]\nThe share of its average that the "
            "estimate of a step may be off.",
            metavar="X",
        ),
    ] = None
    batch: Annotated[
        int | None,
        option(
            HOW,
            "Pairs in each process [8; keypoints 32; details 16]",
            *("--batch-size", "--batch"),
            min=1,
        ),
    ] = None
    accumulate: Annotated[int, option(HOW + MORE, "Batches whose gradients make a step", min=1)] = 1
    seed: Annotated[int, option(HOW + MORE, "Of weights and pairs", min=0)] = 0
    precision: Annotated[
        str,
        choice(MACHINES, "fp32, bf16 or fp16", ("fp32", "bf16", "fp16"), old=OLD_PRECISIONS),
    ] = "bf16"
    devices: Annotated[str, option(MACHINES, "Of each node: how many, or which (0,2)", metavar="N")] = "auto"
    nodes: Annotated[int, option(MACHINES, "Machines; leave it out under torchrun", min=1)] = 1
    workers: Annotated[int, option(MACHINES, "Loader processes of each process", min=0)] = 1
    offline: Offline = False
    accept_license: AcceptLicense = False


@expand_options
def train(flags: TrainingFlags, as_json: Json = False, quiet: Quiet = False) -> None:
    """Train the networks on clips of people.

    Keypoint detector, dense motion and generator; or super-resolution on photos. Stopped by Ctrl-C, a signal
    or --max-minutes, the same command goes on exactly where it was. torchrun may start it too, on one machine
    or many: torchrun --nproc-per-node 8 -m faceanim_cli train --data DATA.
    """
    from faceanim_cli.data.prepared_folder import prepared_folder  # noqa: PLC0415 (imports torch)
    from faceanim_cli.training.progress import Listener  # noqa: PLC0415
    from faceanim_cli.training.stages import (  # noqa: PLC0415
        fetch_pretrained,
        stage_settings,
        train_stage,
    )

    say = stderr_printer(quiet)
    given = vars(flags).copy() | {"generator_widths": parse_widths(flags.generator_widths)}
    stage, accept_license = given["stage"], given.pop("accept_license")
    network = "super-resolution" if stage == "sr" else "animation"
    if flags.init is not None:
        given["init"] = find_weights(flags.init, flags.offline, accept_license, network)
    given |= {"out": flags.out or Path("runs") / stage, "precision": flags.precision.removeprefix("fp")}
    settings = stage_settings(losses=given.pop("loss") or (), **given)
    fetch_pretrained(settings, say, progress=on_terminal() and not quiet)
    with item_progress("videos", quiet) as progress:
        settings = replace(settings, data=prepared_folder(flags.data, report=say, progress=progress))
    with training_view(quiet) as (report, view):
        result = train_stage(settings, Listener(report, view))
    if result is not None:  # in the first of all processes
        typer.echo(json.dumps({"weights": str(result.weights)}) if as_json else result.weights)
