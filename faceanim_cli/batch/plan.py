"""Which photo goes with which driver, and what each result is called."""

import csv
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from string import Formatter
from typing import Literal, TypeAlias

from faceanim_cli.batch.find import Found, find_drivers, find_photos
from faceanim_cli.batch.items import BatchItem
from faceanim_cli.errors import UnreadableInputError, UsageError

Match: TypeAlias = Literal["all", "name"]

FIELDS = ("photo", "driver", "index")
DEFAULT_NAME = "{photo}-{driver}.mp4"
INDEX_FORMAT = re.compile(r"(0?[1-9])?d?")  # at most nine digits: a name has 255 bytes


@dataclass(frozen=True)
class BatchPlan:
    """A batch, laid out."""

    items: tuple[BatchItem, ...]
    """Photo by photo: a photo is encoded once for all its drivers."""
    notes: tuple[str, ...] = ()
    """What a person should know: files that were passed over."""


def plan_batch(
    photos: str, drivers: str, output: Path, *, match: Match = "all", name: str = DEFAULT_NAME
) -> BatchPlan:
    """Photos and drivers that are files, folders or globs, paired.

    Args:
        photos, drivers: see ``find.py``.
        output: the folder for results. It may lie inside an input folder; what is in it is no input.
        match: "all" combines each photo with each driver, "name" those whose names without suffix are equal.
        name: a result's name: {photo} and {driver} stand for the names without suffix, {index} for the
            number, from 1; ``{index:03d}`` pads it.

    Raises:
        UsageError: the name's template, two results of one name, or results that would be taken as inputs.
        UnreadableInputError: nothing to work with.
    """
    check_template(name)
    found = find_photos(photos, output), find_drivers(drivers, output)
    notes = [
        f"{where}: {kind.ignored} hidden or other files ignored"
        for where, kind in zip((photos, drivers), found, strict=True)
        if kind.ignored
    ]
    pairs = list(itertools.product(*(kind.files for kind in found)))
    if match == "name":
        pairs = [(photo, driver) for photo, driver in pairs if photo.stem == driver.stem]
        if not pairs:
            raise UnreadableInputError(f"no photo in {photos} has the name of a driver in {drivers}")
        for kind, side in enumerate(found):
            alone = sorted(set(side.files) - {pair[kind] for pair in pairs})
            if alone:
                notes.append(f"{(photos, drivers)[kind]}: {len(alone)} without a partner, {alone[0]} first")
    items = [
        BatchItem(photo, driver, output / fill_template(name, photo, driver, index))
        for index, (photo, driver) in enumerate(pairs, start=1)
    ]
    _check_outputs(items)
    for side in found:
        _check_feedback(items, side, output)
    return BatchPlan(tuple(items), tuple(notes))


def plan_pairs(table: Path, output: Path, *, name: str = DEFAULT_NAME) -> BatchPlan:
    """The pairs of a CSV file with the columns photo, driver, and optionally output.

    Paths count from the CSV file's folder; output is the result's name in the folder ``output``, and where it
    is empty ``name`` applies. Pairs of one photo are worked on together, otherwise in the file's order.

    Raises:
        UsageError: as :func:`plan_batch`, or a column that is missing or unknown.
        UnreadableInputError: the file, or a row of it.
    """
    check_template(name)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:  # Excel begins with a byte order mark
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableInputError(f"cannot read the pairs {table}: {reason}; give a CSV file") from error
    if not {"photo", "driver"} <= set(columns) <= {"photo", "driver", "output"}:
        raise UsageError(
            f"{table}: its columns are {', '.join(columns) or 'none'}; they must be photo, driver and, "
            "if you like, output"
        )
    items = []
    for index, (line, row) in enumerate(rows, start=1):
        if None in row or not row["photo"] or not row["driver"]:
            raise UnreadableInputError(f"{table}, line {line}: needs a photo and a driver, and no more")
        photo, driver = table.parent / row["photo"], table.parent / row["driver"]
        wanted = row.get("output")
        if wanted:
            _check_inside(wanted, f"{table}, line {line}: output {wanted}")
        items.append(BatchItem(photo, driver, output / (wanted or fill_template(name, photo, driver, index))))
    if not items:
        raise UnreadableInputError(f"{table}: holds no pairs")
    _check_outputs(items)
    order = {photo: number for number, photo in reversed(list(enumerate(item.photo for item in items)))}
    return BatchPlan(tuple(sorted(items, key=lambda item: order[item.photo])))


def check_template(name: str) -> None:
    """Refuse a template that names no file inside the output folder.

    Raises:
        UsageError: an unknown field, a format that does not fit, an absolute path or one with "..".
    """
    known = ", ".join(f"{{{field}}}" for field in FIELDS)
    try:
        for _, field, spec, conversion in Formatter().parse(name):
            if field is None:
                continue
            if field not in FIELDS:
                raise UsageError(f"--name {name}: unknown {{{field}}}; known are {known}")
            if conversion or (spec and not (field == "index" and INDEX_FORMAT.fullmatch(spec))):
                raise UsageError(f"--name {name}: only the index takes a format, such as {{index:03d}}")
    except ValueError as error:
        raise UsageError(f"--name {name}: {error}; fields are {known}") from error
    _check_inside(name, f"--name {name}")


def fill_template(name: str, photo: Path, driver: Path, index: int) -> str:
    """The result's name; ``name`` has passed :func:`check_template`."""
    return name.format(photo=photo.stem, driver=driver.stem, index=index)


def _check_inside(name: str, said: str) -> None:
    path = PurePath(name)
    if (
        not path.name
        or path.is_absolute()
        or path.drive
        or ".." in path.parts
        or name.endswith(("/", os.sep))
    ):
        raise UsageError(f"{said} does not name a file inside the output folder")


def _check_outputs(items: Sequence[BatchItem]) -> None:
    """Two results of one name, or one that would replace an input."""
    taken: dict[str, BatchItem] = {}
    for item in items:
        other = taken.setdefault(os.path.normcase(item.output), item)
        if other is not item:
            raise UsageError(
                f"{other.photo} + {other.driver} and {item.photo} + {item.driver} would both be written to "
                f"{item.output}; rename one, or add {{index}} to --name"
            )
    inputs = {path.resolve() for item in items for path in (item.photo, item.driver)}
    for item in items:
        if item.output.resolve() in inputs:
            raise UsageError(f"{item.output} would replace an input; choose another output folder")


def _check_feedback(items: Sequence[BatchItem], found: Found, output: Path) -> None:
    """Results in the very folder that was searched would be inputs of the next run."""
    if found.searched is None or found.searched.resolve() in output.resolve().parents:
        return  # nothing was searched, or the output folder was left out of the search
    searched = found.searched.resolve()
    folders: dict[Path, list[BatchItem]] = defaultdict(list)
    for item in items:
        folders[item.output.parent].append(item)
    for folder, inside in folders.items():
        if folder.resolve() != searched:
            continue
        taken = next((item for item in inside if found.would_take(item.output)), None)
        if taken is not None:
            raise UsageError(
                f"{taken.output} would be an input of the next run; give results a folder of their own"
            )
