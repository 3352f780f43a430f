"""Hands a batch's items to workers, and replaces workers that die."""

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from faceanim_cli.batch.items import BatchItem, BatchListener, ItemReport
from faceanim_cli.errors import FaceanimError
from faceanim_cli.media.atomic_file import remove_leftovers

logger = logging.getLogger(__name__)

ATTEMPTS = 2  # for an item whose worker dies, and for a worker that dies as it starts: once may be bad luck


@dataclass(frozen=True)
class FramesDone:
    """A worker has come so far with its item."""

    frames: int
    expected: int | None


@dataclass(frozen=True)
class WorkerDied:
    """A worker with an item is gone: killed, out of memory, its machine or its GPU lost."""

    reason: str
    started: bool = True
    """Whether it had loaded the networks. If not, its item has nothing to do with it."""


WorkerEvent: TypeAlias = FramesDone | ItemReport | WorkerDied


class WorkerPool(Protocol):
    """Workers that are at one item each; a context manager that stops them, with nothing left half done."""

    size: int

    def start(self, worker: int, item: BatchItem) -> None:
        """Give an item to a worker (0 to size - 1) that has none. One that died is replaced."""

    def wait(self) -> tuple[int, WorkerEvent]:
        """The next event of a worker that has an item, and which worker; what befalls an idle one is none.

        Raises:
            FaceanimError: no worker could begin: weights, device.
        """


def run_in_pool(
    pool: WorkerPool, items: Sequence[BatchItem], listener: BatchListener
) -> Iterator[ItemReport]:
    """Have all items animated by a pool, each to its end once.

    Raises:
        FaceanimError: as :meth:`WorkerPool.wait`, or all workers die as they start.
    """
    queue = PhotoQueue(items)
    idle, at_work = set(range(pool.size)), dict[int, BatchItem]()
    deaths: Counter[BatchItem] = Counter()
    false_starts: Counter[int] = Counter()

    def assign_items() -> bool:
        """Whether there is anybody to wait for."""
        for worker in sorted(idle):
            item = queue.next_for(worker)
            if item is not None:
                idle.remove(worker)
                at_work[worker] = item
                pool.start(worker, item)
        return bool(at_work)

    while assign_items():
        worker, event = pool.wait()
        item = at_work[worker]
        if isinstance(event, FramesDone):
            listener.frames(item, event.frames, event.expected)
            continue
        del at_work[worker]
        idle.add(worker)
        if isinstance(event, ItemReport):
            yield event
            continue
        remove_leftovers(item.output)
        if event.started:
            false_starts[worker] = 0
            deaths[item] += 1
        else:
            false_starts[worker] += 1
        if false_starts[worker] == ATTEMPTS:
            idle.remove(worker)
            if not idle and not at_work:
                raise FaceanimError(f"workers cannot begin: {event.reason}; ask for fewer --workers")
            logger.warning("a worker cannot begin (%s); the others go on without it", event.reason)
        if deaths[item] == ATTEMPTS:
            error = f"its worker died, {ATTEMPTS} times ({event.reason})"
            yield ItemReport.of(item, "failed", error=error)
        else:
            queue.requeue(item)
            if event.started:
                logger.warning(
                    "%s + %s: its worker died (%s); tried again", item.photo, item.driver, event.reason
                )


class PhotoQueue:
    """Items that wait, so handed out that each photo is encoded by few workers: a worker keeps its photo."""

    def __init__(self, items: Sequence[BatchItem]) -> None:
        self._waiting: dict[Path, deque[BatchItem]] = {}
        self._photo_of: dict[int, Path] = {}
        for item in items:
            self.requeue(item)

    def requeue(self, item: BatchItem) -> None:
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
