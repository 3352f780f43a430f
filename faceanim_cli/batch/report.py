"""What became of each item of a batch: a line of JSON each, on disk before the next item is begun."""

import contextlib
import io
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from faceanim_cli.batch.items import ItemReport
from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from faceanim_cli.media import check_writable, whole_file

try:
    import fcntl
except ImportError:  # Windows, which lets nobody replace a file that is open
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)


class ReportFile:
    """The lines of ``--report``, one an item. A killed process leaves all lines but, at worst, its last.

    Opened anew, it begins with ``keep``: the lines of an earlier run that still hold.
    """

    def __init__(self, path: Path, keep: Sequence[ItemReport] = ()) -> None:
        """Create the file, or replace it by one that holds ``keep``.

        Raises:
            UsageError: the place cannot be written, or another batch is writing it.
        """
        self._path = path
        with contextlib.ExitStack() as stack:
            if path.is_file():
                stack.enter_context(_locked(path))
            with whole_file(path) as partial:
                partial.write_text("".join(map(_line, keep)), encoding="utf-8")
            self._file = stack.enter_context(_locked(path))
            self._stack = stack.pop_all()

    def add(self, report: ItemReport) -> None:
        """Write a line, and wait until it is on the disk: a power cut then takes nothing that was told.

        Raises:
            FaceanimError: the disk is full.
        """
        line = memoryview(_line(report).encode())
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise FaceanimError(
                f"cannot write {self._path}: {error.strerror}; what is done is whole, --resume does the rest"
            ) from error

    def close(self) -> None:
        """No more lines."""
        self._stack.close()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[io.FileIO]:
    """A report opened for more lines, for this process alone where the system has such locks.

    Raises:
        UsageError: another process has it.
    """
    with io.FileIO(path, "ab") as file:  # without a buffer: what was told is written
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"{path}: another batch is writing it; wait for it, or give --report another name"
                ) from error
            except OSError:  # a network file system without locks
                logger.info("%s: cannot be locked", path)
        yield file


def read_report(path: Path) -> list[ItemReport]:
    """The lines of a report, in their order; none if there is no such file.

    A last line that a power cut left unfinished is left out.

    Raises:
        UsageError: it is a folder. UnreadableInputError: it is not a report.
    """
    if not path.exists():
        return []
    check_writable(path)
    lines = path.read_bytes().split(b"\n")
    reports = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is unfinished
        try:
            reports.append(ItemReport(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise UnreadableInputError(
                f"{path}, line {number}: not a line of a report; give --report another name"
            ) from error
    return reports


def _line(report: ItemReport) -> str:
    return json.dumps(asdict(report)) + "\n"
