"""Whether an output may be written at a place: said before hours of work, not after them."""

import os
import tempfile
from pathlib import Path

from faceanim_cli.errors import UsageError


def check_writable(path: str | os.PathLike[str]) -> None:
    """Make sure, before hours of work, that an output can be written.

    The folder is tried with a file that vanishes at once: permission bits lie about read-only mounts,
    about root and about Windows. Missing folders are not created, since a typo would go unnoticed.

    Raises:
        UsageError: the parent folder is missing or refuses a new file, or ``path`` is a folder or a device.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder; give a file name inside it")
    if target.exists() and not target.is_file():  # renaming over /dev/null would replace the device
        raise UsageError(f"cannot write {path}: it is a device or a pipe; give a file name")
    _check_parent(path, target.parent)


def check_folder(path: str | os.PathLike[str]) -> None:
    """Make sure, before hours of work, that a folder can be made at ``path``, or replaced if it is there.

    Raises:
        UsageError: the parent folder is missing or refuses a new file, or ``path`` is a file.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_dir():
        raise UsageError(f"cannot write {path}: it is a file; give a folder's name")
    _check_parent(path, target.parent)


def check_not_input(path: str | os.PathLike[str], *inputs: Path) -> None:
    """Make sure that an output does not take the place of an input, under whatever name.

    Raises:
        UsageError: it would.
    """
    target = Path(path)
    for file in inputs:
        if target.exists() and file.exists() and target.samefile(file):
            raise UsageError(f"cannot write {path}: it is an input and would be lost; name another")


def _check_parent(path: str | os.PathLike[str], parent: Path) -> None:
    if not parent.is_dir():
        raise UsageError(f"cannot write {path}: the folder {parent} does not exist; create it first")
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: the folder {parent} is not writable ({error.strerror}); choose another"
        ) from error
