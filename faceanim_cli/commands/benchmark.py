"""``faceanim benchmark``: how fast this machine animates, stage by stage."""

import json
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.help import BASICS
from faceanim_cli.commands.options import (
    PRECISIONS,
    AcceptLicense,
    Device,
    Json,
    Offline,
    Quiet,
    choice,
    find_weights,
    option,
)
from faceanim_cli.commands.values import weights_names
from faceanim_cli.console import frame_progress

MEASURING = "How it is measured"


def benchmark(
    weights: Annotated[
        list[str] | None,
        option(
            BASICS,
            "As animate's; several are compared [animation]\nThe name animation is what ships.",
            autocompletion=weights_names,
        ),
    ] = None,
    sr: Annotated[
        bool | None, option(BASICS, "Only with, only without super-resolution", "--sr/--no-sr")
    ] = None,
    size: Annotated[
        list[int] | None, option(BASICS, "Sides of the result [the networks' own, and 512]", min=16, max=4096)
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        option(BASICS, "Frames worked on at a time [1 and 8]", "--batch-size", "--batch", min=1),
    ] = None,
    precision: Annotated[
        list[str] | None,
        choice(BASICS, "auto, fp32, bf16 or fp16 [fp32 and auto]", PRECISIONS),
    ] = None,
    device: Device = "auto",
    against: Annotated[Path | None, option(BASICS, "Compare with what --json printed earlier")] = None,
    markdown: Annotated[bool, option(BASICS, "Print tables as Markdown", "--markdown")] = False,
    quick: Annotated[
        bool,
        option(
            MEASURING,
            "Only what auto chooses, in half a minute\n"
            "Two rounds of one batch of eight, and no run from file to file; other options still count.",
            "--quick",
        ),
    ] = False,
    rounds: Annotated[
        int | None, option(MEASURING, "How often each case is measured, in turn [5]", min=1)
    ] = None,
    frames: Annotated[int | None, option(MEASURING, "Frames of a round [16]", min=1)] = None,
    seconds: Annotated[
        float | None, option(MEASURING, "Length of a run from file to file; 0: none [10]", min=0)
    ] = None,
    compiled: Annotated[bool, option(MEASURING, "CUDA graphs, as animate's", "--compile")] = False,
    as_json: Json = False,
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    quiet: Quiet = False,
) -> None:
    """Measure how fast this machine animates.

    Milliseconds a frame by stage, frames a second, and the networks' arithmetic as a share of what one large
    convolution reaches on the same machine. Cases are measured in turn, so that their ratios hold on a busy
    machine too; times are medians of the rounds, with half the distance of their quartiles. On CUDA also the
    peak memory of the GPU, and the part of the time in which it was at the networks.
    """
    from faceanim_cli.benchmark.cases import QUICK, CaseOptions  # noqa: PLC0415 (imports torch)
    from faceanim_cli.benchmark.estimate import estimate_seconds, in_words  # noqa: PLC0415
    from faceanim_cli.benchmark.run import read_benchmark, run_benchmark  # noqa: PLC0415
    from faceanim_cli.benchmark.tables import case_table, command_table, file_table, heading  # noqa: PLC0415

    before = None if against is None else read_benchmark(against)
    files = [find_weights(name, offline, accept_license) for name in weights or ("animation",)]
    usual = QUICK if quick else CaseOptions()
    options = CaseOptions(
        weights=tuple(files),
        precisions=tuple(precision or usual.precisions),
        sr=usual.sr if sr is None else (sr,),
        sizes=tuple(size or usual.sizes),
        batches=tuple(batch_size or usual.batches),
        device=device,
        rounds=rounds or usual.rounds,
        frames=frames or usual.frames,
        compiled=compiled,
    )
    if seconds is None:
        seconds = 0.0 if quick else 10.0
    if not quiet:
        typer.echo(f"this takes about {in_words(estimate_seconds(options, seconds))}", err=True)
    with frame_progress("measuring", quiet) as progress:
        run = run_benchmark(options, seconds, progress)
    if as_json:
        typer.echo(json.dumps(run.as_json(), indent=2))
        return
    typer.echo(heading(run))
    for table in (case_table(run, before), file_table(run.files), command_table(run, before)):
        if table is not None:
            typer.echo(f"\n{table.markdown() if markdown else table.plain()}")
