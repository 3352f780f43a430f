"""Workers on a Ray cluster, tried on one of this machine alone."""

import importlib.util
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from faceanim_cli.batch.run import BatchSettings
from faceanim_cli.errors import UsageError
from tests.batch import text_job
from tests.batch.text_job import Recorder, TextJob, items, run_batch

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
posix = pytest.mark.skipif(os.name != "posix", reason="kill -9")


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
