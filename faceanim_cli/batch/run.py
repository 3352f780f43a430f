"""Runs a batch: a failure ends only its own item, and an interrupted batch can be resumed."""

import contextlib
import logging
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faceanim_cli.batch.items import BatchItem, BatchListener, ItemReport
from faceanim_cli.batch.output_locks import locked_outputs
from faceanim_cli.batch.pool import run_in_pool
from faceanim_cli.batch.processes import ProcessPool
from faceanim_cli.batch.report import open_report, read_report, split_done
from faceanim_cli.batch.worker import BatchJob, WorkerLostError, animate_item
from faceanim_cli.errors import UsageError, some_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchSettings:
    """How a batch is worked through."""

    workers: int | None = None
    """Processes; None is one in this process, or on a cluster one for each GPU, or CPU machine."""
    cluster: str | None = None
    """Address of a Ray cluster; None for this machine."""
    resume: bool = False
    """Leave out what is there and whole."""
    report: Path | None = None
    """Where a line goes for each item; see ``report.py``."""


@dataclass(frozen=True)
class BatchOutcome:
    """What became of a batch."""

    reports: tuple[ItemReport, ...]
    """One an item."""
    found: int
    """How many of them were done before, and left alone."""

    @property
    def failed(self) -> int:
        """How many items failed."""
        return sum(report.status == "failed" for report in self.reports)


@dataclass(frozen=True)
class PreparedBatch:
    """What is to be done, when all that can be refused before the work has been."""

    items: Sequence[BatchItem]
    """Those that are left to do."""
    done: Sequence[ItemReport]
    """What an earlier run did."""
    made_with: dict[str, Any] | None
    """What results depend on; None where no report tells it."""


def prepare_batch(job: BatchJob, items: Sequence[BatchItem], settings: BatchSettings) -> PreparedBatch:
    """Find out what is left to do, make the folders of outputs, and refuse what cannot be written.

    Raises:
        UsageError: outputs cannot be written, or would replace what is not ours.
        UnreadableInputError: what lies in the report's place is none.
    """
    made_with = None if settings.report is None else job.result_settings()
    earlier = [] if settings.report is None else read_report(settings.report)
    done: list[ItemReport] = []
    if settings.resume:
        items, done = split_done(items, earlier, made_with)
        if unknown := [report.output for report in done if report.status == "skipped"]:
            logger.warning(
                "%s: left as it is, whatever settings made it; a run with --report notes them",
                some_of(unknown, 1),
            )
    kinds = {(item.output.parent, item.output.suffix): item for item in items}
    for (folder, _), item in kinds.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder {folder}: {error.strerror}; choose another") from error
        job.check_output(item.output, item.photo, item.driver)
    known = {report.output for report in earlier if report.status == "done"}
    job.check_replacing([item.output for item in items if str(item.output) not in known])
    return PreparedBatch(items, done, made_with)


def run_prepared(
    job: BatchJob, batch: PreparedBatch, listener: BatchListener, settings: BatchSettings
) -> BatchOutcome:
    """Animate what is left to do.

    Returns:
        A report on each item; failures are in them.

    Raises:
        UsageError: the report cannot be written, another batch makes the same, or there is no such cluster.
        WeightsError: the networks cannot be loaded.
    """
    reports = list(batch.done)
    listener.already_done(len(reports))
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked_outputs(batch.items))
        add = None if settings.report is None else stack.enter_context(open_report(settings.report, reports))
        # Closed, so that workers end before an error that is raised in here goes on.
        results = stack.enter_context(contextlib.closing(_results(job, batch.items, listener, settings)))
        for result in results:
            report = replace(result, settings=batch.made_with)
            if add is not None:
                add(report)
            reports.append(report)
            listener.item(report)
    return BatchOutcome(tuple(reports), len(batch.done))


def _results(
    job: BatchJob, items: Sequence[BatchItem], listener: BatchListener, settings: BatchSettings
) -> Generator[ItemReport]:
    if not items:
        return
    workers = min(settings.workers or 1, len(items))
    if settings.cluster is not None:
        from faceanim_cli.batch.cluster import RayPool  # noqa: PLC0415 (an extra)

        with RayPool(job, settings.cluster, settings.workers, len(items)) as pool:
            yield from run_in_pool(pool, items, listener)
    elif workers > 1:
        with ProcessPool(job, workers) as processes:
            yield from run_in_pool(processes, items, listener)
    else:
        yield from _animate_here(job, items, listener)


def _animate_here(job: BatchJob, items: Sequence[BatchItem], listener: BatchListener) -> Iterator[ItemReport]:
    """One by one in this process, as long as its GPU works; then in another, which it may work for."""
    animator = job.animator()
    left = deque(items)
    while left:

        def tell(done: int, expected: int | None) -> None:
            listener.frames(left[0], done, expected)

        try:
            report = animate_item(job, animator, left[0], tell)
        except WorkerLostError as error:
            logger.warning("%s + %s: %s; tried again in a new process", left[0].photo, left[0].driver, error)
            with ProcessPool(job, 1) as pool:
                yield from run_in_pool(pool, list(left), listener)
            return
        left.popleft()
        yield report
