"""Several workers: who gets what, and what the death of one costs."""

import importlib.util
import json
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from faceanim_cli.batch.items import BatchItem
from faceanim_cli.batch.pool import PhotoQueue
from faceanim_cli.batch.run import BatchSettings, run_batch
from faceanim_cli.errors import FaceanimError, UsageError, WeightsError
from tests.batch import text_job
from tests.batch.text_job import Recorder, TextJob

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
posix = pytest.mark.skipif(os.name != "posix", reason="kill -9")


def items(folder: Path, *photos: str, drivers: int = 2) -> list[BatchItem]:
    return [
        BatchItem(folder / f"{photo}.jpg", Path(f"{n}.mp4"), folder / "out" / f"{photo}-{n}.mp4")
        for photo in photos
        for n in range(drivers)
    ]


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
    queue.put_back(item)
    assert queue.next_for(1) == item


# --- processes


@posix
def test_processes_do_every_item_though_one_dies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    batch = items(tmp_path, "a", "fragile", "faceless", "deadly", drivers=1)
    recorder, log = Recorder(), tmp_path / "log"
    with caplog.at_level(logging.WARNING):
        outcome = run_batch(TextJob(log), batch, recorder, BatchSettings(workers=2))
    reports = {Path(report.photo).stem: report for report in outcome.reports}
    assert len(outcome.reports) == 4
    assert {name: report.status for name, report in reports.items()} == {
        "a": "done",
        "fragile": "done",
        "faceless": "failed",
        "deadly": "failed",
    }
    assert reports["deadly"].error == "its worker died, 2 times (signal 9)"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-0.mp4", "fragile-0.mp4"]
    ends = Counter(line for line in log.read_text().splitlines() if line.startswith("end"))
    assert ends == {"end a-0.mp4": 1, "end fragile-0.mp4": 1}
    assert ("a-0.mp4", 2, 2) in recorder.seen  # frames are told
    assert "WorkerSlot(worker=1, workers=2)" in log.read_text()
    assert "fragile-0.mp4 is tried again" in caplog.text


@pytest.mark.parametrize(
    ("device", "kind", "said"),
    [
        ("none", WeightsError, "no such weights"),
        ("broken", FaceanimError, "begin: MemoryError: no room"),
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


# --- Ray


@pytest.fixture(scope="module")
def ray_pickles_the_job() -> None:
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(text_job)  # Ray's workers do not see the tests


def kill_when(started: Callable[[], int | None]) -> threading.Thread:
    """Kills a process as soon as ``started`` knows its number."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            process = started()
            if process is not None:
                os.kill(process, signal.SIGKILL)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@needs_ray
@posix
def test_ray_does_every_item_once_though_a_worker_is_killed(
    tmp_path: Path, ray_pickles_the_job: None
) -> None:
    log, report, out = tmp_path / "log", tmp_path / "report.jsonl", tmp_path / "out"
    batch = [*items(tmp_path, "slow", drivers=1), *items(tmp_path, "a", "faceless", drivers=3)]

    def at_work_on_slow() -> int | None:  # the name of what is half done has the process in it
        names = [path.name for path in out.glob(".slow-0.partial-*")] if out.exists() else []
        return int(names[0].split("-")[2]) if names else None

    killer = kill_when(at_work_on_slow)
    settings = BatchSettings(workers=2, cluster="local", report=report)
    outcome = run_batch(TextJob(log), batch, Recorder(), settings)
    killer.join()

    reports = [json.loads(line) for line in report.read_text().splitlines()]
    assert len(outcome.reports) == len(batch)
    assert Counter(line["output"] for line in reports) == {str(item.output): 1 for item in batch}
    assert {Path(line["output"]).stem: line["status"] for line in reports} == {
        **dict.fromkeys(["slow-0", "a-0", "a-1", "a-2"], "done"),
        **dict.fromkeys(["faceless-0", "faceless-1", "faceless-2"], "failed"),
    }
    steps = Counter(log.read_text().splitlines())
    assert steps["begin slow-0.mp4"] == 2  # killed, and begun anew by another worker
    assert {step: n for step, n in steps.items() if step.startswith("end")} == {
        f"end {name}.mp4": 1 for name in ("slow-0", "a-0", "a-1", "a-2")
    }
    assert sorted(path.name for path in out.iterdir()) == ["a-0.mp4", "a-1.mp4", "a-2.mp4", "slow-0.mp4"]


@needs_ray
def test_no_such_cluster(tmp_path: Path) -> None:
    settings = BatchSettings(cluster="auto")
    with pytest.raises(UsageError, match="--cluster auto: no Ray cluster answers"):
        run_batch(TextJob(tmp_path / "log"), items(tmp_path, "a"), Recorder(), settings)
