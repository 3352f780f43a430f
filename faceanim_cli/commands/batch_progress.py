"""What a person sees of a batch: bars on stderr, paths of results on stdout, a line for each failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from faceanim_cli.console import frame_task, progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from faceanim_cli.batch.items import BatchItem, ItemReport
    from faceanim_cli.pictures import Progress as ProgressCallback


class BatchProgress:
    """Bars for the items and for those at work, paths of results, lines about failures."""

    def __init__(self, bar: Progress | None, total: int, print_paths: bool) -> None:
        self._bar, self._print_paths = bar, print_paths
        self._items = None if bar is None else bar.add_task("items", total=total)
        self._at_work: dict[str, tuple[TaskID, ProgressCallback]] = {}

    def frames(self, item: BatchItem, done: int, expected: int | None) -> None:
        """See ``BatchListener``."""
        if self._bar is None:
            return
        name = str(item.output)
        if name not in self._at_work:
            task = self._bar.add_task(item.output.name, total=None)
            self._at_work[name] = task, frame_task(self._bar, task)
        self._at_work[name][1](done, expected)

    def item(self, report: ItemReport) -> None:
        """See ``BatchListener``."""
        if self._bar is not None and self._items is not None:
            self._bar.advance(self._items)
            if report.output in self._at_work:
                self._bar.remove_task(self._at_work.pop(report.output)[0])
        if report.status == "failed":
            typer.echo(f"{report.photo} + {report.driver}: {report.error}", err=True)
        elif self._print_paths:
            typer.echo(report.output)

    def there_already(self, count: int) -> None:
        """See ``BatchListener``."""
        if self._bar is not None and self._items is not None:
            self._bar.update(self._items, completed=count)


@contextmanager
def batch_progress(total: int, quiet: bool, print_paths: bool) -> Iterator[BatchProgress]:
    """Progress over items and frames on stderr, without bars when quiet or piped."""
    with progress_bar(quiet) as bar:
        yield BatchProgress(bar, total, print_paths)
