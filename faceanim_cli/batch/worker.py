"""What a batch worker does with an item, in whichever process or on whichever machine it runs."""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from faceanim_cli.batch.items import BatchItem, ItemReport
from faceanim_cli.batch.report import input_stamps
from faceanim_cli.errors import FaceanimError
from faceanim_cli.media.atomic_file import remove_leftovers
from faceanim_cli.pictures import Progress

if TYPE_CHECKING:  # a dry run need not wait for torch
    import torch

    from faceanim_cli.animation.animator import Animator
    from faceanim_cli.animation.result import AnimationResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerSlot:
    """Which of a machine's workers this is, so that it takes its part of the machine; see ``device.py``."""

    worker: int
    """Its number, from 0."""
    workers: int
    """How many there are on the machine."""


class BatchJob(Protocol):
    """How each item is animated. Workers get a pickled copy."""

    @property
    def device(self) -> str:
        """auto, cpu, cuda, cuda:1 or mps."""

    def check_output(self, output: Path, photo: Path, driver: Path) -> None:
        """Refuse, before hours of work, an output that cannot be written."""

    def check_replacing(self, outputs: Sequence[Path]) -> None:
        """Refuse to replace what faceanim did not make; of what is not there nothing is lost."""

    def animator(self, slot: WorkerSlot | None = None) -> "Animator":
        """Load the networks, into a part of the machine if it has several workers."""

    def result_settings(self) -> dict[str, Any]:
        """What results depend on besides photo and driver: JSON values, lists and no tuples among them."""

    def animate(
        self, animator: "Animator", photo: Path, driver: Path, output: Path, progress: Progress | None = None
    ) -> "AnimationResult":
        """Animate one photo with one driver into one file, which appears when it is whole."""


class WorkerLostError(Exception):
    """This process can animate nothing any more: its GPU refuses all work. Another process may."""


def animate_item(
    job: BatchJob, animator: "Animator", item: BatchItem, progress: Progress | None = None, **more: Any
) -> ItemReport:
    """Animate one item; ``more`` is what else ``job.animate`` takes. What goes wrong is in the report.

    Raises:
        WorkerLostError: it went wrong so that this process is of no use for the other items either.
    """
    start, stamps = time.perf_counter(), input_stamps(item)
    try:
        remove_leftovers(item.output)
        with _log_lines_name(item):
            result = job.animate(animator, item.photo, item.driver, item.output, progress, **more)
    except FaceanimError as error:
        reason = str(error)
    except Exception as error:  # a fault of ours, or of this machine: the other items may do without
        logger.debug("%s + %s", item.photo, item.driver, exc_info=error)
        reason = "out of memory; ask for fewer --workers, a smaller --batch-size or a smaller --size"
        if not _is_out_of_memory(error):
            reason = f"internal error: {type(error).__name__}: {error}"
    else:
        seconds = round(time.perf_counter() - start, 3)
        return ItemReport.of(
            item, "done", frames=result.frames, fps=result.fps, seconds=seconds, inputs=stamps
        )
    check_device(animator.device)
    seconds, reason = round(time.perf_counter() - start, 3), " ".join(reason.split())
    return ItemReport.of(item, "failed", seconds=seconds, error=reason, inputs=stamps)


def _is_out_of_memory(error: Exception) -> bool:
    """Of a CPU or a GPU; the item may be larger than the others, which then go on."""
    of_gpu = type(error).__name__ == "OutOfMemoryError"  # torch's, which need not be loaded for this
    return isinstance(error, MemoryError) or of_gpu or "can't allocate memory" in str(error)


def check_device(device: "torch.device") -> None:
    """After a failure: an illegal memory access on CUDA fails everything that its process asks for later.

    Raises:
        WorkerLostError: that has happened.
    """
    if device.type != "cuda":
        return
    import torch  # noqa: PLC0415 (not needed for a dry run)

    try:
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        raise WorkerLostError(str(error).partition("\n")[0]) from error


@contextlib.contextmanager
def _log_lines_name(item: BatchItem) -> Iterator[None]:
    """Begin each line of our log with the pair, in all threads: a process is at one pair at a time."""
    make = logging.getLogRecordFactory()

    def named(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if record.name.startswith("faceanim_cli"):
            record.msg, record.args = f"{item.photo} + {item.driver}: {record.getMessage()}", ()
        return record

    logging.setLogRecordFactory(named)
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)
