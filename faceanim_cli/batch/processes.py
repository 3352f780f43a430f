"""Workers on this machine: processes that each load the networks once, on a GPU of their own where there are
several.
"""

import contextlib
import logging
import multiprocessing
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NoReturn

from faceanim_cli.batch.items import BatchItem
from faceanim_cli.batch.pool import FramesDone, WorkerDied, WorkerEvent
from faceanim_cli.batch.worker import BatchJob, WorkerSlot, animate_item
from faceanim_cli.errors import FaceanimError

GRACE_S = 10.0  # for a worker to remove what it has half done


@dataclass
class _Worker:
    process: BaseProcess
    pipe: "Connection[BatchItem, WorkerEvent | FaceanimError]"


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
        for worker in self._workers.values():
            worker.process.join(GRACE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()

    def start(self, worker: int, item: BatchItem) -> None:
        """See ``WorkerPool``."""
        if worker not in self._workers:
            self._workers[worker] = self._new(worker)
        with contextlib.suppress(BrokenPipeError):  # it died while it was idle: wait() finds its pipe closed
            self._workers[worker].pipe.send(item)

    def wait(self) -> tuple[int, WorkerEvent]:
        """See ``WorkerPool``."""
        number, pipe = self._ready()
        try:
            event = pipe.recv()
        except (EOFError, ConnectionResetError):
            worker = self._workers.pop(number)
            worker.process.join()
            worker.pipe.close()
            code = worker.process.exitcode or 0
            return number, WorkerDied(f"signal {-code}" if code < 0 else f"exit code {code}")
        if isinstance(event, FaceanimError):
            raise event
        return number, event

    def _ready(self) -> "tuple[int, Connection[BatchItem, WorkerEvent | FaceanimError]]":
        pipes = {worker.pipe: number for number, worker in self._workers.items()}
        while True:
            # A wait without an end would not see Ctrl-C on Windows.
            for pipe in wait(list(pipes), timeout=0.5):
                assert isinstance(pipe, Connection)
                return pipes[pipe], pipe

    def _new(self, number: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        level = logging.getLogger("faceanim_cli").getEffectiveLevel()
        arguments = (theirs, self._job, WorkerSlot(number, self.size), level)
        process = self._context.Process(target=_work, args=arguments, name=f"faceanim-worker-{number}")
        process.start()
        theirs.close()  # so that ours ends when the process does
        return _Worker(process, ours)


def _work(
    pipe: "Connection[WorkerEvent | FaceanimError, BatchItem]",
    job: BatchJob,
    slot: WorkerSlot,
    level: int,
) -> None:
    """A worker's life: load, then animate what it is given until nobody gives any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who started us ends us
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
            pipe.send(FaceanimError(f"a worker cannot begin: {type(error).__name__}: {error}"))
            return
        while True:
            pipe.send(animate_item(job, animator, pipe.recv(), tell))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # whoever started us is gone


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
