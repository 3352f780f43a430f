"""Checks before the work whether an output can be written."""

import os
import re
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from faceanim_cli.errors import UsageError

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[\\/]")  # two letters at least: C:\ is a drive


def check_writable(path: str | os.PathLike[str]) -> None:
    """Make sure, before hours of work, that an output can be written.

    The folder is tried with a file that vanishes at once: permission bits lie about read-only mounts,
    about root and about Windows. Missing folders are not created, since a typo would go unnoticed.

    Raises:
        UsageError: the parent folder is missing or refuses a new file, or ``path`` is a folder, a device, an
            address or ``-``.
    """
    if _is_folder(path):
        raise UsageError(f"cannot write {path}: it is a folder; give a file name inside it")
    _check_parent(path)


def check_folder(path: str | os.PathLike[str]) -> None:
    """Make sure, before hours of work, that a folder can be made at ``path``, or replaced if it is there.

    Raises:
        UsageError: the parent folder is missing or refuses a new file, or ``path`` is a file, a device, an
            address or ``-``.
    """
    if _is_folder(path) is False:
        raise UsageError(f"cannot write {path}: it is a file; give a folder's name")
    _check_parent(path)


def check_folder_of_ours(path: Path, first_foreign: Callable[[Path], str | None], or_else: str = "") -> None:
    """As ``check_folder``; and a folder that is there must hold nothing of others.

    Args:
        path: the folder.
        first_foreign: the name of a file of others in a folder, or None; may raise OSError.
        or_else: what to write in its place, for the message.

    Raises:
        UsageError: as ``check_folder``; other files are there, or cannot be listed.
    """
    check_folder(path)
    try:
        foreign = first_foreign(path) if path.is_dir() else None
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: nobody can list what is in the folder ({error.strerror}); name a new one"
        ) from error
    if foreign is not None:
        raise UsageError(
            f"cannot write {path}: the folder holds other files ({foreign}); name a new folder{or_else}"
        )


def check_not_input(path: str | os.PathLike[str], *inputs: Path) -> None:
    """Make sure that an output does not take the place of an input, under whatever name.

    Raises:
        UsageError: it would: it is the same file or folder, or a folder that holds the input.
    """
    target = Path(path)
    for file in inputs:
        if not (os.path.exists(target) and os.path.exists(file)):  # noqa: PTH110 (Path's raises on long names)
            continue
        if target.samefile(file):
            raise UsageError(f"cannot write {path}: it is an input and would be lost; name another")
        if target.is_dir() and any(target.samefile(folder) for folder in file.resolve().parents):
            raise UsageError(f"cannot write {path}: the input {file} lies in it; name another folder")


def _is_folder(path: str | os.PathLike[str]) -> bool | None:
    """Whether ``path`` leads to a folder; False for a file, None for nothing.

    Raises:
        UsageError: it leads to something else, or nowhere.
    """
    if str(path) == "-":
        raise UsageError(
            "cannot write to standard output: a result takes its name when it is whole; give a file name"
        )
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (not of the resolved path: /dev/stdout resolves to nothing)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # too long, a loop of links, behind a folder that is not ours to enter
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot write {path}: {reason}; choose another name") from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # renaming over /dev/null would replace it
        raise UsageError(f"cannot write {path}: it is a device or a pipe; give a file name")
    return stat.S_ISDIR(mode)


def _check_parent(path: str | os.PathLike[str]) -> None:
    parent = Path(path).resolve().parent
    if not parent.is_dir():
        if ADDRESS.match(str(path)):
            raise UsageError(f"cannot write {path}: it is an address; write to a file and upload it")
        raise UsageError(f"cannot write {path}: the folder {parent} does not exist; create it first")
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: the folder {parent} is not writable ({error.strerror}); choose another"
        ) from error
