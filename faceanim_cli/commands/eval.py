"""``faceanim eval``: scores of weights, baselines, or any program's files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from faceanim_cli.commands.help import BASICS, MORE
from faceanim_cli.commands.options import (
    AcceptLicense,
    Device,
    Json,
    Offline,
    Precision,
    Quiet,
    choice,
    confirm_on_terminal,
    expand_options,
    option,
    stderr_printer,
)
from faceanim_cli.commands.values import metrics as metric_names
from faceanim_cli.commands.values import parse_metrics, weights_names
from faceanim_cli.console import frame_progress
from faceanim_cli.errors import FaceanimError, UsageError, some_of

WHAT, HOW = "What is scored", "How it is compared"


@dataclass(frozen=True)
class EvaluationFlags:
    """What is scored and how: the fields of ``EvaluationOptions``."""

    metrics: Annotated[
        str | None,
        option(
            BASICS,
            "With commas: psnr,ssim,l1 [psnr,ssim]\npsnr, ssim, ms-ssim, l1, lpips, fid, akd, flicker, csim, "
            "pose, expression, slopes. With cross the default is pose,expression; with a TorchScript "
            "--landmark-model slopes too.",
            metavar="NAMES",
            parser=parse_metrics,
            autocompletion=metric_names,
        ),
    ] = None
    data: Annotated[
        Path | None,
        option(
            BASICS,
            "A folder of clips [the examples that ship]\n"
            "Of `faceanim prepare` (manifest.csv), of clips, or of folders of frames.",
            metavar="DIR",
        ),
    ] = None
    weights: Annotated[
        list[str] | None,
        option(BASICS, "Weights to score; several are compared [shipped]", autocompletion=weights_names),
    ] = None
    baselines: Annotated[
        list[str] | None,
        choice(
            BASICS,
            "Scored beside them: static, similarity or truth\nstatic is the photo, similarity moves it as a "
            "whole, truth is perfection.",
            ("static", "similarity", "truth"),
            "--baseline",
        ),
    ] = None
    output: Annotated[
        Path | None,
        option(
            BASICS,
            "Write a report\nThe same command goes on where it stopped.",
            "--output",
            "-o",
            metavar="DIR",
        ),
    ] = None
    overwrite: Annotated[bool, option(BASICS, "Start the report anew", "--overwrite")] = False
    predicted: Annotated[Path | None, option(WHAT, "Clips that any program made: a folder, or one")] = None
    truth: Annotated[Path | None, option(WHAT, "The true clips, by the same names")] = None
    split: Annotated[str, option(WHAT, "Whose clips of the manifest: train, val or all")] = "val"
    limit: Annotated[int | None, option(WHAT, "Score so many clips, or pairs, at most", min=1)] = None
    pairs: Annotated[
        Path | None,
        option(WHAT, "For cross: a table, columns source and driving", metavar="CSV"),
    ] = None
    num_pairs: Annotated[
        int | None, option(WHAT + MORE, "For cross: pairs to draw where no CSV says [50]", min=1)
    ] = None
    protocol: Annotated[
        Literal["reconstruction", "cross", "files"] | None,
        choice(
            HOW,
            "reconstruction, cross or files\n"
            "reconstruction: each clip from its first frame; cross: photos moved by other people; files: "
            "--predicted against --truth. Default: what the other options ask for.",
            ("reconstruction", "cross", "files"),
        ),
    ] = None
    every: Annotated[int, option(HOW, "Compare every N-th frame; 10 is FSRT's protocol", min=1)] = 1
    count_source: Annotated[
        bool, option(HOW + MORE, "Compare the first frame too, which is the source", "--count-source")
    ] = False
    size: Annotated[
        int | None, option(HOW, "Frames' side in pixels [256; files as they are]", min=16, max=4096)
    ] = None
    crop: Annotated[
        Literal["auto", "none"],
        choice(HOW, "auto: around the face; none: whole frames", ("auto", "none"), metavar="HOW"),
    ] = "auto"
    seed: Annotated[int, option(HOW + MORE, "Of pairs and intervals", min=0)] = 0
    landmark_model: Annotated[
        str | None,
        option(
            HOW + MORE,
            "For akd, pose, expression, slopes [shipped]\nWeights of ours (not for slopes), or TorchScript "
            "(.pt: frames in [0, 1] to (B, 68, 2) in [-1, 1]; 70 with the irises).",
            metavar="FILE",
        ),
    ] = None
    identity_model: Annotated[
        Path | None,
        option(HOW + MORE, "For csim: TorchScript\n(B, 3, 112, 112) in [-1, 1] to embeddings."),
    ] = None
    device: Device = "auto"
    precision: Precision = "auto"
    offline: Offline = False
    accept_license: AcceptLicense = False


@expand_options
def eval_(
    flags: EvaluationFlags,
    list_metrics: Annotated[
        bool, option(BASICS, "Say what each metric is, and exit", "--list-metrics")
    ] = False,
    grid: Annotated[
        Path | None,
        option(
            WHAT, "Only draw a figure of photos and frames, .png or .jpg\nPhotos down, driver frames across."
        ),
    ] = None,
    photo: Annotated[list[Path] | None, option(WHAT, "A photo for --grid [people of the data]")] = None,
    driver: Annotated[Path | None, option(WHAT, "The driver for --grid [one of the data]")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score how well weights animate faces.

    Exit code 1 if a clip could not be scored, or not in whole; the rest is scored all the same.
    """
    from faceanim_cli.evaluation.options import EvaluationOptions  # noqa: PLC0415 (imports torch)
    from faceanim_cli.evaluation.report import (  # noqa: PLC0415
        difference_table,
        score_table,
        slope_table,
    )
    from faceanim_cli.evaluation.session import (  # noqa: PLC0415
        draw_grid,
        fetch_weights,
        run_evaluation,
    )
    from faceanim_cli.media import check_writable  # noqa: PLC0415
    from faceanim_cli.weights.hub import show_progress  # noqa: PLC0415

    if list_metrics:
        _print_metrics(as_json)
        return
    by_files = flags.predicted is not None or flags.truth is not None
    guess = "files" if by_files else "cross" if flags.pairs is not None else "reconstruction"
    lists = {"weights": tuple(flags.weights or ()), "baselines": tuple(flags.baselines or ())}
    options = EvaluationOptions(**{**vars(flags), **lists, "protocol": flags.protocol or guess})

    say = stderr_printer(quiet)
    if options.data is None and options.protocol != "files" and (grid is None or not photo or driver is None):
        say(
            "no --data: taking the example clips that ship, synthesised from one portrait: "
            "they show that it works, not how well"
        )
    if grid is not None:
        check_writable(grid)
    elif photo or driver is not None:
        raise UsageError("--photo and --driver are for --grid, which draws a figure of them")
    show_progress(not quiet)
    fetch_weights(options, confirm_on_terminal())
    if grid is not None:
        draw_grid(options, grid, photo or (), driver)
        typer.echo(json.dumps({"grid": str(grid)}) if as_json else grid)
        return
    with frame_progress("scoring", quiet) as progress:
        result = run_evaluation(options, progress, warn=say)
    evaluation = result.evaluation
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2))
    else:
        typer.echo(score_table(evaluation, result.columns).plain())
        differences = difference_table(evaluation, result.columns)
        for table in (differences, slope_table(evaluation)):
            if table is not None:
                typer.echo(f"\n{table.plain()}")
        if options.output is not None:
            typer.echo(f"\n{options.output / 'report.html'}")
    bad = list(dict.fromkeys(row.clip for row in evaluation.problems))
    if bad:
        total = len({row.clip for row in evaluation.rows})
        raise FaceanimError(f"{len(bad)} of {total} clips have problems: {some_of(bad)}")


def _print_metrics(as_json: bool) -> None:
    from faceanim_cli.evaluation.metrics import METRICS, described  # noqa: PLC0415 (imports torch)

    known = described(METRICS.values())
    if as_json:
        typer.echo(json.dumps([{"name": name, "about": about} for name, about in known.items()], indent=2))
        return
    for name, about in known.items():
        typer.echo(f"{name:<11}{about}")
