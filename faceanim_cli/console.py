"""Progress bars and messages on stderr, tables on stdout."""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from faceanim_cli.pictures import Progress as ProgressCallback

BATCH_GAP_S = 0.1  # frames that are told in less time than this are of one batch


class _Verbosity:
    """How much to say; one per process, like stderr itself."""

    quiet = False
    verbose = False
    debug = False


def set_quiet(value: bool) -> bool:
    """Whether to say nothing but errors; the callback of an option."""
    return _set("quiet", value)


def set_verbose(value: bool) -> bool:
    """Whether to tell what is found and chosen; the callback of an option."""
    return _set("verbose", value)


def set_debug(value: bool) -> bool:
    """Whether to tell everything, libraries too; the callback of an option."""
    return _set("debug", value)


def _set(name: str, value: bool) -> bool:
    setattr(_Verbosity, name, value)
    logging.basicConfig(format="%(message)s")
    wishes = (
        (_Verbosity.debug, logging.DEBUG),
        (_Verbosity.verbose, logging.INFO),
        (_Verbosity.quiet, logging.ERROR),
    )
    level = next((level for wished, level in wishes if wished), logging.WARNING)
    logging.getLogger().setLevel(max(level, logging.WARNING) if level == logging.INFO else level)
    logging.getLogger("faceanim_cli").setLevel(level)
    return value


def debugging() -> bool:
    """Whether ``--debug`` was given."""
    return _Verbosity.debug


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people; tabs and newlines for pipes, where it would be cut at 80 columns."""
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(cell.replace("\n", " ") for cell in row))
        return
    from rich.console import Console  # noqa: PLC0415 (not needed in a pipe)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*header, box=None, show_header=bool(header), pad_edge=False)
    if not header:
        table.add_column(style="bold")
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # Text: a [ in a path is no markup
    Console().print(table)


@contextmanager
def frame_progress(title: str, quiet: bool) -> "Iterator[ProgressCallback | None]":
    """A progress bar with frames, frames a second and time left, on stderr; nothing when quiet or piped."""
    with progress_bar(quiet) as bar:
        if bar is None:
            yield None
            return
        yield frame_task(bar, bar.add_task(title, total=None))


def frame_task(bar: "Progress", task: "TaskID") -> "ProgressCallback":
    """What shows a task's frames, frames a second and time left, told as they are done."""
    rate = FrameRate()

    def update(done: int, expected: int | None) -> None:
        total = None if expected is None else max(done, expected)
        bar.update(task, completed=done, total=total, rate=rate.after(done))

    return update


class FrameRate:
    """Frames a second of work that is done in batches.

    The frames of a batch are told all at once, so that the time between two of them says nothing: what counts
    is the time from one batch's first frame to the next's.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque(maxlen=64)

    def after(self, done: int) -> float | None:
        """The rate when ``done`` frames are done; None as long as there is no telling."""
        now = self._clock()
        if not self._marks or now - self._marks[-1][0] >= BATCH_GAP_S:
            self._marks.append((now, done - 1))
        (first, before), (last, after) = self._marks[0], self._marks[-1]
        return (after - before) / (last - first) if last > first else None


@contextmanager
def item_progress(title: str, quiet: bool) -> "Iterator[ProgressCallback | None]":
    """A progress bar over items, with the time left, on stderr; nothing when quiet or piped."""
    with progress_bar(quiet) as bar:
        if bar is None:
            yield None
            return
        task = bar.add_task(title, total=None)
        yield lambda done, expected: bar.update(task, completed=done, total=expected)


@contextmanager
def progress_bar(quiet: bool) -> "Iterator[Progress | None]":
    """rich's progress with columns of ours, on stderr; None when quiet or piped."""
    from rich.console import Console  # noqa: PLC0415 (rich takes a tenth of a second; --version need not wait)
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text  # noqa: PLC0415

    class FramesPerSecond(ProgressColumn):
        def render(self, task: Task) -> Text:
            rate = task.fields.get("rate")
            return Text("" if rate is None else f"{rate:.1f} fps")

    class TimeLeft(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            rate = task.fields.get("rate")
            if rate is None or task.total is None or task.finished:
                return super().render(task)
            return Text(str(timedelta(seconds=round((task.total - task.completed) / rate))))

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # a [ in a name is none
        BarColumn(),
        MofNCompleteColumn(),
        FramesPerSecond(),
        TimeLeft(),
    )
    # Results that are printed meanwhile go above the bar, but a pipe gets them as they are.
    with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as bar:
        yield bar
