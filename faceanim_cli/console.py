"""What people see: progress and messages on stderr, results on stdout."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Protocol

import typer


class ProgressCallback(Protocol):
    """Told how many frames are done and how many are expected, if known."""

    def __call__(self, done: int, expected: int | None) -> None: ...


class _Reporting:
    """How much to say; one per process, like stderr itself."""

    debug = False


def _set_debug(value: bool) -> bool:
    _Reporting.debug = _Reporting.debug or value
    logging.basicConfig(level=logging.DEBUG if _Reporting.debug else logging.WARNING, format="%(message)s")
    return value


Debug = Annotated[
    bool, typer.Option("--debug", callback=_set_debug, help="Show tracebacks and debug messages.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, errors only.")]


def debugging() -> bool:
    """Whether ``--debug`` was given."""
    return _Reporting.debug


@contextmanager
def frame_progress(title: str, quiet: bool) -> Iterator[ProgressCallback | None]:
    """A progress bar with frames, frames a second and time left, on stderr; nothing when quiet or piped."""
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
            return Text("" if task.speed is None else f"{task.speed:.1f} fps")

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        FramesPerSecond(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, expected: int | None) -> None:
            bar.update(task, completed=done, total=None if expected is None else max(done, expected))

        yield update
