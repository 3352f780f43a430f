"""The report of a batch, a line of JSON for each item, and what it leaves to do with ``--resume``."""

import contextlib
import io
import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from faceanim_cli.batch.items import BatchItem, InputStamps, ItemReport
from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError, some_of
from faceanim_cli.files import parse_json
from faceanim_cli.media import check_writable, whole_file
from faceanim_cli.media.find_files import frame_files

try:
    import fcntl
except ImportError:  # Windows, which lets nobody replace a file that is open
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

WEIGHTS = "weights_sha256"
"""The setting that tells weights by their content; not compared where it is not known, as in a dry run."""


@contextlib.contextmanager
def open_report(path: Path, keep: Sequence[ItemReport] = ()) -> Iterator[Callable[[ItemReport], None]]:
    """What adds lines to the file of ``--report``, one an item. A killed process loses the last at worst.

    It begins with ``keep``: the lines of an earlier run that still hold. An added line is on the disk before
    the next item is begun: a power cut then takes nothing that was told.

    Raises:
        UsageError: the place cannot be written, or another batch is writing it.
        FaceanimError: of adding a line: the disk is full.
    """
    with contextlib.ExitStack() as stack:
        if path.is_file():
            stack.enter_context(_locked(path))
        with whole_file(path) as partial:
            partial.write_text("".join(map(_line, keep)), encoding="utf-8")
        file = stack.enter_context(_locked(path))

        def add(report: ItemReport) -> None:
            line = memoryview(_line(report).encode())
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except OSError as error:
                raise FaceanimError(
                    f"cannot write {path}: {error.strerror}; what is done is whole, --resume does the rest"
                ) from error

        yield add


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
            report = ItemReport(**parse_json(line))
            told = (report.settings or {}, report.inputs or {})
            if not isinstance(report.output, str) or not all(isinstance(values, dict) for values in told):
                raise TypeError("values of other kinds")
            reports.append(report)
        except (ValueError, TypeError) as error:
            raise UnreadableInputError(
                f"{path}, line {number}: not a line of a report; give --report another name"
            ) from error
    return reports


def _line(report: ItemReport) -> str:
    return json.dumps(asdict(report)) + "\n"


def input_stamps(item: BatchItem) -> InputStamps:
    """Bytes and time of modification, in nanoseconds, of photo and driver; what is not there has none.

    Of a folder of frames it is their number, all their bytes, and the time of the latest.
    """
    return {"photo": _stamp(item.photo), "driver": _stamp(item.driver)}


def split_done(
    items: Sequence[BatchItem], earlier: Sequence[ItemReport] = (), settings: Mapping[str, Any] | None = None
) -> tuple[list[BatchItem], list[ItemReport]]:
    """What is left to do, and the reports on what is done. What is to be done again, the log says, and why.

    A result appears only when it is whole, so that what is there is done; unless it is empty, as a power cut
    may leave it, or ``earlier`` says that making it failed, or that it was made from another pair, with other
    settings, or from files that have changed since.

    Args:
        items: all of the batch.
        earlier: the lines of an earlier run's report.
        settings: what results depend on now; None if nothing is known about it.
    """
    known = {report.output: report for report in earlier}
    left, done = [], []
    changes: dict[str, list[BatchItem]] = defaultdict(list)
    for item in items:
        report = known.get(str(item.output), ItemReport.of(item, "skipped"))
        if report.status == "failed" or not _holds_something(item.output):
            left.append(item)
        elif change := _change(item, report, settings):
            changes[change].append(item)
            left.append(item)
        else:
            done.append(report)
    for change, again in changes.items():
        logger.warning("%s: done again, since %s", some_of([str(item.output) for item in again], 1), change)
    return left, done


def _change(item: BatchItem, report: ItemReport, settings: Mapping[str, Any] | None) -> str:
    """Why a result is not what would be made now; empty if it is, as far as is known."""
    if (report.photo, report.driver) != (str(item.photo), str(item.driver)):
        return "it was made of another pair"
    if report.settings is not None and settings is not None:
        keys = {*report.settings, *settings} - ({WEIGHTS} - settings.keys())
        other = sorted(key for key in keys if report.settings.get(key) != settings.get(key))
        if other:
            names = ("weights" if key == WEIGHTS else key.replace("_", "-") for key in other)
            return f"other settings made it: {', '.join(names)}"
    for name, stamp in input_stamps(item).items():
        before = (report.inputs or {}).get(name)
        if before is not None and stamp is not None and before != stamp:
            return f"its {name} has changed"
    return ""


def _holds_something(output: Path) -> bool:
    try:
        return any(output.iterdir()) if output.is_dir() else output.is_file() and output.stat().st_size > 0
    except OSError:  # a folder that shows nobody what is in it; whoever is to write there says so
        return False


def _stamp(path: Path) -> list[int] | None:
    try:
        if not path.is_dir():
            status = path.stat()
            return [status.st_size, status.st_mtime_ns]
        frames = [file.stat() for file in frame_files(path)]
        return [len(frames), sum(f.st_size for f in frames), max((f.st_mtime_ns for f in frames), default=0)]
    except OSError:
        return None
