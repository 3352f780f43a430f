"""Batch workers on a Ray cluster. All its machines must see inputs and outputs under the same path."""

import logging
import math
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceanim_cli.batch.items import BatchItem, ItemReport
from faceanim_cli.batch.pool import WorkerDied, WorkerEvent
from faceanim_cli.batch.worker import BatchJob, WorkerLostError, WorkerSlot, animate_item
from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media.atomic_file import remove_leftovers

if TYPE_CHECKING:
    from faceanim_cli.animation.animator import Animator

GRACE_S = 10.0  # for a worker to remove what it has half done


class RayPool:
    """See ``WorkerPool``. A worker is an actor with a GPU of its own, or one CPU where there are no GPUs."""

    def __init__(self, job: BatchJob, address: str, size: int | None, items: int) -> None:
        """Connect.

        Args:
            job: for the workers.
            address: auto, HOST:PORT, ray://HOST:PORT, or local for a cluster of this machine alone.
            size: number of workers; None for one a GPU, or, without GPUs, one a machine.
            items: how many there are to do; more workers would be idle.

        Raises:
            UsageError: ray is not installed, there is no such cluster, or it is too small.
        """
        try:
            import ray  # noqa: PLC0415 (an extra)
        except ImportError as error:
            raise UsageError('--cluster needs ray: pip install "faceanim-cli[cluster]"') from error
        self._ray: Any = ray
        self._job = job
        self._actors: dict[int, Any] = {}
        self._running: dict[Any, tuple[int, BatchItem]] = {}
        self._connect(address)
        try:
            self.size = self._measure(size, items)
        except BaseException:
            ray.shutdown()
            raise

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *error: object) -> None:
        if self._running:
            for number, _ in self._running.values():
                self._actors[number].stop.remote()
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=GRACE_S)
            for actor in self._actors.values():
                self._ray.kill(actor)
            for _, item in self._running.values():
                remove_leftovers(item.output)
        self._ray.shutdown()

    def start(self, worker: int, item: BatchItem) -> None:
        """See ``WorkerPool``."""
        if worker not in self._actors:
            self._actors[worker] = self._kind.remote(self._job, self._slot, Path.cwd())
        self._running[self._actors[worker].animate.remote(item)] = worker, item

    def wait(self) -> tuple[int, WorkerEvent]:
        """See ``WorkerPool``. Frames are not told: they would cross the network one by one."""
        ready: list[Any] = []
        while not ready:
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=0.5)
        number, _ = self._running.pop(ready[0])
        try:
            event: ItemReport | WorkerDied | FaceanimError = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:
            event = WorkerDied(type(error).__name__)
        if isinstance(event, FaceanimError):
            raise event
        if isinstance(event, WorkerDied):
            # Where only the connection is lost the worker may still be at work: not beside its successor.
            self._ray.kill(self._actors.pop(number))
        return number, event

    def _connect(self, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers
        options: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
        if address == "local":
            options["include_dashboard"] = False
        handler = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"--cluster {address}: no Ray cluster answers ({reason})") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own in the place of ours, which tidies up

    def _measure(self, size: int | None, items: int) -> int:
        """How many workers, and what each of them takes."""
        resources = self._ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        machines = sum(node["Alive"] and "CPU" in node["Resources"] for node in self._ray.nodes())
        on_gpus = gpus > 0 and self._job.device != "cpu"
        room = gpus if on_gpus else cpus
        size = min(size or (gpus if on_gpus else max(1, machines)), items)
        if size > room:
            raise UsageError(
                f"--workers {size}: the cluster has {room} {'GPUs' if on_gpus else 'CPUs'}; ask for fewer"
            )
        # The first of those on its machine, as far as it sees: Ray shows each worker its own GPU only.
        self._slot = WorkerSlot(0, math.ceil(size / max(1, machines)))
        self._kind = self._ray.remote(
            num_cpus=1,
            num_gpus=1 if on_gpus else 0,
            scheduling_strategy="SPREAD",
            max_concurrency=2,  # so that stop() is heard
        )(_Worker)
        return size


class _Worker:
    """A Ray actor: loads the networks with its first item, and keeps them."""

    def __init__(self, job: BatchJob, slot: WorkerSlot, folder: Path) -> None:
        self._job, self._slot, self._folder = job, slot, folder
        self._animator: Animator | None = None
        self._stop = threading.Event()

    def animate(self, item: BatchItem) -> ItemReport | WorkerDied | FaceanimError | None:
        """The item's report; why this worker, or every worker, can animate nothing; None if stopped."""
        try:
            if self._animator is None:
                os.chdir(self._folder)  # from where relative paths count
                self._animator = self._job.animator(self._slot)
            return animate_item(self._job, self._animator, item, self._check)
        except FaceanimError as error:
            return error
        except WorkerLostError as error:
            return WorkerDied(str(error))
        except Exception as error:  # of loading: animate_item() raises none
            return WorkerDied(f"{type(error).__name__}: {error}", started=False)
        except _Stopped:
            return None

    def stop(self) -> None:
        """Leave the item that is being worked on."""
        self._stop.set()

    def _check(self, done: int, expected: int | None) -> None:
        if self._stop.is_set():
            raise _Stopped


class _Stopped(BaseException):
    """Passes through everything that takes faults for a failed item."""
