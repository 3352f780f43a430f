"""``faceanim batch`` as a shell calls it: what it prints, its exit codes, and what interruptions leave."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.app import main
from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.media import VideoReader, write_photo
from tests.batch.text_job import TextJob

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folders(
    tmp_path: Path, astronaut: np.ndarray, make_driver: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The working folder: photos/a.png, photos/wall.png without a face, drivers/x.mp4 and y.mp4."""
    for name in ("photos", "drivers"):
        (tmp_path / name).mkdir()
    write_photo(tmp_path / "photos" / "a.png", astronaut)
    write_photo(tmp_path / "photos" / "wall.png", np.full((200, 200, 3), 99, np.uint8))
    for name in ("x", "y"):
        make_driver(f"drivers/{name}.mp4", frames=3)
    (tmp_path / "photos" / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny(rigid_weights_file: Path) -> tuple[str, ...]:
    return ("--weights", str(rigid_weights_file), "--no-sr", "--precision", "fp32", "--device", "cpu")


def report(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_all_pairs_are_animated_though_some_fail(
    faceanim: Run, folders: Path, tiny: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    code, out, err = faceanim("batch", "photos", "drivers", "-o", "out", "--report", "r.jsonl", *tiny)
    assert code == 1
    assert out.splitlines() == ["out/a-x.mp4", "out/a-y.mp4"]
    lines = err.splitlines()
    assert lines[0] == "photos: ignored 1 file: 1 .txt"
    assert [line.split(":")[0] for line in lines[1:3]] == [
        "photos/wall.png + drivers/x.mp4",
        "photos/wall.png + drivers/y.mp4",
    ]
    assert lines[3:] == ["faceanim: 2 of 4 failed, 2 are done"]
    assert [
        (line["output"], line["status"], line["frames"], line["fps"]) for line in report(Path("r.jsonl"))
    ] == [
        ("out/a-x.mp4", "done", 3, 25.0),
        ("out/a-y.mp4", "done", 3, 25.0),
        ("out/wall-x.mp4", "failed", None, None),
        ("out/wall-y.mp4", "failed", None, None),
    ]
    assert "no face" in str(report(Path("r.jsonl"))[2]["error"])
    assert sum(1 for _ in VideoReader("out/a-y.mp4")) == 3
    assert sorted(os.listdir("out")) == ["a-x.mp4", "a-y.mp4"]  # noqa: PTH208

    # The report tells what each result was made of.
    sha256 = hashlib.sha256(Path(tiny[1]).read_bytes()).hexdigest()
    assert report(Path("r.jsonl"))[0]["settings"] == {
        "sr": False,
        "precision": "fp32",
        "weights_sha256": sha256,
    }
    again = ("batch", "photos", "drivers", "-o", "out", "--resume", "--report", "r.jsonl", "--dry-run", *tiny)
    assert faceanim(*again, "--batch-size", "2")[2].splitlines()[1:] == ["2 to do, 2 there already"]
    assert faceanim(*again, "--pose", "0.5", "--fps", "12")[2].splitlines()[1:] == [
        "4 to do, 0 there already"
    ]
    assert caplog.messages[-1].endswith("1 more: done again, since other settings made it: fps, pose")

    # With a crop the wall does for a photo. What is there stays as it is.
    before = Path("out/a-x.mp4").stat().st_mtime_ns
    arguments = ("batch", "photos", "drivers", "-o", "out", "--resume", "--crop", "20,20,100,100", *tiny)
    code, out, err = faceanim(*arguments, "--json")
    assert code == 0
    assert [(item["output"], item["status"]) for item in json.loads(out)] == [
        ("out/a-x.mp4", "skipped"),
        ("out/a-y.mp4", "skipped"),
        ("out/wall-x.mp4", "done"),
        ("out/wall-y.mp4", "done"),
    ]
    assert err.splitlines()[-1] == "2 done, 2 there already"
    assert Path("out/a-x.mp4").stat().st_mtime_ns == before
    assert faceanim(*arguments, "-q") == (0, "", "")


def test_a_dry_run_lists_and_touches_nothing(faceanim: Run, folders: Path) -> None:
    (folders / "pairs.csv").write_text(
        "photo,driver\nphotos/a.png,drivers/x.mp4\nphotos/b.png,drivers/y.mp4\n"
    )
    arguments = ("batch", "--pairs", "pairs.csv", "-o", "out", "--name", "{index}.gif", "--dry-run")
    missing = "1 of 4 files are not there, photos/b.png first\n"
    code, out, err = faceanim(*arguments, "--weights", "none.safetensors")
    assert (code, err) == (0, f"{missing}2 to do, 0 there already\n")
    assert out.splitlines() == [
        "photos/a.png\tdrivers/x.mp4\tout/1.gif",
        "photos/b.png\tdrivers/y.mp4\tout/2.gif",
    ]
    assert not (folders / "out").exists()
    (folders / "out").mkdir()
    (folders / "out" / "1.gif").write_bytes(b"GIF89a")
    assert faceanim(*arguments, "--resume")[1:] == (
        "photos/b.png\tdrivers/y.mp4\tout/2.gif\n",
        f"{missing}1 to do, 1 there already\n",
    )


def test_a_dry_run_does_not_import_torch(folders: Path) -> None:
    code = (
        "import sys; from faceanim_cli.app import main\n"
        "try: main()\nexcept SystemExit: print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "batch", "photos", "drivers", "-o", "out", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "shift-jis"])
def test_names_that_the_terminal_cannot_show_are_escaped(
    folders: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    name = os.fsdecode("Zoë 画 ".encode() + b"\xff")  # the last byte is no letter in any UTF-8
    (folders / "photos" / f"{name}.png").touch()
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    err = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    for arguments in (("drivers", "-o", "out", "--dry-run"), (f"{name}.mp4", "-o", "out")):
        monkeypatch.setattr(sys, "argv", ["faceanim", "batch", f"photos/{name}.png", *arguments])
        with pytest.raises(SystemExit):
            main()
    out.flush()
    err.flush()
    shown = name.encode(encoding, "backslashreplace").decode(encoding)
    assert f"photos/{shown}.png\tdrivers/x.mp4\tout/{shown}-x.mp4" in out.buffer.getvalue().decode(encoding)
    last = err.buffer.getvalue().decode(encoding).splitlines()[-1]
    assert last.startswith(f"faceanim: cannot read the video {shown}.mp4: there is no such file")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("photos", "drivers"), 2, "--output"),
        (("photos", "-o", "out"), 2, "give PHOTOS and DRIVERS, or --pairs CSV alone"),
        (("photos", "drivers", "--pairs", "p.csv", "-o", "out"), 2, "--pairs CSV alone"),
        (("photos", "none", "-o", "out"), 5, "none"),
        (("photos", "drivers", "-o", "out", "--name", "{face}.mp4"), 2, "unknown {face}"),
        (("photos", "drivers", "-o", "out", "--name", "{photo}.mp4"), 2, "would both be written to"),
        (("photos", "drivers", "-o", "out", "--name", "{photo}-{driver}.txt"), 2, ".txt"),
        (("photos", "drivers", "-o", "out", "--weights", "none.safetensors"), 4, "none.safetensors"),
        (("photos", "drivers", "-o", "out", "--device", "floppy"), 2, "floppy"),
        (("photos", "drivers", "-o", "out", "--crop", "1,2"), 2, "1,2"),
        (("photos", "drivers", "-o", "out", "--workers", "0"), 2, "--workers"),
        (("photos", "drivers", "-o", "out", "--report", "nowhere/r.jsonl"), 2, "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_before_work_begins(
    faceanim: Run, folders: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    got, out, err = faceanim("batch", *arguments, "-q", "--no-sr")
    assert (got, out) == (code, "")
    assert said in err
    assert "Traceback" not in err
    assert not list(folders.rglob("*-x.mp4"))
    if code != 2:
        assert len(err.splitlines()) == 1


# --- interruptions of the command as it is but for networks: its workers start in a second instead of five

posix = pytest.mark.skipif(os.name != "posix", reason="signals")

# A test run in the background ignores Ctrl-C, under nohup SIGHUP, and its children would too: first back to
# the default.
START = f"""
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from faceanim_cli.app import main
from faceanim_cli.app import main
from faceanim_cli.commands.animation_options import AnimationOptions
from tests.batch.text_job import TextJob
AnimationOptions.for_workers = lambda options: TextJob(Path("log"))
main()
"""


@pytest.fixture
def slow_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of a batch of two, whose second item takes two seconds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("photos/a.png", "photos/slow.png", "x.mp4"):
        (tmp_path / name).touch()
    return ["batch", "photos", "x.mp4", "-o", "out", "--report", "r.jsonl"]


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    """Starts a batch; returns when its first item is done and its second has begun."""
    command = [sys.executable, "-c", START, *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if list(Path("out").glob(".slow-x.partial-*")) and Path("r.jsonl").read_text():
            return process
        time.sleep(0.01)
    raise AssertionError("nothing was left to interrupt")


@posix
def test_a_killed_batch_goes_on_where_it_was(
    faceanim: Run, slow_batch: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(slow_batch)
    process.kill()
    process.communicate(timeout=60)
    (half_done,) = Path("out").glob(".*")
    assert [line["output"] for line in report(Path("r.jsonl"))] == ["out/a-x.mp4"]
    before = Path("out/a-x.mp4").stat().st_mtime_ns

    monkeypatch.setattr(AnimationOptions, "for_workers", lambda _: TextJob(Path("log")))
    code, out, err = faceanim(*slow_batch, "--resume")
    assert (code, out, err) == (0, "out/slow-x.mp4\n", "1 done, 1 there already\n")
    assert not half_done.exists()
    assert sorted(path.name for path in Path("out").iterdir()) == ["a-x.mp4", "slow-x.mp4"]
    assert Path("out/a-x.mp4").stat().st_mtime_ns == before
    assert [(line["output"], line["status"], line["frames"]) for line in report(Path("r.jsonl"))] == [
        ("out/a-x.mp4", "done", 2),
        ("out/slow-x.mp4", "done", 20),
    ]


@posix
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_stopped_batch_leaves_nothing_half_written_and_nobody_at_work(
    slow_batch: list[str], number: int, code: int
) -> None:
    process = start([*slow_batch, "--workers", "2"])
    (half_done,) = Path("out").glob(".slow-x.partial-*")
    worker = int(half_done.name.split("-")[3])
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    deadline = time.monotonic() + 60
    while is_at_work(worker) and time.monotonic() < deadline:  # a killed batch ends nobody: they see it
        time.sleep(0.01)
    assert not is_at_work(worker)
    assert [line["output"] for line in report(Path("r.jsonl"))] == ["out/a-x.mp4"]
    assert [path.name for path in Path("out").iterdir()] == ["a-x.mp4"]


@posix
def test_ctrl_c_while_workers_start_is_no_fault_of_theirs(
    slow_batch: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal it reaches workers too, which may not have come to a line of ours yet."""
    Path("sitecustomize.py").write_text(  # Python runs it first of all
        "import os, pathlib, signal, sys, time\n"
        "if 'spawn_main' in str(sys.orig_argv):\n"
        "    said = pathlib.Path(f'partial-{os.getpid()}')\n"
        "    said.write_text(str(signal.getsignal(signal.SIGINT)))\n"
        "    said.rename(f'starting-{os.getpid()}')\n"
        "    time.sleep(5)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-c", START, *slow_batch, "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 100
    while len(list(Path().glob("starting-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert [file.read_text() for file in Path().glob("starting-*")] == [str(signal.SIG_IGN)] * 2


def is_at_work(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")  # one that has ended may still wait to be reaped
    return not (status.exists() and ") Z " in status.read_text())
