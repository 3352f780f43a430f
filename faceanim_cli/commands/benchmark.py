"""``faceanim benchmark``: how fast this machine animates, stage by stage."""

import json
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.weights import AcceptLicense, Offline, confirm_on_terminal
from faceanim_cli.console import Debug, Json, Quiet, frame_progress


def benchmark(
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WEIGHTS",
            help="As animate --weights; several are compared; animation is what ships (default: animation).",
        ),
    ] = None,
    sr: Annotated[
        bool | None, typer.Option("--sr/--no-sr", help="Only with, or only without super-resolution.")
    ] = None,
    size: Annotated[
        list[int] | None,
        typer.Option(min=16, max=4096, help="Sides of the result, pixels (default: the networks' own)."),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Frames worked on at a time (default: 1 and 8).")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="auto, fp32, bf16 or fp16 (default: fp32 and what auto chooses)."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    rounds: Annotated[
        int, typer.Option(min=1, help="How often each case is measured, in turn with the others.")
    ] = 5,
    frames: Annotated[int, typer.Option(min=1, help="Frames of a round.")] = 16,
    seconds: Annotated[
        float,
        typer.Option(min=0, help="Length of the clip that is animated from file to file; 0: no such run."),
    ] = 10.0,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare with what --json printed earlier.")
    ] = None,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print tables as Markdown.")] = False,
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure how fast this machine animates.

    Milliseconds a frame by stage, frames a second, and the networks' arithmetic as a share of what one large
    convolution reaches on the same machine. Cases are measured in turn, so that their ratios hold on a busy
    machine too; times are medians of the rounds, with half the distance of their quartiles. On CUDA also the
    peak memory of the GPU, and the part of the time in which it was at the networks.
    """
    from faceanim_cli.benchmark.cases import CaseOptions  # noqa: PLC0415 (imports torch)
    from faceanim_cli.benchmark.run import read_benchmark, run_benchmark  # noqa: PLC0415
    from faceanim_cli.benchmark.tables import case_table, command_table, file_table, heading  # noqa: PLC0415
    from faceanim_cli.weights.resolve import resolve_weights  # noqa: PLC0415

    before = None if against is None else read_benchmark(against)
    files = [
        resolve_weights(name, offline=offline, accept_license=accept_license, confirm=confirm_on_terminal())
        for name in weights or ("animation",)
    ]
    options = CaseOptions(
        weights=tuple(files),
        precisions=tuple(precision or CaseOptions.precisions),
        sr=CaseOptions.sr if sr is None else (sr,),
        sizes=tuple(size or CaseOptions.sizes),
        batches=tuple(batch or CaseOptions.batches),
        device=device,
        rounds=rounds,
        frames=frames,
    )
    with frame_progress("measuring", quiet) as progress:
        run = run_benchmark(options, seconds, progress)
    if as_json:
        typer.echo(json.dumps(run.as_json(), indent=2))
        return
    typer.echo(heading(run))
    for table in (case_table(run, before), file_table(run.files), command_table(run, before)):
        if table is not None:
            typer.echo(f"\n{table.markdown() if markdown else table.plain()}")
