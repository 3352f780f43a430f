"""Workers on this machine: processes that each load the networks once, on a GPU of their own where there are
several.
"""

import contextlib
import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NoReturn, TypeAlias

from faceanim_cli.batch.items import BatchItem
from faceanim_cli.batch.pool import FramesDone, WorkerDied, WorkerEvent
from faceanim_cli.batch.worker import BatchJob, WorkerLostError, WorkerSlot, animate_item
from faceanim_cli.errors import FaceanimError

GRACE_S = 10.0  # for the workers to remove what they have half done


@dataclass(frozen=True)
class WorkerReady:
    """The networks are loaded."""


Message: TypeAlias = WorkerEvent | WorkerReady | FaceanimError
"""What a worker sends; an error is one that no worker can do anything about, such as missing weights."""


@dataclass
class _Worker:
    process: BaseProcess
    pipe: "Connection[BatchItem, Message]"
    ready: bool = False
    busy: bool = False


class ProcessPool:
    """See ``WorkerPool``. Processes are started anew, not forked: a fork cannot use CUDA."""

    def __init__(self, job: BatchJob, size: int) -> None:
        self.size = size
        self._job = job
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, _Worker] = {}

    def __enter__(self) -> "ProcessPool":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers.values():
            worker.process.terminate()
        deadline = time.monotonic() + GRACE_S
        for worker in self._workers.values():
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()

    def start(self, worker: int, item: BatchItem) -> None:
        """See ``WorkerPool``."""
        there = self._workers.get(worker)
        if there is not None and not there.process.is_alive():  # it died while it was idle
            self._discard(worker)
            there = None
        if there is None:
            there = self._workers[worker] = self._new(worker)
        there.busy = True
        with contextlib.suppress(OSError):  # it died this moment: wait() finds its pipe closed
            there.pipe.send(item)

    def wait(self) -> tuple[int, WorkerEvent]:
        """See ``WorkerPool``."""
        while True:
            number = self._next_sender()
            worker = self._workers[number]
            message = self._receive(number)
            if isinstance(message, FaceanimError):
                raise message
            if isinstance(message, WorkerReady):
                worker.ready = True
            elif worker.busy:
                worker.busy = isinstance(message, FramesDone)
                return number, message

    def _next_sender(self) -> int:
        """The number of a worker that has sent something, or has closed its pipe."""
        while True:
            pipes = [worker.pipe for worker in self._workers.values()]
            # A wait without an end would not see Ctrl-C on Windows.
            ready = wait(pipes, timeout=0.5)
            for number, worker in self._workers.items():
                if worker.pipe in ready:
                    return number

    def _receive(self, number: int) -> Message:
        """What a worker has sent. One that hung up, or does so in the middle of a message, has died."""
        worker = self._workers[number]
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            code = self._discard(number)
            return WorkerDied(f"signal {-code}" if code < 0 else f"exit code {code}", worker.ready)
        if isinstance(message, WorkerDied):  # its last word
            self._discard(number)
        return message

    def _discard(self, number: int) -> int:
        """Forget a worker that is gone, or is going; its exit code."""
        worker = self._workers.pop(number)
        worker.pipe.close()
        worker.process.join(GRACE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        return worker.process.exitcode or 0

    def _new(self, number: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        level = logging.getLogger("faceanim_cli").getEffectiveLevel()
        arguments = (theirs, self._job, WorkerSlot(number, self.size), level)
        process = self._context.Process(target=_work, args=arguments, name=f"faceanim-worker-{number}")
        with _ignoring_interrupts():  # which the process inherits until it can see to them itself
            process.start()
        theirs.close()  # so that ours ends when the process does
        return _Worker(process, ours)


def _work(pipe: "Connection[Message, BatchItem]", job: BatchJob, slot: WorkerSlot, level: int) -> None:
    """A worker's life: load, then animate what it is given until nobody gives any more."""
    # Ctrl-C and a closed terminal reach the whole group: who started us ends us.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("faceanim_cli").setLevel(level)

    def tell(done: int, expected: int | None) -> None:
        pipe.send(FramesDone(done, expected))

    try:
        try:
            animator = job.animator(slot)
        except FaceanimError as error:
            pipe.send(error)
            return
        except Exception as error:
            pipe.send(WorkerDied(f"{type(error).__name__}: {error}", started=False))
            return
        pipe.send(WorkerReady())
        while True:
            pipe.send(animate_item(job, animator, pipe.recv(), tell))
    except WorkerLostError as error:
        pipe.send(WorkerDied(str(error)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # whoever started us is gone


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # others have no say in signals
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
