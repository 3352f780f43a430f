"""Outputs appear whole or not at all: a temporary name in the same folder, then one rename."""

import contextlib
import errno
import functools
import hashlib
import itertools
import logging
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from faceanim_cli.errors import FaceanimError
from faceanim_cli.files import cut_name
from faceanim_cli.media.output_checks import check_folder, check_writable

logger = logging.getLogger(__name__)

STEM_BYTES = 80
"""Of a temporary name: file names end at 255 bytes, on some disks at 143, of any script."""
ABANDONED_S = 86_400
"""After so long without a change, what another machine was writing is taken for left."""
REPLACED = ".replaced"
"""Suffix of the temporary name that an older folder has while a new one takes its place."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
RUST_ERROR = re.compile(
    r"(?:\(os error |Os \{ code: )(\d+)"
)  # what the system told safetensors; 0.4 by number


def partial_path(target: Path, suffix: str = "") -> Path:
    """A hidden, unused name beside ``target``.

    Machine and process id tell whose leftover it is after a power cut; the random part keeps two writers of
    one process apart.

    Args:
        target: what will be written.
        suffix: of a file on the way to it; it follows that of ``target``.
    """
    mark = f"partial-{_machine()}-{os.getpid()}-{secrets.token_hex(3)}"
    return target.with_name(
        f".{cut_name(target.stem, STEM_BYTES)}.{mark}{cut_name(target.suffix, STEM_BYTES)}{suffix}"
    )


def keep(partial: Path, target: Path) -> Path:
    """Give what is finished but cannot be called ``target`` a visible, free name beside it; tell which."""
    for number in itertools.count(1):
        kept = target.with_name(
            f"{cut_name(target.stem, STEM_BYTES)}-{number}{cut_name(target.suffix, STEM_BYTES)}"
        )
        if not os.path.lexists(kept):
            break
    try:
        partial.rename(kept)
    except OSError:  # a folder that takes no changes any more
        return partial
    return kept


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; rename it to ``path`` if the block succeeds, remove it if anything is raised.

    Anything includes ``KeyboardInterrupt``. An older file at ``path`` stays as it was until the rename, and
    hands on its mode; a new one gets what the umask leaves. Through a symbolic link the file that it points
    to is replaced, not the link.

    Raises:
        UsageError: as ``check_writable``.
        FaceanimError: the block wrote nothing or found no space, or the rename failed; the file is then kept
            under another name.
    """
    check_writable(path)
    target = Path(path).resolve()
    partial = partial_path(target)
    mode = _mode(target)
    remove = True
    try:
        yield partial
        if not partial.is_file():
            raise FaceanimError(f"cannot write {path}: nothing was written")
        if stat.S_IMODE(partial.stat().st_mode) != mode:  # safetensors makes files that are its owner's alone
            with contextlib.suppress(PermissionError):  # a disk without modes
                partial.chmod(mode)
        try:
            partial.replace(target)
        except OSError as error:
            remove = False
            kept = keep(partial, target)
            raise FaceanimError(
                f"cannot write {path}: {error.strerror}; is it open in another program? The finished file is "
                f"kept as {kept}"
            ) from error
    except Exception as error:
        reason = _lack_of_space(error)
        if reason is None:
            raise
        raise FaceanimError(f"cannot write {path}: {reason}") from error
    finally:
        if remove:
            partial.unlink(missing_ok=True)  # gone already when the rename succeeded


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """As ``whole_file``, a folder; an older one at ``path`` goes, with all that is in it.

    Raises:
        UsageError: as ``check_folder``.
        FaceanimError: the block found no space, or the rename failed.
    """
    check_folder(path)
    target = Path(path).resolve()
    partial = partial_path(target)
    partial.mkdir()
    try:
        yield partial
        replace_folder(partial, target)
    except OSError as error:
        raise FaceanimError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone when it was renamed


def replace_folder(partial: Path, target: Path) -> None:
    """Let a finished folder take its name; the older one of that name goes, or stays if that fails.

    Who is killed between the two renames leaves the older one under a name by which ``remove_leftovers`` puts
    it back.

    Raises:
        OSError: one of the two could not be renamed.
    """
    older = partial_path(target, REPLACED)
    try:
        if target.exists():
            shutil.copymode(target, partial)
            target.rename(older)
        partial.rename(target)
        shutil.rmtree(older, ignore_errors=True)
    except BaseException:  # Ctrl-C, too
        if not partial.exists():
            shutil.rmtree(older, ignore_errors=True)
        elif older.exists() and not target.exists():
            older.rename(target)
        raise


def _mode(target: Path) -> int:
    """That of the file at ``target``, or else of a new one there: found by making one, since asking for the
    umask means to set it, for other threads too, and folders may have rules of their own."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    trial = partial_path(target)
    try:
        trial.open("xb").close()
        return stat.S_IMODE(trial.stat().st_mode)
    finally:
        trial.unlink(missing_ok=True)


def _lack_of_space(error: Exception) -> str | None:
    """What the system said, if it was that no more can be written."""
    # One of ours says it all; torch.save() follows what the system said with an error of its own.
    cause: BaseException | None = None if isinstance(error, FaceanimError) else error
    while cause is not None:
        told = RUST_ERROR.search(str(cause))
        number = cause.errno if isinstance(cause, OSError) else told and int(told[1])
        if number and number in NO_SPACE:
            return os.strerror(number)
        cause = cause.__context__
    return None


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what a killed process left of ``path`` under a temporary name; an older folder that it was about
    to replace gets its name back.

    Called by who is about to write ``path``: this process has no such file yet, and in a container it may
    well have the number of one that was killed. Only POSIX tells whether a process is alive without touching
    it; elsewhere nothing is removed. Of other machines' processes, whose disk this may be too, nobody here
    knows: what they write is theirs until it has not changed for a day.
    """
    target = Path(path).resolve()
    if os.name != "posix" or not target.parent.is_dir():
        return
    stem, suffix = (
        re.escape(cut_name(target.stem, STEM_BYTES)),
        re.escape(cut_name(target.suffix, STEM_BYTES)),
    )
    name = re.compile(rf"\.{stem}\.partial-(?:([0-9a-f]{{6}})-)?(\d+)-[0-9a-f]{{6}}{suffix}(\.[a-z]+)?")
    try:
        files = list(target.parent.iterdir())
    except PermissionError:  # a folder that takes files but does not show them
        return
    for file in files:
        match = name.fullmatch(file.name)
        if match is None or _is_being_written(file, match[1], int(match[2])):
            continue
        with contextlib.suppress(OSError):  # somebody else's: it is in nobody's way
            if match[3] == REPLACED and not os.path.lexists(target):
                file.rename(target)
                logger.warning("%s: is back; a run was killed as it replaced it", path)
            elif file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink()


def _is_being_written(partial: Path, machine: str | None, process: int) -> bool:
    """Whether somebody may be at it; of the process alone, as older versions have it, on this machine."""
    if machine in (None, _machine()):
        return process != os.getpid() and _is_alive(process)
    try:
        return time.time() - partial.stat().st_mtime < ABANDONED_S
    except OSError:  # gone meanwhile
        return True


@functools.cache
def _machine() -> str:
    """What tells this machine from others; its name would be nobody's business."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
