"""What an interrupted batch left to do: what is not there, or made of something else than it would be."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faceanim_cli.batch.items import BatchItem, InputStamps, ItemReport
from faceanim_cli.media.find_files import frame_files

logger = logging.getLogger(__name__)

WEIGHTS = "weights_sha256"
"""The setting that tells weights by their content; not compared where it is not known, as in a dry run."""


def input_stamps(item: BatchItem) -> InputStamps:
    """Bytes and time of modification, in nanoseconds, of photo and driver; what is not there has none.

    Of a folder of frames it is their number, all their bytes, and the time of the latest.
    """
    return {"photo": _stamp(item.photo), "driver": _stamp(item.driver)}


def split_done(
    items: Sequence[BatchItem],
    earlier: Sequence[ItemReport] = (),
    settings: Mapping[str, Any] | None = None,
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
        others = f" and {len(again) - 1} more" if len(again) > 1 else ""
        logger.warning("%s%s: done again, since %s", again[0].output, others, change)
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
    return any(output.iterdir()) if output.is_dir() else output.is_file() and output.stat().st_size > 0


def _stamp(path: Path) -> list[int] | None:
    try:
        if not path.is_dir():
            status = path.stat()
            return [status.st_size, status.st_mtime_ns]
        frames = [file.stat() for file in frame_files(path)]
        return [len(frames), sum(f.st_size for f in frames), max((f.st_mtime_ns for f in frames), default=0)]
    except OSError:
        return None
