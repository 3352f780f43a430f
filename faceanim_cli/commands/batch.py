"""``faceanim batch``: many photos, many drivers, one command."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.commands.help import BASICS, MACHINES
from faceanim_cli.commands.options import Json, Quiet, choice, expand_options, option
from faceanim_cli.console import frame_task, progress_bar
from faceanim_cli.errors import FaceanimError, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from faceanim_cli.batch.items import BatchItem, ItemReport
    from faceanim_cli.pictures import Progress as ProgressCallback


@expand_options
def batch(
    *,
    photos: Annotated[
        str | None,
        typer.Argument(metavar="PHOTOS", help="A photo, a folder, or a pattern in quotes: 'photos/*.jpg'"),
    ] = None,
    drivers: Annotated[
        str | None,
        typer.Argument(
            metavar="DRIVERS", help="The same of drivers: videos, motion files, folders of frames, nod, shake"
        ),
    ] = None,
    output: Annotated[Path, option(BASICS, "The folder for results", "--output", "-o", metavar="DIR")],
    pairs: Annotated[
        Path | None,
        option(
            BASICS,
            "A table of pairs, instead of PHOTOS and DRIVERS\n"
            "Its columns are photo, driver and, if you like, output; paths count from its folder.",
            metavar="CSV",
        ),
    ] = None,
    match: Annotated[
        Literal["all", "name"],
        choice(BASICS, "all: each with each; name: a.jpg with a.mp4", ("all", "name"), metavar="HOW"),
    ] = "all",
    name: Annotated[
        str,
        option(
            BASICS,
            "Of results\nPlaces: {photo}, {driver}, {index} or {index:03d}.",
            metavar="TEXT",
        ),
    ] = "{photo}-{driver}.mp4",
    resume: Annotated[
        bool,
        option(
            BASICS,
            "Leave out results that are there: they are whole\n"
            "With --report, what other settings, weights or files made is done again.",
            "--resume",
        ),
    ] = False,
    report: Annotated[Path | None, option(BASICS, "Write a line of JSON for each item")] = None,
    dry_run: Annotated[bool, option(BASICS, "List what would be done, and exit", "--dry-run")] = False,
    workers: Annotated[
        int | None,
        option(
            MACHINES,
            "Processes, each with a GPU of its own [1]\nOn a cluster the default is one for each GPU.",
            min=1,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        option(
            MACHINES,
            "A Ray cluster: auto or HOST:PORT\nOr local, to try it on this machine.",
            metavar="WHERE",
        ),
    ] = None,
    options: AnimationOptions,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Animate many photos with many drivers. A failure does not stop the rest.

    Prints each result's path as soon as it is whole. Exit code 1 if an item failed. After an interruption the
    same command with --resume does what is left.
    """
    from faceanim_cli.batch.plan import plan_batch, plan_pairs  # noqa: PLC0415
    from faceanim_cli.batch.report import read_report, split_done  # noqa: PLC0415
    from faceanim_cli.batch.run import BatchSettings, prepare_batch, run_prepared  # noqa: PLC0415 (OpenCV)
    from faceanim_cli.weights.hub import show_progress  # noqa: PLC0415

    if pairs is None and photos is not None and drivers is not None:
        plan = plan_batch(photos, drivers, output, match=match, name=name)
    elif pairs is not None and photos is None:
        plan = plan_pairs(pairs, output, name=name)
    else:
        raise UsageError("give PHOTOS and DRIVERS, or --pairs CSV alone")
    if not quiet:
        for note in plan.notes:
            typer.echo(note, err=True)
    if dry_run:
        earlier = [] if report is None else read_report(report)
        items = split_done(plan.items, earlier, options.given())[0] if resume else plan.items
        if as_json:
            typer.echo(json.dumps([asdict(item) for item in items], indent=2, default=str))
        for item in [] if as_json else items:
            typer.echo(f"{item.photo}\t{item.driver}\t{item.output}")
        typer.echo(f"{len(items)} to do, {len(plan.items) - len(items)} there already", err=True)
        return
    show_progress(not quiet)
    settings = BatchSettings(workers, cluster, resume, report)
    job = options.for_workers()
    prepared = prepare_batch(job, plan.items, settings)
    with batch_progress(len(plan.items), quiet, print_paths=not as_json) as listener:
        outcome = run_prepared(job, prepared, listener, settings)
    if as_json:
        typer.echo(json.dumps([asdict(report) for report in outcome.reports], indent=2))
    all_items = len(outcome.reports)
    if outcome.failed:
        raise FaceanimError(f"{outcome.failed} of {all_items} failed, {all_items - outcome.failed} are done")
    if not quiet:
        typer.echo(f"{all_items - outcome.found} done, {outcome.found} there already", err=True)


class BatchProgress:
    """Bars for the items and for those at work, paths of results, lines about failures."""

    def __init__(self, bar: "Progress | None", total: int, print_paths: bool) -> None:
        self._bar, self._print_paths = bar, print_paths
        self._items = None if bar is None else bar.add_task("items", total=total)
        self._at_work: dict[str, tuple[TaskID, ProgressCallback]] = {}

    def frames(self, item: "BatchItem", done: int, expected: int | None) -> None:
        """See ``BatchListener``."""
        if self._bar is None:
            return
        name = str(item.output)
        if name not in self._at_work:
            task = self._bar.add_task(item.output.name, total=None)
            self._at_work[name] = task, frame_task(self._bar, task)
        self._at_work[name][1](done, expected)

    def item(self, report: "ItemReport") -> None:
        """See ``BatchListener``."""
        if self._bar is not None and self._items is not None:
            self._bar.advance(self._items)
            if report.output in self._at_work:
                self._bar.remove_task(self._at_work.pop(report.output)[0])
        if report.status == "failed":
            typer.echo(f"{report.photo} + {report.driver}: {report.error}", err=True)
        elif self._print_paths:
            typer.echo(report.output)

    def already_done(self, count: int) -> None:
        """See ``BatchListener``."""
        if self._bar is not None and self._items is not None:
            self._bar.update(self._items, completed=count)


@contextmanager
def batch_progress(total: int, quiet: bool, print_paths: bool) -> Iterator[BatchProgress]:
    """Progress over items and frames on stderr, without bars when quiet or piped."""
    with progress_bar(quiet) as bar:
        yield BatchProgress(bar, total, print_paths)
