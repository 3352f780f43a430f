"""Pairs photos with drivers, and names each result by a template."""

import hashlib
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from string import Formatter
from typing import Literal, TypeAlias

from faceanim_cli.batch.find import FoundFiles, find_drivers, find_photos, ignored_by_kind, real_path
from faceanim_cli.batch.items import BatchItem
from faceanim_cli.csv_tables import read_table
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.files import cut_name
from faceanim_cli.media.output_checks import ADDRESS, check_folder
from faceanim_cli.motion.library import is_library_motion

Match: TypeAlias = Literal["all", "name"]

FIELDS = ("photo", "driver", "index")
DEFAULT_NAME = "{photo}-{driver}.mp4"
INDEX_FORMAT = re.compile(r"(0?[1-9])?d?")  # at most nine digits
LONGEST_NAME = 255  # bytes, on nearly all file systems
LONGEST_SUFFIX = 16  # of letters; more is a dot in the middle of a name
HASH_DIGITS = 8


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
    check_results_folder(output)
    found = find_photos(photos, output), find_drivers(drivers, output)
    notes = [
        f"{where}: ignored {ignored_by_kind(kind.ignored)}"
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
    check_outputs(items)
    for side in found:
        _check_feedback(items, side, output)
    return BatchPlan(tuple(items), tuple(notes))


def plan_pairs(table: Path, output: Path, *, name: str = DEFAULT_NAME) -> BatchPlan:
    """The pairs of a CSV file with the columns photo, driver, and optionally output.

    Paths count from the CSV file's folder; a driver may be a motion of the library. Output is the result's
    name in the folder ``output``, and where it is empty ``name`` applies. Pairs of one photo are worked on
    together, otherwise in the file's order.

    Raises:
        UsageError: as ``plan_batch``, or a column that is missing or unknown.
        UnreadableInputError: the file, or a row of it.
    """
    check_template(name)
    check_results_folder(output)
    rows = read_table(table)
    if not {"photo", "driver"} <= set(rows.columns) <= {"photo", "driver", "output"}:
        raise UsageError(
            f"{table}: its columns are {', '.join(rows.columns) or 'none'}; they must be photo, driver and, "
            "if you like, output"
        )
    items = []
    for index, (line, row) in enumerate(zip(rows.lines, rows.rows, strict=True), start=1):
        if not row["photo"] or not row["driver"]:
            raise UnreadableInputError(f"{table}, line {line}: needs a photo and a driver")
        if address := next((row[side] for side in ("photo", "driver") if ADDRESS.match(row[side])), None):
            raise UnreadableInputError(
                f"{table}, line {line}: {address} is an address; download it first and name the file"
            )
        photo = _path(row["photo"], table.parent)
        driver = _path(row["driver"], table.parent)
        if is_library_motion(Path(row["driver"])) and not _exists(driver):
            driver = Path(row["driver"])
        wanted = row.get("output")
        if wanted:
            check_inside(wanted, f"{table}, line {line}: output {wanted}")
        items.append(BatchItem(photo, driver, output / (wanted or fill_template(name, photo, driver, index))))
    if not items:
        raise UnreadableInputError(f"{table}: holds no pairs")
    check_outputs(items)
    order = {photo: number for number, photo in reversed(list(enumerate(item.photo for item in items)))}
    return BatchPlan(tuple(sorted(items, key=lambda item: order[item.photo])), _missing(items))


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
    check_inside(name, f"--name {name}")


def check_inside(name: str, said: str) -> None:
    """Refuse what names no file inside the output folder; ``said`` is how the message begins.

    Raises:
        UsageError: an absolute path, one with "..", or none.
    """
    path = PurePath(name)
    if (
        not path.name
        or path.is_absolute()
        or path.drive
        or ".." in path.parts
        or name.endswith(("/", os.sep))
    ):
        raise UsageError(f"{said} does not name a file inside the output folder")


def fill_template(name: str, photo: Path, driver: Path, index: int) -> str:
    """The result's name; ``name`` has passed :func:`check_template`.

    Where the names of photo and driver together are longer than file systems bear, the end of a folder's or
    file's name is cut off, and a part of its hash keeps it apart from others of the same beginning.
    """
    filled = PurePath(name.format(photo=photo.stem, driver=driver.stem, index=index))
    return str(PurePath(*map(_shortened, filled.parts)))


def _shortened(name: str) -> str:
    if len(os.fsencode(name)) <= LONGEST_NAME:
        return name
    suffix = PurePath(name).suffix
    suffix = suffix if len(suffix) <= LONGEST_SUFFIX else ""
    end = f"-{hashlib.sha256(os.fsencode(name)).hexdigest()[:HASH_DIGITS]}{suffix}"
    return cut_name(name.removesuffix(suffix), LONGEST_NAME - len(os.fsencode(end))) + end


def check_results_folder(output: Path) -> None:
    """Refuse what can be no folder of results; it need not be there yet.

    Raises:
        UsageError: a file, a device, an address, or ``-``.
    """
    if not output.is_dir() and (output.exists() or str(output) == "-" or ADDRESS.match(str(output))):
        check_folder(output)


def check_outputs(items: Sequence[BatchItem]) -> None:
    """Refuse two results of one name, and one that would replace an input.

    Raises:
        UsageError: there is such.
    """
    taken: dict[str, BatchItem] = {}
    for item in items:
        other = taken.setdefault(os.path.normcase(item.output), item)
        if other is not item:
            raise UsageError(
                f"{other.photo} + {other.driver} and {item.photo} + {item.driver} would both be written to "
                f"{item.output}; rename one, or add {{index}} to --name"
            )
    inputs = {real_path(path) for item in items for path in (item.photo, item.driver)}
    for item in items:
        if real_path(item.output) in inputs:
            raise UsageError(f"{item.output} would replace an input; choose another output folder")


def _check_feedback(items: Sequence[BatchItem], found: FoundFiles, output: Path) -> None:
    """Results in the very folder that was searched would be inputs of the next run."""
    if found.searched is None or real_path(found.searched) in real_path(output).parents:
        return  # nothing was searched, or the output folder was left out of the search
    searched = real_path(found.searched)
    folders: dict[Path, list[BatchItem]] = defaultdict(list)
    for item in items:
        folders[item.output.parent].append(item)
    for folder, inside in folders.items():
        if real_path(folder) != searched:
            continue
        taken = next((item for item in inside if found.matches(item.output)), None)
        if taken is not None:
            raise UsageError(
                f"{taken.output} would be an input of the next run; give results a folder of their own"
            )


def _path(cell: str, folder: Path) -> Path:
    """A path in a table, which may begin with ~ or, written on Windows, have backslashes."""
    path = folder / (Path(cell).expanduser() if cell.startswith("~/") else cell)
    if os.sep == "/" and "\\" in cell and not _exists(path):
        return folder / cell.replace("\\", "/")
    return path


def _missing(items: list[BatchItem]) -> tuple[str, ...]:
    """A note on files that are not there: better told now than hours later."""
    drivers = [item.driver for item in items if not is_library_motion(item.driver)]
    files = dict.fromkeys([*(item.photo for item in items), *drivers])
    missing = [file for file in files if not _exists(file)]
    return (f"{len(missing)} of {len(files)} files are not there, {missing[0]} first",) if missing else ()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # its folder is not ours to read, or the name is too long: it is not there for us
        return False
