"""Several workers: who gets what, and what the death of one costs."""

import logging
import multiprocessing
import os
from collections import Counter
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest
import torch

from faceanim_cli.batch.items import BatchItem, ItemReport
from faceanim_cli.batch.pool import FramesDone, PhotoQueue, WorkerDied, WorkerEvent, run_in_pool
from faceanim_cli.batch.run import BatchSettings
from faceanim_cli.batch.worker import WorkerLostError, check_device
from faceanim_cli.errors import FaceanimError, WeightsError
from tests.batch.text_job import Recorder, TextJob, items, run_batch

posix = pytest.mark.skipif(os.name != "posix", reason="kill -9")


# --- who gets what


def take_turns(queue: PhotoQueue, workers: int) -> list[list[str]]:
    """What each worker gets when all are equally fast."""
    got: list[list[str]] = [[] for _ in range(workers)]
    while True:
        given = [(worker, queue.next_for(worker)) for worker in range(workers)]
        for worker, item in given:
            if item is not None:
                got[worker].append(item.output.stem)
        if all(item is None for _, item in given):
            return got


def test_each_worker_keeps_to_a_photo(tmp_path: Path) -> None:
    queue = PhotoQueue(items(tmp_path, "a", "b", "c", drivers=2))
    assert take_turns(queue, 2) == [["a-0", "a-1", "c-0"], ["b-0", "b-1", "c-1"]]


def test_workers_share_one_photo(tmp_path: Path) -> None:
    queue = PhotoQueue(items(tmp_path, "a", drivers=5))
    assert take_turns(queue, 2) == [["a-0", "a-2", "a-4"], ["a-1", "a-3"]]


def test_what_is_put_back_is_given_out_again(tmp_path: Path) -> None:
    queue = PhotoQueue(items(tmp_path, "a", drivers=1))
    item = queue.next_for(0)
    assert item is not None
    assert queue.next_for(1) is None
    queue.requeue(item)
    assert queue.next_for(1) == item


# --- what the death of a worker costs


class ScriptedPool:
    """Workers that do what a script says: for each photo, the events before it is done."""

    def __init__(self, size: int, script: dict[str, list[WorkerEvent]]) -> None:
        self.size, self._script = size, script
        self._running: dict[int, BatchItem] = {}
        self.starts = 0

    def start(self, worker: int, item: BatchItem) -> None:
        assert worker not in self._running
        self._running[worker] = item
        self.starts += 1

    def wait(self) -> tuple[int, WorkerEvent]:
        worker, item = min(self._running.items(), key=lambda running: running[0])
        events = self._script.get(item.photo.stem)
        event = events.pop(0) if events else ItemReport.of(item, "done")
        if not isinstance(event, FramesDone):
            del self._running[worker]
        return worker, event


def finish(pool: ScriptedPool, batch: list[BatchItem]) -> dict[str, str | None]:
    """What became of each item: None, or why it failed."""
    return {Path(r.output).stem: r.error for r in run_in_pool(pool, batch, Recorder())}


def test_an_item_is_tried_again_once(tmp_path: Path) -> None:
    died = WorkerDied("signal 9")
    pool = ScriptedPool(1, {"a": [died], "b": [FramesDone(1, 2), died, died]})
    assert finish(pool, items(tmp_path, "a", "b", "c", drivers=1)) == {
        "a-0": None,
        "b-0": "its worker died, 2 times (signal 9)",
        "c-0": None,
    }


def test_what_a_dead_worker_leaves_is_taken_by_one_that_is_idle(tmp_path: Path) -> None:
    unborn = WorkerDied("signal 9", started=False)
    pool = ScriptedPool(2, {"a": [unborn, unborn]})
    assert finish(pool, items(tmp_path, "a", "b", drivers=1)) == {"a-0": None, "b-0": None}


def test_a_worker_that_cannot_begin_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    unborn = WorkerDied("signal 9", started=False)
    pool = ScriptedPool(2, {"a": [unborn, unborn]})
    batch = items(tmp_path, "a", "b", drivers=3)
    assert finish(pool, batch) == {item.output.stem: None for item in batch}
    assert "a worker cannot begin (signal 9); the others go on without it" in caplog.text


def test_when_no_worker_can_begin_the_batch_ends_and_blames_no_item(tmp_path: Path) -> None:
    pool = ScriptedPool(2, {name: [WorkerDied("signal 9", started=False)] * 9 for name in "ab"})
    with pytest.raises(FaceanimError, match=r"workers cannot begin: signal 9; ask for fewer --workers"):
        finish(pool, items(tmp_path, "a", "b", drivers=9))
    assert pool.starts == 4


# --- processes


@posix
def test_processes_do_every_item_though_some_die(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ["a", "fragile", "faceless", "deadly", "mumbling", "odd"]
    batch = items(tmp_path, *names, drivers=1)
    recorder, log = Recorder(), tmp_path / "log"
    with caplog.at_level(logging.WARNING):
        outcome = run_batch(TextJob(log), batch, recorder, BatchSettings(workers=2))
    reports = {Path(report.photo).stem: report for report in outcome.reports}
    assert len(outcome.reports) == len(names)
    failed = ("deadly", "faceless")
    assert {name: report.status for name, report in reports.items()} == {
        name: "failed" if name in failed else "done" for name in names
    }
    assert reports["deadly"].error == "its worker died, 2 times (signal 9)"
    done = {f"{name}-0.mp4" for name in names if name not in failed}
    assert {path.name for path in (tmp_path / "out").iterdir()} == done
    ends = Counter(line for line in log.read_text().splitlines() if line.startswith("end"))
    assert ends == {f"end {name}": 1 for name in done}
    assert ("a-0.mp4", 2, 2) in recorder.seen  # frames are told
    assert "WorkerSlot(worker=1, workers=2)" in log.read_text()
    assert "fragile.jpg + 0.mp4: its worker died (signal 9); tried again" in caplog.text
    assert capfd.readouterr().err.endswith("odd.jpg + 0.mp4: 0.mp4: frames 24: 100% odd\n")
    assert "mumbling.jpg + 0.mp4: its worker died (exit code 1); tried again" in caplog.text


@posix
def test_the_death_of_idle_workers_and_of_those_that_start_costs_no_item(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One worker dies as it starts, twice; the next has nothing to do any more when it dies."""
    batch = items(tmp_path, "slow", "leaving", drivers=1)
    with caplog.at_level(logging.WARNING):
        outcome = run_batch(TextJob(tmp_path / "log"), batch, Recorder(), BatchSettings(workers=2))
    assert sorted(report.status for report in outcome.reports) == ["done", "done"]
    assert caplog.text == ""
    outcome = run_batch(
        TextJob(tmp_path / "log", "deadly"), batch[1:] * 2, Recorder(), BatchSettings(workers=2)
    )
    assert [report.status for report in outcome.reports] == ["done", "done"]


def test_workers_start_where_pipes_are_not_of_the_class_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where they are PipeConnections."""

    class PipeConnection:
        def __init__(self, pipe: Any) -> None:
            self._pipe = pipe

        def __getattr__(self, name: str) -> Any:
            return getattr(self._pipe, name)

    real = BaseContext.Pipe

    def pipe(context: Any) -> Any:
        ours, theirs = real(context)
        return PipeConnection(ours), theirs

    monkeypatch.setattr(BaseContext, "Pipe", pipe)
    outcome = run_batch(TextJob(tmp_path / "log"), items(tmp_path, "a"), Recorder(), BatchSettings(workers=2))
    assert [report.status for report in outcome.reports] == ["done", "done"]


def test_a_process_whose_gpu_is_lost_retires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In one process too: what is left is done in another one."""

    def fail(device: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with ...")

    monkeypatch.setattr("torch.cuda.synchronize", fail)
    batch = items(tmp_path, "a", "poisoned", "faceless", "b", drivers=1)
    outcome = run_batch(TextJob(tmp_path / "log"), batch, Recorder())
    assert {Path(r.photo).stem: r.status for r in outcome.reports} == {
        "a": "done",
        "poisoned": "done",
        "faceless": "failed",
        "b": "done",
    }
    loads = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("load")]
    assert loads == ["load None", "load WorkerSlot(worker=0, workers=1)"]
    said = "CUDA error: an illegal memory access was encountered; tried again in a new process\n"
    assert caplog.text.endswith(f"poisoned.jpg + 0.mp4: {said}")
    with pytest.raises(WorkerLostError, match=r"^CUDA error: an illegal memory access was encountered$"):
        check_device(torch.device("cuda"))
    check_device(torch.device("cpu"))


def test_workers_end_before_an_error_of_their_batch_is_told(tmp_path: Path) -> None:
    """Such as a report whose disk is full, or a pipe that nobody reads any more."""

    class Unheard(Recorder):
        def item(self, report: ItemReport) -> None:
            raise BrokenPipeError

    batch = items(tmp_path, "a", "slow", drivers=1)
    with pytest.raises(BrokenPipeError):
        run_batch(TextJob(tmp_path / "log"), batch, Unheard(), BatchSettings(workers=2))
    assert multiprocessing.active_children() == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a-0.mp4"]


@pytest.mark.parametrize(
    ("device", "kind", "said"),
    [
        ("none", WeightsError, "no such weights"),
        ("broken", FaceanimError, "cannot begin: MemoryError: no room; ask for fewer --workers"),
    ],
)
def test_a_worker_that_cannot_begin_ends_the_batch(
    tmp_path: Path, device: str, kind: type[FaceanimError], said: str
) -> None:
    job = TextJob(tmp_path / "log", device)
    with pytest.raises(kind, match=said):
        run_batch(job, items(tmp_path, "a", "b"), Recorder(), BatchSettings(workers=2))


class Interrupter(Recorder):
    """Presses Ctrl-C when work is under way."""

    def frames(self, item: BatchItem, done: int, expected: int | None) -> None:
        raise KeyboardInterrupt


@posix
def test_interrupted_processes_leave_nothing(tmp_path: Path) -> None:
    batch = items(tmp_path, "slow", drivers=2)
    with pytest.raises(KeyboardInterrupt):
        run_batch(TextJob(tmp_path / "log"), batch, Interrupter(), BatchSettings(workers=2))
    assert list((tmp_path / "out").iterdir()) == []
