"""Commands whose stdin, stdout or stderr is closed, full, or read by nobody."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.media import write_photo

Run = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="redirected by a POSIX shell")

FULL = "faceanim: cannot write to standard output: No space left on device\n"


def shell(line: str) -> tuple[int, str, str]:
    """Runs ``line``, in which FA stands for the program; exit code, stdout and stderr."""
    program = f'"{sys.executable}" -m faceanim_cli'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["sh", "-c", line.replace("FA", program)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("line", "code", "err"),
    [
        ("FA weights list >&-", 0, ""),
        ("FA weights list <&- >&- 2>&-", 0, ""),
        ("FA weights list > /dev/full", 1, FULL),
        ("PYTHONUNBUFFERED=1 FA weights list > /dev/full", 1, FULL),
        ("FA weights list > /dev/full 2> /dev/full", 1, ""),
        ("FA animate -hh > /dev/full", 1, FULL),
        ("FA weights path nobody 2> /dev/full", 4, ""),
        ("FA weights path nobody 2>&-", 4, ""),
        ("FA animat 2> /dev/full", 2, ""),
        ("{ FA weights list; echo $? >&2; } | true", 0, "141\n"),
    ],
)
def test_streams_that_take_nothing(line: str, code: int, err: str) -> None:
    if "/dev/full" in line and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    assert shell(line) == (code, "", err)


def test_what_is_opened_next_does_not_take_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "from faceanim_cli.standard_streams import guard_standard_streams; guard_standard_streams()\n"
        "import os; file = open('new', 'w'); os.write(1, b'noise'); os.write(2, b'noise'); file.close()"
    )
    command = f'cd "{tmp_path}" && "{sys.executable}" -c "{code}" <&- >&- 2>&-'
    assert shell(command)[0] == 0
    assert (tmp_path / "new").read_text() == ""


def test_names_that_the_encoding_lacks_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "漢.jpg").touch()
    code, out, err = shell(f'cd "{tmp_path}" && PYTHONIOENCODING=cp1252 FA faces 漢.jpg')
    assert (code, out) == (5, "")
    assert "\\u6f22.jpg" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("closed", ["stdin", "stdout"])
def test_nobody_is_asked_where_a_stream_is_closed(
    closed: str,
    faceanim: Run,
    astronaut: np.ndarray,
    make_driver: Callable[..., Path],
    rigid_weights_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photo(Path("a.png"), astronaut)
    make_driver("x.mp4", frames=2)
    monkeypatch.setattr(sys, closed, None)
    common = ("--weights", rigid_weights_file, "--device", "cpu", "--precision", "fp32")
    assert faceanim("animate", "a.png", "x.mp4", "-o", "o.mp4", "--no-sr", *common)[0] == 0
    assert faceanim("batch", "a.png", "x.mp4", "-o", "out", "--no-sr", *common)[0] == 0
    assert faceanim("motion", "x.mp4", "-o", "x.motion", *common)[0] == 0
    assert {"o.mp4", "x.motion"} <= {path.name for path in Path().iterdir()}
    assert Path("out/a-x.mp4").is_file()


def test_a_name_of_two_lines_is_told_in_one(faceanim: Run) -> None:
    code, out, err = faceanim("faces", "two\nlines.jpg")
    assert (code, out) == (5, "")
    assert err.startswith("faceanim: cannot read the photo two lines.jpg: ")
    assert len(err.splitlines()) == 1
