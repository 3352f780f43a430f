"""The README is true: its messages and options exist, its commands can be read, its folds open and close."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from faceanim_cli.app import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# of torchrun and pytest
OTHERS = {"--nnodes", "--nproc-per-node", "--rdzv-backend", "--rdzv-endpoint", "--dist"}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def shown() -> list[str]:
    """Every whole command line: in blocks and in running text, without what follows in comments."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", TEXT)]
    found = [re.search(r"(?:^|&& )faceanim (.*)|-m faceanim_cli (.*)", line) for line in lines]
    return [match[1] or match[2] for match in found if match]


@pytest.mark.parametrize("line", sorted(set(shown())))
def test_each_command_can_be_read(line: str) -> None:
    words = shlex.split(re.split(r" > ", line)[0], comments=True)
    path: tuple[str, ...] = ()
    while words and (*path, words[0]) in COMMANDS:
        path = (*path, words.pop(0))
    if words and words[0] not in ("-h", "-hh", "--install-completion"):  # these act at once
        COMMANDS[path].make_context(" ".join(path), words)
    assert words or path


def test_each_option_exists() -> None:
    known = {
        name
        for _, command in COMMANDS.items()
        for p in command.params
        for name in (*p.opts, *p.secondary_opts)
    }
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
    assert len(told) > 60
    assert told - known - OTHERS == set()


def test_it_explains_messages_that_exist() -> None:
    table = TEXT.split("<b>When something goes wrong</b>", 1)[1].split("</details>", 1)[0]
    told = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    code = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "faceanim_cli").rglob("*.py"))
    joined = re.sub(r'"\s*f?"', "", code)  # strings that go on in the next line
    others = {"No space left", "No such option"}  # of the system, of Typer
    messages = [m for cell in told for m in re.findall("`([^`]+)`", cell) if m not in others]
    assert len(messages) > 12
    assert [m for m in messages if m not in joined] == []


def test_folds_close_and_tables_fit_a_screen() -> None:
    assert TEXT.count("<details>") == TEXT.count("</details>") > 10
    assert len(TEXT.split("## More", 1)[0].splitlines()) < 60  # what a stranger reads
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, flags=re.MULTILINE):
        assert len(table.splitlines()) <= 25
