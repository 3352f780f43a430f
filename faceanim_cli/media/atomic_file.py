"""Outputs appear whole or not at all: a temporary name in the same folder, then one rename."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from faceanim_cli.errors import FaceanimError
from faceanim_cli.media.output_checks import check_writable


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
