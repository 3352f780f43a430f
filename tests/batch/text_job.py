"""Jobs that need no networks: an item becomes a text file, and some items go wrong in a certain way."""

import logging
import multiprocessing
import os
import signal
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faceanim_cli.batch.items import BatchItem
from faceanim_cli.batch.run import BatchOutcome, BatchSettings, prepare_batch, run_prepared
from faceanim_cli.batch.worker import WorkerSlot
from faceanim_cli.commands.options import check_replacing
from faceanim_cli.errors import NoFaceError, WeightsError
from faceanim_cli.media import whole_file
from faceanim_cli.pictures import Progress


@dataclass(frozen=True)
class TextJob:
    """Writes the names of photo and driver. What a photo is called says what happens to it:

    odd: there is a warning; faceless: NoFaceError; buggy: a fault of ours; greedy, huge: no memory, of the
    CPU or the GPU; deadly: kills its process each time; slow: takes 20 frames of 0.1 s. Only the first time:
    fragile kills its process; mumbling lets it hang up in the middle of a message; poisoned makes its GPU
    fail for good. leaving kills its process when it is done and idle.

    A device "none" has no weights, "broken" fails to load; "deadly" kills each process that loads, but for
    the worker 0.
    """

    log: Path
    device: str = "cpu"
    style: str = "plain"

    def check_output(self, output: Path, photo: Path, driver: Path) -> None:
        pass

    def check_replacing(self, outputs: Sequence[Path]) -> None:
        check_replacing(outputs, False, lambda path: not path.exists() or path.read_text() != "precious")

    def result_settings(self) -> dict[str, Any]:
        return {"style": self.style, "weights_sha256": "0123"}

    def animator(self, slot: WorkerSlot | None = None) -> Any:
        if self.device == "none":
            raise WeightsError("no.safetensors: no such weights file")
        if self.device == "broken":
            raise MemoryError("no room")
        if self.device == "deadly" and slot is not None and slot.worker > 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._note(f"load {slot}")
        return SimpleNamespace(device=SimpleNamespace(type="cpu"))

    def animate(
        self, animator: Any, photo: Path, driver: Path, output: Path, progress: Progress | None = None
    ) -> Any:
        frames = 20 if photo.stem == "slow" else 2
        with whole_file(output) as partial:
            partial.write_text(f"{photo.stem} {driver.stem}")
            self._note(f"begin {output.name}")
            if photo.stem == "odd":
                logging.getLogger("faceanim_cli.animation").warning("%s: frames %d: 100%% odd", driver, 24)
            if photo.stem == "faceless":
                raise NoFaceError(f"{photo}: no face found")
            if photo.stem == "greedy":
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")
            if photo.stem == "huge":
                import torch  # seconds, in each process

                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
            if photo.stem == "buggy":
                raise ZeroDivisionError("division\nby zero")
            if photo.stem == "deadly":
                os.kill(os.getpid(), signal.SIGKILL)
            first = f"first {photo.stem}\n" not in self.log.read_text()
            if first and photo.stem in {"fragile", "mumbling", "poisoned"}:
                self._note(f"first {photo.stem}")
                _go_wrong(photo.stem, animator)
            for frame in range(frames):
                if photo.stem == "slow":
                    time.sleep(0.1)
                if progress is not None:
                    progress(frame + 1, frames)
        self._note(f"end {output.name}")
        if photo.stem == "leaving":
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return SimpleNamespace(output=output, frames=frames, fps=25.0)

    def _note(self, line: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{line}\n")


def _go_wrong(how: str, animator: Any) -> None:
    if how == "fragile":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "mumbling":
        pipe = multiprocessing.current_process()._args[0]  # type: ignore[attr-defined]
        os.write(pipe.fileno(), struct.pack("!i", 1000) + b"the beginning of")
        os._exit(1)
    animator.device.type = "cuda"
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with ...")


def run_batch(
    job: Any, made: list[BatchItem], listener: Any, settings: BatchSettings | None = None
) -> BatchOutcome:
    """Prepared and run, as the command does it."""
    settings = settings or BatchSettings()
    return run_prepared(job, prepare_batch(job, made, settings), listener, settings)


class Recorder:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def frames(self, item: Any, done: int, expected: int | None) -> None:
        self.seen.append((item.output.name, done, expected))

    def item(self, report: Any) -> None:
        self.seen.append((Path(report.output).name, report.status))

    def already_done(self, count: int) -> None:
        self.seen.append(("there already", count))


def items(folder: Path, *photos: str, drivers: int = 2) -> list[BatchItem]:
    """Items of each photo with ``drivers`` drivers, photo by photo."""
    return [
        BatchItem(folder / f"{photo}.jpg", Path(f"{n}.mp4"), folder / "out" / f"{photo}-{n}.mp4")
        for photo in photos
        for n in range(drivers)
    ]
