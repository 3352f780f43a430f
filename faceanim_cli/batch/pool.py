"""Workers that share a batch: who gets which item, and what happens when one of them dies."""

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from faceanim_cli.batch.items import BatchItem, BatchListener, ItemReport
from faceanim_cli.media.atomic_file import remove_leftovers

logger = logging.getLogger(__name__)

ATTEMPTS = 2  # for an item whose worker dies: it may have been the item that needed too much memory, or not


@dataclass(frozen=True)
class FramesDone:
    """A worker has come so far with its item."""

    frames: int
    expected: int | None


@dataclass(frozen=True)
class WorkerDied:
    """A worker is gone without a word: out of memory, killed, its machine lost."""

    reason: str


WorkerEvent: TypeAlias = FramesDone | ItemReport | WorkerDied


class WorkerPool(Protocol):
    """Workers that are at one item each; a context manager that stops them, with nothing left half done."""

    size: int

    def start(self, worker: int, item: BatchItem) -> None:
        """Give an item to a worker (0 to size - 1) that has none. One that died is replaced."""

    def wait(self) -> tuple[int, WorkerEvent]:
        """The next that happens, and to which worker.

        Raises:
            FaceanimError: a worker cannot begin at all: weights, device.
        """


def run_in_pool(
    pool: WorkerPool, items: Sequence[BatchItem], listener: BatchListener
) -> Iterator[ItemReport]:
    """Have all items animated by a pool, each to its end once.

    Raises:
        FaceanimError: as :meth:`WorkerPool.wait`.
    """
    queue = PhotoQueue(items)
    at_work: dict[int, BatchItem] = {}

    def start_next(worker: int) -> None:
        item = queue.next_for(worker)
        if item is not None:
            at_work[worker] = item
            pool.start(worker, item)

    for worker in range(pool.size):
        start_next(worker)
    deaths: Counter[BatchItem] = Counter()
    while at_work:
        worker, event = pool.wait()
        if isinstance(event, FramesDone):
            listener.frames(at_work[worker], event.frames, event.expected)
            continue
        item = at_work.pop(worker)
        if isinstance(event, ItemReport):
            yield event
        else:
            deaths[item] += 1
            remove_leftovers(item.output)
            if deaths[item] < ATTEMPTS:
                logger.warning("a worker died (%s): %s is tried again", event.reason, item.output)
                queue.put_back(item)
            else:
                error = f"its worker died, {ATTEMPTS} times ({event.reason})"
                yield ItemReport.of(item, "failed", error=error)
        start_next(worker)


class PhotoQueue:
    """Items that wait, so handed out that each photo is encoded by few workers: a worker keeps its photo."""

    def __init__(self, items: Sequence[BatchItem]) -> None:
        self._waiting: dict[Path, deque[BatchItem]] = {}
        self._photo_of: dict[int, Path] = {}
        for item in items:
            self.put_back(item)

    def put_back(self, item: BatchItem) -> None:
        """Let an item wait, behind the others of its photo."""
        self._waiting.setdefault(item.photo, deque()).append(item)

    def next_for(self, worker: int) -> BatchItem | None:
        """An item of the photo that the worker has, else of one that nobody has, else of the fullest."""
        if not self._waiting:
            return None
        photo = self._photo_of.get(worker)
        if photo not in self._waiting:
            taken = set(self._photo_of.values())
            free = (photo for photo in self._waiting if photo not in taken)
            photo = next(free, None) or max(self._waiting, key=lambda photo: len(self._waiting[photo]))
        self._photo_of[worker] = photo
        item = self._waiting[photo].popleft()
        if not self._waiting[photo]:
            del self._waiting[photo]
        return item
