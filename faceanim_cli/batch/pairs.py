"""The pairs of a table that a person wrote: columns photo, driver and, if you like, output."""

import os
from pathlib import Path

from faceanim_cli.batch.items import BatchItem
from faceanim_cli.batch.naming import DEFAULT_NAME, check_inside, check_template, fill_template
from faceanim_cli.batch.plan import BatchPlan, check_outputs, check_results_folder
from faceanim_cli.csv_tables import read_table
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.media.output_checks import ADDRESS
from faceanim_cli.motion.library import is_library_motion


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
