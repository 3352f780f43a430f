"""The command line: exit codes, what goes to stdout, and what is imported when."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli import __version__
from faceanim_cli.media import VideoReader, write_photo
from faceanim_cli.weights.catalogue import ANIMATION, shipped_weights

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(faceanim: Run) -> Run:
    return faceanim


@pytest.fixture
def photo(tmp_path: Path, astronaut: np.ndarray) -> Path:
    path = tmp_path / "a photo.png"
    write_photo(path, astronaut)
    return path


def test_what_is_loaded_when(photo: Path) -> None:
    """In one process, one command after the other: what each has loaded by its end."""
    lines = (
        ["--version"],
        ["--help"],
        ["animate", "-hh"],
        ["weights", "info", str(shipped_weights(ANIMATION))],
        ["animate", "missing.jpg", "driver.mp4"],
        ["eval", "--metrics", "psnr,beauty"],
        ["live", "missing.jpg"],
        ["live", "PHOTO", "--camera", "missing.mp4"],
    )
    code = (
        "import sys; from faceanim_cli.app import main\n"
        f"for line in {[[str(photo) if word == 'PHOTO' else word for word in line] for line in lines]!r}:\n"
        "    sys.argv = ['faceanim', *line]\n"
        "    try: main()\n"
        "    except SystemExit as end: code = end.code or 0\n"
        "    print(code, sorted({'torch', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"faceanim {__version__}\n")
    found = [line for line in done.stderr.splitlines() if not line.startswith("faceanim:")]
    assert found == ["0 []"] * 4 + ["5 ['numpy']", "2 ['numpy']", *["5 ['numpy']"] * 2]


def test_an_interrupt_while_the_command_line_is_imported_ends_it_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    paths = os.pathsep.join((str(tmp_path), *filter(None, sys.path)))
    command = [sys.executable, "-m", "faceanim_cli", "--version"]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": paths})
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize(("name", "expected"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interrupt_that_a_library_takes_for_a_failure_ends_as_an_interrupt(
    name: str, expected: int
) -> None:
    code = (
        "import signal; from faceanim_cli import app\n"
        "def library():\n"
        f"    try: signal.raise_signal(signal.{name})\n"
        "    except BaseException: raise ImportError('numpy is broken') from None\n"
        "app.app.command('library')(library)\n"
        "import sys; sys.argv = ['faceanim', 'library']; app.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (expected, b"", b"")


@pytest.mark.parametrize(("name", "expected"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interrupt_where_no_error_can_be_raised_comes_a_little_later(name: str, expected: int) -> None:
    code = (
        "import signal, time, weakref; from faceanim_cli import app\n"
        "def work():\n"
        "    thing = set()\n"
        f"    kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.{name}))\n"
        "    del thing\n"
        "    time.sleep(20)\n"
        "app.app.command('work')(work)\n"
        "import sys; sys.argv = ['faceanim', 'work']; app.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=15)
    assert (done.returncode, done.stdout, done.stderr) == (expected, b"", b"")


def test_animate_prints_the_result_and_nothing_else(
    run: Run, photo: Path, make_driver: Callable[..., Path], rigid_weights_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out video.mp4"
    code, stdout, stderr = run(
        "animate",
        photo,
        make_driver(frames=3),
        "-o",
        out,
        "--weights",
        rigid_weights_file,
        "--no-sr",
        "--size",
        48,
    )
    told = "motion counts from driver frame 0\n"
    assert (code, stdout.split("\n")[0], stderr) == (0, str(out), told)
    video = VideoReader(out)
    assert (video.width, video.height, sum(1 for _ in video)) == (48, 48, 3)


def test_a_photo_without_a_face_exits_3_and_a_crop_helps(
    run: Run, make_driver: Callable[..., Path], rigid_weights_file: Path, tmp_path: Path
) -> None:
    wall = tmp_path / "wall.png"
    write_photo(wall, np.full((200, 200, 3), 99, np.uint8))
    common = ("-o", tmp_path / "o.mp4", "--weights", rigid_weights_file, "--no-sr")
    code, stdout, stderr = run("animate", wall, make_driver(frames=2), *common)
    assert (code, stdout) == (3, "")
    assert "wall.png" in stderr
    assert "--crop x,y,w,h" in stderr
    assert len(stderr.strip().splitlines()) == 1
    assert run("animate", wall, make_driver(frames=2), *common, "--crop", "20,20,100,100")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("animate", "PHOTO", "missing.mp4", "-o", "o.mp4"), 5, "missing.mp4"),
        (("animate", "missing.jpg", "DRIVER", "-o", "o.mp4"), 5, "missing.jpg"),
        (("animate", "PHOTO", "DRIVER", "-o", "nowhere/o.mp4"), 2, "nowhere"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.txt"), 2, "o.txt"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.mp4", "--weights", "no.safetensors"), 4, "no.safetensors"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.mp4", "--crop", "1,2,3"), 2, "1,2,3"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.mp4", "--crop", "0,0,-5,9"), 2, "above 0"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.mp4", "--device", "floppy"), 2, "floppy"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.mp4", "--fps", "fast"), 2, "fast"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.mp4", "--fps", "1/0"), 2, "1/0"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.mp4", "--codec", "theora"), 2, "h264, hevc"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.webm", "--codec", "h264"), 2, "vp9, av1"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.gif", "--audio", "song.mp3"), 2, "silent"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.mp4", "--audio", "missing.mp3"), 5, "missing.mp3"),
        (("animate", "PHOTO", "DRIVER", "-o", "o.mp4", "--audio", "PHOTO"), 5, "it is a photo"),
        (("animate", "PHOTO", "DRIVER", "-o", "DRIVER"), 2, "it is an input"),
        (("animate", "PHOTO", "DRIVER", "-o", "PHOTO"), 2, "it is an input"),
        (("animate", "PHOTO"), 2, ""),
        (("levitate",), 2, "levitate"),
    ],
)
def test_bad_input_has_its_exit_code_and_one_line(
    run: Run,
    photo: Path,
    make_driver: Callable[..., Path],
    rigid_weights_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"PHOTO": photo, "DRIVER": make_driver(frames=2)}
    extra = (
        ("--no-sr", "--weights", rigid_weights_file)
        if "-o" in arguments and "--weights" not in arguments
        else ()
    )
    got, stdout, stderr = run(*(names.get(a, a) for a in arguments), *extra)
    assert got == code
    assert stdout == ""
    assert said in stderr
    assert "Traceback" not in stderr
    if code > 2:
        assert len(stderr.strip().splitlines()) == 1
    assert not (tmp_path / "o.mp4").exists()


def test_a_fault_of_ours_is_one_line_unless_debugging(
    run: Run, monkeypatch: pytest.MonkeyPatch, photo: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("faceanim_cli.animation.result.check_output", lambda *_: 1 / 0)
    code, _, stderr = run("animate", photo, photo, "-o", tmp_path / "o.mp4")
    assert code == 1
    assert "ZeroDivisionError" in stderr
    assert len(stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["animate", "--levitate"], "No such option: --levitate"),
        (["animate"], "Missing argument 'PHOTO' (see faceanim animate -h)"),
        (["animat"], "No such command 'animat'"),
        (["train", "--data", "d", "--optimizer", "guess"], "'guess' is not one of adam, swats"),
        (["weights", "info"], "(see faceanim weights info -h)"),
    ],
)
def test_wrong_usage_is_one_line_that_says_where_to_look(run: Run, arguments: list[str], told: str) -> None:
    code, out, stderr = run(*arguments)
    assert (code, out) == (2, "")
    assert told in stderr.replace("option '--levitate'", "option: --levitate")  # as typer says it on click
    assert stderr.startswith("faceanim: ")
    assert len(stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", [[], ["weights"]])
def test_a_command_alone_prints_its_help(run: Run, command: list[str]) -> None:
    code, out, stderr = run(*command)
    assert code == 2
    assert " ".join(["Usage: faceanim", *command]) in out + stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("animate", "missing.jpg", "DRIVER"), 5, "missing.jpg"),
        (("animate", "notes.txt", "DRIVER"), 5, "notes.txt"),
        (("animate", "PHOTO", "missing.mp4"), 5, "missing.mp4"),
        (("animate", "PHOTO", "notes.txt"), 5, "notes.txt"),
        (("animate", "PHOTO", "missing.motion"), 5, "missing.motion"),
        (("animate", "PHOTO", "DRIVER", "--device", "floppy"), 2, "floppy"),
        (("animate", "PHOTO", "DRIVER", "-o", "PHOTO"), 2, "it is an input"),
        (("motion", "notes.txt"), 5, "notes.txt"),
        (("motion", "DRIVER", "-o", "notes.txt"), 2, "faceanim did not make it"),
        (("batch", "PHOTO", "nowhere", "-o", "out"), 5, "nowhere"),
        (("faces", "notes.txt"), 5, "notes.txt"),
        (("animate", "wall.png", "DRIVER"), 3, "wall.png: no face found"),
        (("animate", "PHOTO", "DRIVER", "--face", "2"), 2, "has one face"),
    ],
)
def test_what_can_be_said_at_once_is_said_before_torch_is_loaded(
    run: Run,
    photo: Path,
    make_driver: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("dear diary " * 40)
    write_photo(Path("wall.png"), np.full((200, 200, 3), 99, np.uint8))
    names = {"PHOTO": photo, "DRIVER": make_driver(frames=2)}

    def load(*_: object, **__: object) -> None:
        raise AssertionError("the networks were asked for")

    monkeypatch.setattr("faceanim_cli.animation.animator.Animator.__init__", load)
    monkeypatch.setattr("faceanim_cli.device.choose_device", load)
    got, out, err = run(*(names.get(a, a) for a in arguments))
    assert (got, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) == 1
