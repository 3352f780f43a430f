"""What every command has in common: help, -v and --debug, JSON that is nothing but JSON, shell completion."""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer

from faceanim_cli.app import app
from faceanim_cli.media import write_photo

Run = Callable[..., tuple[int, str, str]]


def commands(group: typer.Typer = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield *path, (command.name or command.callback.__name__).rstrip("_")
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, (*path, str(inner.name)))


@pytest.fixture
def pair(
    tmp_path: Path, astronaut: np.ndarray, make_driver: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """a.png and x.mp4 in the working folder."""
    monkeypatch.chdir(tmp_path)
    write_photo(Path("a.png"), astronaut)
    make_driver("x.mp4", frames=2)


@pytest.fixture
def tiny(rigid_weights_file: Path) -> tuple[str, ...]:
    return ("--weights", str(rigid_weights_file), "--no-sr", "--precision", "fp32", "--device", "cpu")


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_every_command_has_the_common_options(faceanim: Run, command: tuple[str, ...]) -> None:
    code, out, _ = faceanim(*command, "--help")
    assert code == 0
    assert {"--config", "--quiet", "-q", "--verbose", "-v", "--debug", "--help", "-h"} <= set(
        out.replace(",", " ").split()
    )


@pytest.mark.usefixtures("pair")
def test_animate_gives_json(faceanim: Run, tiny: tuple[str, ...]) -> None:
    code, out, err = faceanim("animate", "a.png", "x.mp4", "-o", "o.mp4", "--json", *tiny)
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert {**found, "seconds": None}.items() >= {
        "photo": "a.png",
        "driver": "x.mp4",
        "output": "o.mp4",
        "frames": 2,
        "fps": 25.0,
        "missed": 0,
    }.items()
    assert 0 < found["seconds"] < 60
    code, out, err = faceanim("animate", "none.png", "x.mp4", "-o", "o.mp4", "--json", *tiny)
    assert (code, out, len(err.splitlines())) == (5, "", 1)


@pytest.mark.usefixtures("pair")
def test_threads_are_as_many_as_allowed(faceanim: Run, tiny: tuple[str, ...]) -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        assert faceanim("animate", "a.png", "x.mp4", "-o", "o.mp4", "--threads", 3, *tiny)[0] == 0
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (3, 3)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


@pytest.mark.usefixtures("pair")
def test_without_a_name_the_result_is_called_after_photo_and_driver(
    faceanim: Run, tiny: tuple[str, ...]
) -> None:
    assert faceanim("animate", "a.png", "x.mp4", *tiny)[:2] == (0, "a-x.mp4\n")
    assert faceanim("motion", "x.mp4", *tiny[:2])[:2] == (0, "x.motion\n")
    assert {"a-x.mp4", "x.motion"} <= {path.name for path in Path().iterdir()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (("train", "--data", "d", "--batch", "0"), "--batch-size"),
        (("benchmark", "--batch", "0"), "--batch-size"),
        (("train", "--data", "d", "--out", "x", "--precision", "64"), "not one of fp32, bf16, fp16"),
        (("train", "--data", "none", "--precision", "16", "--out", "x"), "none"),  # goes on to the data
    ],
)
def test_older_spellings_are_still_taken(faceanim: Run, old: tuple[str, ...], new: str) -> None:
    code, _, err = faceanim(*old)
    assert code in (2, 5)
    assert new in err
    assert "No such option" not in err


@pytest.mark.usefixtures("pair")
def test_what_would_be_done_is_told_in_json_too(faceanim: Run) -> None:
    code, out, _ = faceanim("batch", "a.png", "x.mp4", "-o", "out", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out) == [{"photo": "a.png", "driver": "x.mp4", "output": "out/a-x.mp4"}]


def test_metrics_and_places_of_weights_are_told_in_json_too(faceanim: Run) -> None:
    names = [metric["name"] for metric in json.loads(faceanim("eval", "--list-metrics", "--json")[1])]
    assert {"psnr", "ssim", "lpips"} <= set(names)
    for command in ("path", "pull"):
        place = json.loads(faceanim("weights", command, "animation", "--json")[1])
        assert place["name"] == "animation"
        assert Path(place["path"]).is_file()


@pytest.fixture
def _levels() -> Iterator[None]:
    """Puts back what -v and --debug change for the whole process."""
    from faceanim_cli import console

    yield
    console.set_verbose(False)
    console.set_debug(False)


@pytest.mark.usefixtures("pair", "_levels")
def test_verbose_tells_what_is_found_and_chosen(
    faceanim: Run, tiny: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    assert faceanim("animate", "a.png", "x.mp4", "-o", "o.mp4", *tiny, "-v")[:2] == (0, "o.mp4\n")
    assert "rigid.safetensors on cpu in torch.float32" in caplog.text
    assert "a.png: 512 x 512, face Box(" in caplog.text
    assert "x.mp4: 320 x 256, 25 fps" in caplog.text
    assert {record.name.split(".")[0] for record in caplog.records} == {"faceanim_cli"}


@pytest.mark.usefixtures("_levels")
def test_debug_shows_where(faceanim: Run) -> None:
    code, _, err = faceanim("weights", "info", "none.safetensors", "--debug")
    assert code == 4
    assert "Traceback" in err
    assert logging.getLogger("faceanim_cli").level == logging.DEBUG


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_is_there_for_other_shells(tmp_path: Path, shell: str) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-m", "faceanim_cli"]
    shown = subprocess.run(
        [*command, "--show-completion", shell], env=environment, capture_output=True, text=True, check=True
    )
    assert "_COMPLETE" in shown.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    program = tmp_path / "faceanim"
    program.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" -c "{MAIN}" "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }

    def bash(script: str) -> str:
        done = subprocess.run(
            ["bash", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=100
        )
        return done.stdout

    bash("faceanim --install-completion bash")
    assert (tmp_path / ".bash_completions" / "faceanim.sh").is_file()
    complete = """source "$HOME/.bashrc"
    COMP_WORDS=(faceanim {words}); COMP_CWORD={at}
    $(complete -p faceanim | sed 's/.*-F \\([^ ]*\\).*/\\1/') faceanim
    printf '%s\\n' "${{COMPREPLY[@]}}" """
    assert bash(complete.format(words="an", at=1)).split() == ["animate"]
    assert bash(complete.format(words="animate --paste", at=2)).split() == ["--paste-back"]


MAIN = "import sys; sys.argv[0] = 'faceanim'; from faceanim_cli.app import main; main()"
