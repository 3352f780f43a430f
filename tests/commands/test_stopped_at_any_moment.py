"""Ctrl-C, SIGTERM and kill -9 at any moment of an animation: what was there stays, no piece is left."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceanim_cli.media import VideoReader
from tests.commands.odd_files import encode, portrait, save_photo

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="moments are cheap only where processes fork")

# Torch takes seconds to import. One process imports it, and each moment gets a fork of that process.
NURSERY = """
import json, os, signal, sys, time
import torch
from faceanim_cli.animation import animator, job
from faceanim_cli.app import main
torch.set_num_threads(1)
for line in sys.stdin:
    task = json.loads(line)
    ready, tell = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if not child:
        # A test run in the background ignores Ctrl-C, and its children would too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        os.dup2(os.open(task["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(2, 1)
        sys.argv = task["argv"]
        code = 0
        try:
            os.write(tell, b"!")
            main()
        except SystemExit as end:
            code = end.code or 0
        except KeyboardInterrupt:
            code = 130
        os._exit(code)
    os.read(ready, 1)
    if task["signal"]:
        time.sleep(max(0, task["after"]))
        while task["after"] < 0 and set(os.listdir(task["folder"])) == set(task["before"]):
            time.sleep(0.002)
        os.kill(child, task["signal"])
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(ready), os.close(tell)
    print(json.dumps({"code": code, "seconds": time.monotonic() - started}), flush=True)
"""
FRAMES = 16


class Stage:
    """A folder with a photo and a driver, and a process that animates them as often as it is told."""

    def __init__(self, folder: Path, weights: Path) -> None:
        self.folder, self.output = folder, folder / "out.mp4"
        self._arguments = [
            *("faceanim", "animate", "-q", folder / "photo.png", folder / "driver.mp4", "-o", self.output),
            *("--no-sr", "--weights", weights, "--size", 256, "--device", "cpu", "--precision", "fp32"),
            "--overwrite",
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.usual = self.animate()["seconds"]

    def animate(self, number: int = 0, after: float = 0.0, *more: object) -> dict[str, Any]:
        """Run once, stopped by a signal or not: exit code, seconds, and what was printed.

        A negative ``after`` sends the signal when the first piece of the result is there.
        """
        said = self.folder.parent / "said.txt"
        task = {
            "argv": [str(argument) for argument in (*self._arguments, *more)],
            **{"err": str(said), "signal": number, "after": after},
            **{"folder": str(self.folder), "before": sorted(self.names())},
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return {**json.loads(self._process.stdout.readline()), "said": said.read_text()}

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, rigid_weights_file: Path, astronaut: np.ndarray
) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stopped") / "files"
    folder.mkdir()
    face = portrait(astronaut)
    save_photo(folder / "photo.png", face)
    encode(folder / "driver.mp4", [np.roll(face, i % 10, axis=1) for i in range(FRAMES)])
    stage = Stage(folder, rigid_weights_file)
    yield stage
    stage.close()


def frames_of(path: Path) -> int:
    return sum(1 for _ in VideoReader(path))


MOMENTS = [
    (number, round(random.Random(f"{number} {i}").uniform(0, 0.95), 2))
    for i in range(5)
    for number in (signal.SIGINT, signal.SIGTERM)
]


@pytest.mark.parametrize(("number", "share"), MOMENTS)
def test_stopped_at_a_random_moment(stage: Stage, number: signal.Signals, share: float) -> None:
    stage.output.write_bytes(b"an older result")
    before = stage.names()
    done = stage.animate(number, share * stage.usual)
    assert stage.names() == before
    assert "Traceback" not in done["said"]
    if done["code"] == 0:  # it was faster this time
        assert frames_of(stage.output) == FRAMES
    else:
        assert done["code"] == 128 + number
        assert done["said"].count("\n") <= 1
        # Or it came after the last rename, before the process ended.
        assert stage.output.read_bytes() == b"an older result" or frames_of(stage.output) == FRAMES


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_midst_of_writing(stage: Stage, number: signal.Signals) -> None:
    stage.output.unlink(missing_ok=True)
    before = stage.names()
    done = stage.animate(number, -1, "--size", 640)
    assert done["code"] == 128 + number
    assert "Traceback" not in done["said"]
    assert stage.names() == before


def test_killed_outright_the_old_result_stays_and_the_next_run_tidies_up(stage: Stage) -> None:
    stage.output.write_bytes(b"an older result")
    before = stage.names()
    pieces = set()
    for share in (0.7, 0.9):
        stage.animate(signal.SIGKILL, share * stage.usual)
        if stage.output.read_bytes() != b"an older result":  # it was faster this time
            assert frames_of(stage.output) == FRAMES
            stage.output.write_bytes(b"an older result")
            continue
        pieces = stage.names() - before
        if pieces:
            break
    assert all(name.startswith(".out.partial-") for name in pieces)
    assert stage.animate()["code"] == 0
    assert stage.names() == before
    assert frames_of(stage.output) == FRAMES
