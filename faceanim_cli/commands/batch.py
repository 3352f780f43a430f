"""``faceanim batch``: many photos, many drivers, one command."""

import json
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.commands.batch_progress import batch_progress
from faceanim_cli.commands.options import unfold
from faceanim_cli.console import Debug, Json, Quiet
from faceanim_cli.errors import FaceanimError, UsageError


class MatchChoice(str, Enum):
    """Which photos go with which drivers."""

    all = "all"
    name = "name"


@unfold
def batch(
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="The folder for results.", show_default=False),
    ],
    photos: Annotated[
        str | None,
        typer.Argument(help="A photo, a folder, or a glob in quotes: 'photos/*.jpg'.", show_default=False),
    ] = None,
    drivers: Annotated[
        str | None,
        typer.Argument(
            help="A driving video, a folder, a glob in quotes, or a folder of frames.", show_default=False
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Columns photo, driver and, if you like, output; paths count from its folder."
        ),
    ] = None,
    match: Annotated[
        MatchChoice, typer.Option(help="all: each photo with each driver; name: a.jpg with a.mp4.")
    ] = MatchChoice.all,
    name: Annotated[
        str, typer.Option(metavar="TEMPLATE", help="Of results; {photo}, {driver}, {index} or {index:03d}.")
    ] = "{photo}-{driver}.mp4",
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out results that are there: they are whole.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="JSONL", help="Write a line of JSON for each item.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes, each with a GPU of its own where there are several (default: 1; on a cluster "
            "one for each GPU).",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Work on a Ray cluster: auto, HOST:PORT, or local to try it here."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be done, and exit.")] = False,
    options: AnimationOptions,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Animate many photos with many drivers. A failure does not stop the rest.

    Prints each result's path as soon as it is whole. Exit code 1 if an item failed. After an interruption the
    same command with --resume does what is left.
    """
    from faceanim_cli.batch.pairs import plan_pairs  # noqa: PLC0415
    from faceanim_cli.batch.plan import plan_batch  # noqa: PLC0415
    from faceanim_cli.batch.run import BatchSettings, left_to_do, run_batch  # noqa: PLC0415 (OpenCV)
    from faceanim_cli.weights.hub import show_progress  # noqa: PLC0415

    if pairs is None and photos is not None and drivers is not None:
        plan = plan_batch(photos, drivers, output, match=match.value, name=name)
    elif pairs is not None and photos is None:
        plan = plan_pairs(pairs, output, name=name)
    else:
        raise UsageError("give PHOTOS and DRIVERS, or --pairs CSV alone")
    if not quiet:
        for note in plan.notes:
            typer.echo(note, err=True)
    if dry_run:
        items = left_to_do(plan.items, report)[0] if resume else plan.items
        if as_json:
            typer.echo(json.dumps([asdict(item) for item in items], indent=2, default=str))
        for item in [] if as_json else items:
            typer.echo(f"{item.photo}\t{item.driver}\t{item.output}")
        typer.echo(f"{len(items)} to do, {len(plan.items) - len(items)} there already", err=True)
        return
    show_progress(not quiet)
    settings = BatchSettings(workers, cluster, resume, report)
    with batch_progress(len(plan.items), quiet, print_paths=not as_json) as listener:
        outcome = run_batch(options.for_workers(), plan.items, listener, settings)
    if as_json:
        typer.echo(json.dumps([asdict(report) for report in outcome.reports], indent=2))
    all_items = len(outcome.reports)
    if outcome.failed:
        raise FaceanimError(f"{outcome.failed} of {all_items} failed, {all_items - outcome.failed} are done")
    if not quiet:
        typer.echo(f"{all_items - outcome.found} done, {outcome.found} there already", err=True)
