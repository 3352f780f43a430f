"""Help that a person can read: at 80 columns, a line for each option, every choice told."""

import re
from collections.abc import Callable

import pytest
import typer

from faceanim_cli.app import app
from faceanim_cli.commands.values import LIBRARY_MOTIONS, METRICS
from tests.commands.test_common_options import commands

Run = Callable[..., tuple[int, str, str]]
ALL = [(), ("weights",), *commands()]


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def parameters(path: tuple[str, ...]) -> list[object]:
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    return command.params


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_short_help_has_a_line_for_each_option(faceanim: Run, command: tuple[str, ...]) -> None:
    code, out, err = faceanim(*command, "-h")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert max(map(len, lines)) < 80
    assert len(lines) < 70
    assert lines[0].startswith(" ".join(["Usage: faceanim", *command]))
    options = [i for i, line in enumerate(lines) if re.match("  -", line)]
    assert options
    if command:  # what typer says of completion takes two lines
        followed = [lines[i + 1] for i in options if lines[i + 1 :]]
        assert [line for line in followed if line.startswith("   ")] == []
    assert out == faceanim(*command, "--help")[1]


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_long_help_has_all_options_and_all_values(faceanim: Run, command: tuple[str, ...]) -> None:
    code, out, _ = faceanim(*command, "-hh")
    assert code == 0
    assert max(map(len, out.splitlines())) < 80
    assert out == faceanim(*command, "--help-all")[1]
    told = " ".join(out.split())
    for option in parameters(command):
        if option.param_type_name != "option" or option.hidden:
            continue
        names = {*option.opts, *option.secondary_opts}
        assert any(f"{name} " in told for name in names), names
        assert option.help
        if not option.is_flag and not option.count:
            assert re.fullmatch(r"[A-Z=,]{1,7}", option.metavar), (names, option.metavar)
        for value in completed(option):
            assert re.search(rf"\b{value}\b", option.help), (names, value)


def completed(option: object) -> list[str]:
    """The words that Tab offers for an option, unless they are files."""
    complete = getattr(option, "_custom_shell_complete", None)
    found = [] if complete is None else [item.value for item in complete(None, option, "")]
    return [] if {"--weights", "--init"} & set(option.opts) else found


def test_every_panel_has_its_reader(faceanim: Run) -> None:
    short, long = faceanim("animate", "-h")[1], faceanim("animate", "-hh")[1]
    titles = ["Basics", "Motion", "Which face", "Output", "Weights and device", "Help yourself"]
    assert [line for line in short.splitlines() if line in titles] == titles
    assert "--encoder" not in short
    assert "--encoder" in long
    assert "-hh shows all" in short


def test_a_word_in_brackets_is_no_markup_and_sentences_are_whole(faceanim: Run) -> None:
    assert "Settings by command: [animate], then size = 256" in faceanim("doctor", "--help")[1]
    about = faceanim("benchmark", "--help")[1].split("\n\n")[2].splitlines()
    assert len(about) > 3
    assert min(map(len, about[:-1])) > 60  # each line but the last is full: none ends in mid-sentence


def test_lists_of_names_are_those_that_the_layers_below_have() -> None:
    from faceanim_cli.evaluation.metrics import METRICS as KNOWN
    from faceanim_cli.media.codecs import CODECS
    from faceanim_cli.motion.library import LIBRARY

    assert set(LIBRARY_MOTIONS) == set(LIBRARY)
    assert set(METRICS) == set(KNOWN)
    codec = next(p for p in parameters(("animate",)) if p.name == "codec")
    assert set(completed(codec)) == set(CODECS)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("animate p.jpg no", ["nod"]),
        ("animate p.jpg s", ["shake", "smile-and-blink"]),
        ("animate --codec h", ["h264", "hevc"]),
        ("animate --device c", ["cpu", "cuda"]),
        ("animate --precision b", ["bf16"]),
        ("batch --encoder nv", ["nvenc"]),
        ("animate --weights fo", ["fomm-vox-adv"]),
        ("weights pull su", ["super-resolution"]),
        ("eval --metrics ps", ["psnr"]),
        ("eval --metrics psnr,ss", ["psnr,ssim"]),
        ("train --optimizer s", ["swats"]),
        ("train --precision ", ["fp32", "bf16", "fp16"]),
        ("eval --baseline t", ["truth"]),
    ],
)
def test_tab_knows_the_values(
    words: str, found: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object, faceanim: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_FACEANIM_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"faceanim {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" "))))
    assert faceanim()[1].split() == found
