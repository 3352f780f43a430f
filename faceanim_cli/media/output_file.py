"""Outputs appear whole or not at all: a temporary name in the same folder, then one rename."""

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from faceanim_cli.errors import FaceanimError, UsageError


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


def partial_path(target: Path) -> Path:
    """A hidden, unused name beside ``target`` with the same suffix, from which ffmpeg picks the container.

    The process id tells whose leftover it is after a power cut; the random part keeps two writers of one
    process apart.
    """
    stem = target.stem[:100]  # file names end at 255 bytes
    return target.with_name(f".{stem}.partial-{os.getpid()}-{secrets.token_hex(3)}{target.suffix}")


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; rename it to ``path`` if the block succeeds, remove it if anything is raised.

    Anything includes ``KeyboardInterrupt``. An older file at ``path`` stays as it was until the rename.
    Through a symbolic link the file that it points to is replaced, not the link.

    Raises:
        UsageError: as ``check_writable``.
        FaceanimError: the block wrote nothing, or the rename failed.
    """
    check_writable(path)
    target = Path(path).resolve()
    partial = partial_path(target)
    try:
        yield partial
        if not partial.is_file():
            raise FaceanimError(f"cannot write {path}: nothing was written")
        try:
            partial.replace(target)
        except OSError as error:
            raise FaceanimError(
                f"cannot write {path}: {error.strerror}; is it open in another program?"
            ) from error
    finally:
        partial.unlink(missing_ok=True)  # gone already when the rename succeeded


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what a killed process of this machine left of ``path`` under a temporary name.

    Called by who is about to write ``path``: this process has no such file yet, and in a container it may
    well have the number of one that was killed. Only POSIX tells whether a process is alive without touching
    it; elsewhere nothing is removed.
    """
    target = Path(path).resolve()
    if os.name != "posix" or not target.parent.is_dir():
        return
    name = re.compile(
        rf"\.{re.escape(target.stem[:100])}\.partial-(\d+)-[0-9a-f]{{6}}{re.escape(target.suffix)}"
    )
    for file in target.parent.iterdir():
        match = name.fullmatch(file.name)
        if match is None or (int(match[1]) != os.getpid() and _is_alive(int(match[1]))):
            continue
        with contextlib.suppress(OSError):  # somebody else's: it is in nobody's way
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
