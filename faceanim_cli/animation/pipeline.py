"""Stages that work side by side, each in a thread of its own, joined by short queues.

Decoding, inference and encoding take turns on different parts of a machine: ffmpeg's processes, torch's
threads, a GPU. In a pipeline each is at work while the next one is at work on what came before. Queues are
short: memory is that of a few items, however many pass.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 4  # items that may wait between two stages: evens out their unequal pace, and is still little memory
WAKE_S = 0.5  # Windows does not see Ctrl-C in a wait without an end


class StageEndedError(Exception):
    """The pipeline is over; nobody sees it."""


class Pipeline:
    """Owns the threads of stages, and ends them all together.

    A stage is an iterator that a thread runs ahead of whoever takes its items::

        with Pipeline() as pipeline:
            frames = pipeline.stage("decode", video)
            results = pipeline.stage("infer", animator.animate(frames))
            for result in results:  # the last stage is the caller's own thread
                writer.write(result)

    What a stage raises is raised to who takes its items, after the items before it; unhandled, it passes on
    to the next stage, and in the end out of the block. However the block is left (done, a fault, Ctrl-C), no
    stage goes on: each finishes the item that it is at, iterators are closed in their own threads, and the
    block ends when all threads have.
    """

    def __init__(self) -> None:
        # One lock for all stages: there are few, and items are large. It also wakes everybody at the end.
        self._changed = threading.Condition()
        self._over = False
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """End the work of a stage whose items nobody will take any more: it raises StageEndedError then."""
        if self._over:
            raise StageEndedError

    def stage(self, name: str, source: Iterable[T], depth: int = DEPTH) -> "Stage[T]":
        """Start a thread that takes items from ``source``, up to ``depth`` ahead.

        Args:
            name: of the thread, for debuggers.
            source: belongs to the thread from now on; if it has ``close()``, the thread calls it at the end.
            depth: items that may wait.
        """
        stage = Stage(self, source, depth)
        thread = threading.Thread(target=stage.work, name=f"faceanim-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return stage


class Stage(Iterator[T], Generic[T]):
    """What :meth:`Pipeline.stage` gives: the items of a source, once, in order."""

    def __init__(self, pipeline: Pipeline, source: Iterable[T], depth: int) -> None:
        self._pipeline, self._source, self._depth = pipeline, source, depth
        self._changed = pipeline._changed
        self._waiting: deque[T] = deque()
        self._ended = False
        self._fault: BaseException | None = None

    def __next__(self) -> T:
        with self._changed:
            while not self._changed.wait_for(
                lambda: self._waiting or self._ended or self._pipeline._over, WAKE_S
            ):
                pass
            if self._pipeline._over or not self._waiting:
                fault, self._fault = self._fault, None
                if fault is not None and not self._pipeline._over:
                    raise fault
                raise StopIteration
            item = self._waiting.popleft()
            self._changed.notify_all()
            return item

    def work(self) -> None:
        """The thread's part; :meth:`Pipeline.stage` starts it."""
        fault: BaseException | None = None
        try:
            items = iter(self._source)
            try:
                for item in items:
                    if not self._put(item):
                        break
            finally:
                close = getattr(items, "close", None)
                if close is not None:
                    close()
        except BaseException as error:  # raised again where the items are taken
            fault = error
        with self._changed:
            self._fault, self._ended = fault, True
            self._changed.notify_all()

    def _put(self, item: T) -> bool:
        """Queue an item as soon as there is room; False when nobody will take it any more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < self._depth or self._pipeline._over)
            if self._pipeline._over:
                return False
            self._waiting.append(item)
            self._changed.notify_all()
            return True
