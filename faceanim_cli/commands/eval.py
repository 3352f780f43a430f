"""``faceanim eval``: scores of weights, baselines, or any program's files."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.weights import AcceptLicense, Offline, confirm_on_terminal
from faceanim_cli.console import Debug, Json, Quiet, frame_progress
from faceanim_cli.errors import FaceanimError


class ProtocolChoice(str, Enum):
    """How results are made and compared."""

    reconstruction = "reconstruction"
    cross = "cross"
    files = "files"


class CropChoice(str, Enum):
    """How frames are framed."""

    auto = "auto"
    none = "none"


def eval_(
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="psnr, ssim, ms-ssim, l1, lpips, fid, akd, flicker, csim, pose, expression; with commas "
            "(default: psnr,ssim; with cross: pose,expression).",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Our layout (manifest.csv), a folder of clips, or of folders of frames (default: examples)."
        ),
    ] = None,
    protocol: Annotated[
        ProtocolChoice | None,
        typer.Option(
            help="reconstruction: each clip from its first frame; cross: photos moved by other people; "
            "files: --predicted against --truth (default: what the other options ask for).",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="Weights to score; several are compared (default: shipped).")
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="Score beside them: static (the photo), similarity (moved as a whole), truth (perfection)."
        ),
    ] = None,
    predicted: Annotated[
        Path | None, typer.Option(help="Any program's clips: a folder, or one clip.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="The true clips of the same names.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Compare every n-th frame; 10 is FSRT's protocol.")] = 1,
    count_source: Annotated[
        bool, typer.Option("--count-source", help="Compare the first frame too, though it is the source.")
    ] = False,
    size: Annotated[
        int | None, typer.Option(min=16, max=4096, help="Pixels a side (default: 256; files as they are).")
    ] = None,
    crop: Annotated[
        CropChoice, typer.Option(help="auto: around the face; none: whole frames.")
    ] = CropChoice.auto,
    split: Annotated[str, typer.Option(help="Whose clips of the manifest; all for everybody.")] = "val",
    limit: Annotated[int | None, typer.Option(min=1, help="Score so many clips, or pairs, at most.")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV with the columns source and driving, for cross.")
    ] = None,
    num_pairs: Annotated[int, typer.Option(min=1, help="Pairs to draw where no CSV says.")] = 50,
    seed: Annotated[int, typer.Option(help="Of pairs and intervals.")] = 0,
    landmark_model: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Finds landmarks for akd, pose and expression: weights of ours, or TorchScript "
            "(.pt: frames in [0, 1] to (B, 68, 2) in [-1, 1]) (default: shipped weights).",
        ),
    ] = None,
    identity_model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="For csim: TorchScript, (B, 3, 112, 112) in [-1, 1] to embeddings."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Write a report; the same command goes on where it stopped."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start the report anew.")] = False,
    grid: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Only draw a figure: photos down, driver frames across (.png, .jpg)."
        ),
    ] = None,
    photo: Annotated[
        list[Path] | None, typer.Option(help="A photo for --grid (default: people of the data).")
    ] = None,
    driver: Annotated[
        Path | None, typer.Option(help="The driver for --grid (default: one of the data).")
    ] = None,
    list_metrics: Annotated[
        bool, typer.Option("--list-metrics", help="Say what each metric is, and exit.")
    ] = False,
    as_json: Json = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score how well weights animate faces.

    Exit code 1 if a clip could not be scored, or not in whole; the rest is scored all the same.
    """
    from faceanim_cli.evaluation.metrics import METRICS, columns_of  # noqa: PLC0415 (imports torch)
    from faceanim_cli.evaluation.options import EvaluationOptions  # noqa: PLC0415
    from faceanim_cli.evaluation.score_tables import difference_table, score_table  # noqa: PLC0415
    from faceanim_cli.evaluation.session import (  # noqa: PLC0415
        draw_grid,
        fetch_weights,
        run_evaluation,
    )
    from faceanim_cli.media import check_writable  # noqa: PLC0415
    from faceanim_cli.weights.hub import show_progress  # noqa: PLC0415

    if list_metrics:
        columns = columns_of(list(METRICS.values()))
        if as_json:
            typer.echo(json.dumps([{"name": c.name, "about": c.about} for c in columns], indent=2))
        for column in [] if as_json else columns:
            typer.echo(f"{column.name:<11}{column.about}")
        return
    by_files = predicted is not None or truth is not None
    by_pairs = pairs is not None
    guess = (
        ProtocolChoice.files
        if by_files
        else ProtocolChoice.cross
        if by_pairs
        else ProtocolChoice.reconstruction
    )
    options = EvaluationOptions(
        metrics=metrics,
        protocol=(protocol or guess).value,
        data=data,
        split=split,
        weights=tuple(weights or ()),
        baselines=tuple(baseline or ()),
        predicted=predicted,
        truth=truth,
        pairs=pairs,
        num_pairs=num_pairs,
        every=every,
        count_source=count_source,
        size=size,
        crop=crop.value,
        limit=limit,
        seed=seed,
        landmark_model=landmark_model,
        identity_model=identity_model,
        output=output,
        overwrite=overwrite,
        device=device,
        precision=precision,
        offline=offline,
        accept_license=accept_license,
    )

    def say(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    if data is None and options.protocol != "files" and (grid is None or not photo or driver is None):
        say(
            "no --data: taking the example clips that ship, synthesised from one portrait: "
            "they show that it works, not how well"
        )
    if grid is not None:
        check_writable(grid)
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
        if differences is not None:
            typer.echo(f"\n{differences.plain()}")
        if output is not None:
            typer.echo(f"\n{output / 'report.html'}")
    bad = list(dict.fromkeys(row.clip for row in evaluation.problems))
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        total = len({row.clip for row in evaluation.rows})
        raise FaceanimError(f"{len(bad)} of {total} clips have problems: {', '.join(bad[:3])}{more}")
