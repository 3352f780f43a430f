"""Where a result goes when nobody says, and what it may take the place of."""

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from faceanim_cli.commands.options import on_terminal
from faceanim_cli.errors import UsageError, some_of
from faceanim_cli.files import cut_name

LONGEST_NAME = 240  # bytes: below the 255 at which file systems end names


def default_output(*inputs: Path, suffix: str) -> Path:
    """A name in the current folder, made of those of the inputs: ``photo-driver.mp4``."""
    names = "-".join(path.stem or path.resolve().stem for path in inputs)
    return Path(cut_name(names, LONGEST_NAME - len(suffix)) + suffix)


def check_replacing(paths: Sequence[Path], overwrite: bool, ours: Callable[[Path], bool]) -> None:
    """Make sure that nothing is lost which faceanim did not make; a person on the terminal is asked.

    Args:
        paths: what is about to be written.
        overwrite: whether it was agreed to on the command line.
        ours: whether there is nothing at a path, or something that faceanim made.

    Raises:
        UsageError: something would be lost.
    """
    others = [] if overwrite else [path for path in paths if not ours(path)]
    if not others:
        return
    told = some_of([*map(str, others)], 1)
    question = f"faceanim did not make {told}. Replace it?"
    if not (on_terminal() and typer.confirm(question, err=True)):
        raise UsageError(
            f"cannot write {told}: it is there, and faceanim did not make it; name another, or "
            "replace it with --overwrite"
        )
