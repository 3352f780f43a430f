"""Live view of a training run on a terminal: losses, pairs a second, time left, best score."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:  # torch comes with it
    from rich.console import RenderableType

    from faceanim_cli.training.progress import Status

Report = Callable[[str], None]


@contextmanager
def training_view(quiet: bool) -> Iterator[tuple[Report, Callable[[Status], None] | None]]:
    """What takes a run's lines, and what takes its numbers: None unless stderr is a terminal."""
    from rich.console import Console  # noqa: PLC0415 (--version need not wait for rich)
    from rich.live import Live  # noqa: PLC0415

    console = Console(stderr=True)
    quiet = quiet or os.environ.get("LOCAL_RANK", "0") != "0"  # one process of a machine has the terminal
    if quiet or not console.is_terminal:
        yield (lambda _: None) if quiet else (lambda line: typer.echo(line, err=True)), None
        return
    with Live(console=console, refresh_per_second=2) as live:

        def report(line: str) -> None:
            live.console.print(line, markup=False, highlight=False)

        yield report, lambda status: live.update(status_table(status))


def status_table(status: Status) -> RenderableType:
    """A run's numbers, as a bar above a table of losses."""
    from rich.columns import Columns  # noqa: PLC0415
    from rich.console import Group  # noqa: PLC0415
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    head = Table.grid(padding=(0, 2))
    left = "" if status.seconds_left is None else f"{duration(status.seconds_left)} left"
    head.add_row(
        f"step {status.step} of {status.max_steps}",
        ProgressBar(total=1.0, completed=status.progress, width=30),
        f"{status.pairs_per_second:.1f} pairs/s",
        left,
        f"lr {status.learning_rate:.1e}",
        f"best {status.best}" if status.best else "",
    )
    losses = [Text(f"{name} {value:.4f}") for name, value in status.losses.items()]
    return Group(head, Columns(losses, padding=(0, 3)))


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
