"""What became of each item of a batch: a line of JSON each, on disk before the next item is begun."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from faceanim_cli.batch.items import BatchItem, ItemReport
from faceanim_cli.errors import FaceanimError, UnreadableInputError
from faceanim_cli.media import check_writable, whole_file


class ReportFile:
    """The lines of ``--report``, one an item. A killed process leaves all lines but, at worst, its last.

    Opened anew, it begins with ``keep``: the lines of an earlier run that still hold.
    """

    def __init__(self, path: Path, keep: Sequence[ItemReport] = ()) -> None:
        """Create the file, or replace it by one that holds ``keep``.

        Raises:
            UsageError: the place cannot be written.
        """
        with whole_file(path) as partial:
            partial.write_text("".join(map(_line, keep)), encoding="utf-8")
        self._path, self._file = path, path.open("ab")

    def add(self, report: ItemReport) -> None:
        """Write a line, and wait until it is on the disk: a power cut then takes nothing that was told.

        Raises:
            FaceanimError: the disk is full.
        """
        try:
            self._file.write(_line(report).encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise FaceanimError(f"cannot write {self._path}: {error.strerror}") from error

    def close(self) -> None:
        """No more lines."""
        self._file.close()


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


def split_done(
    items: Sequence[BatchItem], earlier: Sequence[ItemReport] = ()
) -> tuple[list[BatchItem], list[ItemReport]]:
    """What an interrupted batch left to do, and the reports on what it had done.

    A result appears only when it is whole, so that what is there is done; unless it is empty, as a power cut
    may leave it, or ``earlier`` says that it was made from another pair, or that making it failed.
    """
    known = {report.output: report for report in earlier}
    left, done = [], []
    for item in items:
        report = known.get(str(item.output), ItemReport.of(item, "skipped"))
        same = (report.photo, report.driver) == (str(item.photo), str(item.driver))
        if _holds_something(item.output) and same and report.status != "failed":
            done.append(report)
        else:
            left.append(item)
    return left, done


def _holds_something(output: Path) -> bool:
    return any(output.iterdir()) if output.is_dir() else output.is_file() and output.stat().st_size > 0


def _line(report: ItemReport) -> str:
    return json.dumps(asdict(report)) + "\n"
