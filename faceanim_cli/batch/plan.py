"""Which photo goes with which driver, and what each result is called."""

import itertools
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from faceanim_cli.batch.find import Found, find_drivers, find_photos, ignored_by_kind, real_path
from faceanim_cli.batch.items import BatchItem
from faceanim_cli.batch.naming import DEFAULT_NAME, check_template, fill_template
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.media.output_checks import ADDRESS, check_folder

Match: TypeAlias = Literal["all", "name"]


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


def _check_feedback(items: Sequence[BatchItem], found: Found, output: Path) -> None:
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
        taken = next((item for item in inside if found.would_take(item.output)), None)
        if taken is not None:
            raise UsageError(
                f"{taken.output} would be an input of the next run; give results a folder of their own"
            )
