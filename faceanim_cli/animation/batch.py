"""Many animations: one failure stops nothing but its own item, and an interrupted batch can go on."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from faceanim_cli.animation.batch_plan import BatchItem
from faceanim_cli.animation.batch_report import ItemReport, ReportFile, read_report, split_done
from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media.output_file import remove_leftovers
from faceanim_cli.pictures import Progress

if TYPE_CHECKING:  # a dry run need not wait for torch
    from faceanim_cli.animation.animator import Animator
    from faceanim_cli.animation.result import AnimationResult

logger = logging.getLogger(__name__)

"""Called with the number of frames done and the number expected, if known."""


@dataclass(frozen=True)
class Share:
    """What a worker may use of its machine; see ``device.share_machine``."""

    worker: int
    """Its number, from 0."""
    workers: int
    """How many there are on the machine."""


class Recipe(Protocol):
    """How to animate. Workers get a pickled copy."""

    @property
    def device(self) -> str:
        """auto, cpu, cuda, cuda:1 or mps."""

    def check_output(self, output: Path, photo: Path, driver: Path) -> None:
        """Refuse, before hours of work, an output that cannot be written."""

    def animator(self, share: Share | None = None) -> "Animator":
        """Load the networks, into a share of the machine if it has several workers."""

    def animate(
        self,
        animator: "Animator",
        photo: Path,
        driver: Path,
        output: Path,
        progress: Progress | None = None,
    ) -> "AnimationResult":
        """Animate one photo with one driver into one file, which appears when it is whole."""


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
    """Where a line goes for each item; see ``batch_report.py``."""


class Listener(Protocol):
    """Told what happens, as it happens."""

    def frames(self, item: BatchItem, done: int, expected: int | None) -> None:
        """An item has come so far."""

    def item(self, report: ItemReport) -> None:
        """An item is done, or has failed."""

    def there_already(self, count: int) -> None:
        """So many items were found done."""


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


def run_batch(
    recipe: Recipe, items: Sequence[BatchItem], listener: Listener, settings: BatchSettings | None = None
) -> BatchOutcome:
    """Animate all items that are to be done.

    Returns:
        A report on each item; failures are in them.

    Raises:
        UsageError: outputs or the report cannot be written, or there is no such cluster.
        UnreadableInputError: the report to resume is none.
        WeightsError: the networks cannot be loaded.
    """
    settings = settings or BatchSettings()
    reports: list[ItemReport] = []
    if settings.resume:
        items, reports = left_to_do(items, settings.report)
    prepare_outputs(recipe, items)
    found = len(reports)
    listener.there_already(found)
    file = None if settings.report is None else ReportFile(settings.report, keep=reports)
    try:
        for report in _results(recipe, items, listener, settings):
            if file is not None:
                file.add(report)
            reports.append(report)
            listener.item(report)
    finally:
        if file is not None:
            file.close()
    return BatchOutcome(tuple(reports), found)


def left_to_do(
    items: Sequence[BatchItem], report: Path | None
) -> tuple[Sequence[BatchItem], list[ItemReport]]:
    """What ``--resume`` leaves to do, and the reports on what is done; see :func:`split_done`."""
    return split_done(items, [] if report is None else read_report(report))


def prepare_outputs(recipe: Recipe, items: Sequence[BatchItem]) -> None:
    """Make the folders of all outputs, and make sure that each kind of output can be written there.

    Raises:
        UsageError: it cannot.
    """
    kinds = {(item.output.parent, item.output.suffix): item for item in items}
    for (folder, _), item in kinds.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder {folder}: {error.strerror}; choose another") from error
        recipe.check_output(item.output, item.photo, item.driver)


def animate_item(
    recipe: Recipe, animator: "Animator", item: BatchItem, progress: Progress | None = None
) -> ItemReport:
    """Animate one item. What goes wrong is in the report; nothing but an interruption is raised."""
    start = time.perf_counter()
    try:
        remove_leftovers(item.output)
        result = recipe.animate(animator, item.photo, item.driver, item.output, progress)
    except FaceanimError as error:
        reason = str(error)
    except Exception as error:  # a fault of ours, or of this machine: the other items may do without
        logger.debug("%s + %s", item.photo, item.driver, exc_info=error)
        reason = f"internal error: {type(error).__name__}: {error}"
    else:
        seconds = round(time.perf_counter() - start, 3)
        return ItemReport.of(item, "done", frames=result.frames, fps=result.fps, seconds=seconds)
    reason = " ".join(reason.split())
    return ItemReport.of(item, "failed", seconds=round(time.perf_counter() - start, 3), error=reason)


def _results(
    recipe: Recipe, items: Sequence[BatchItem], listener: Listener, settings: BatchSettings
) -> Iterator[ItemReport]:
    if not items:
        return
    if settings.cluster is not None:
        from faceanim_cli.animation.cluster import RayCrew  # noqa: PLC0415 (an extra)
        from faceanim_cli.animation.crew import animate_with  # noqa: PLC0415

        with RayCrew(recipe, settings.cluster, settings.workers, len(items)) as crew:
            yield from animate_with(crew, items, listener)
    elif min(settings.workers or 1, len(items)) > 1:
        from faceanim_cli.animation.crew import animate_with  # noqa: PLC0415
        from faceanim_cli.animation.processes import ProcessCrew  # noqa: PLC0415

        with ProcessCrew(recipe, min(settings.workers or 1, len(items))) as crew:
            yield from animate_with(crew, items, listener)
    else:
        yield from _animate_here(recipe, items, listener)


def _animate_here(recipe: Recipe, items: Sequence[BatchItem], listener: Listener) -> Iterator[ItemReport]:
    animator = recipe.animator()
    for item in items:

        def tell(done: int, expected: int | None, item: BatchItem = item) -> None:
            listener.frames(item, done, expected)

        yield animate_item(recipe, animator, item, tell)
