"""``manifest.csv``: the clips and photos of a data folder, whose they are, and who judges.

The columns ``file`` (the path inside the data folder), ``split`` (train or val) and ``identity`` (one person)
must be there; others are kept. Nothing else reads or writes the file.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceanim_cli.csv_tables import read_table
from faceanim_cli.data.stacked_frames import is_photo
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media import whole_file

MANIFEST = "manifest.csv"
REQUIRED = ("file", "split", "identity")


@dataclass(frozen=True)
class ManifestRow:
    """A clip or a photo.

    Attributes:
        path: where it lies.
        file: the same, inside the data folder, with forward slashes.
        split: train or val; whatever else is used for nothing.
        identity: whose face it is.
        cells: the whole row by heading, as it is written.
    """

    path: Path
    file: str
    split: str
    identity: str
    cells: Mapping[str, str]

    @property
    def name(self) -> str:
        """The file without ``clips/`` and suffix."""
        return self.file.removesuffix(Path(self.file).suffix).removeprefix("clips/")

    @property
    def is_photo(self) -> bool:
        """Whether this is a photo, for super-resolution, and no clip."""
        return is_photo(self.path)


def has_manifest(data: Path) -> bool:
    """Whether this is a data folder."""
    return (data / MANIFEST).is_file()


def read_manifest(data: Path) -> list[ManifestRow]:
    """The rows of a data folder's manifest, in its order; written on Windows as well.

    Raises:
        UnreadableInputError: no manifest, no table, a column missing, or a row without a file.
    """
    path = data / MANIFEST
    if not path.is_file():
        raise UnreadableInputError(f"{data}: no {MANIFEST} in this folder; faceanim prepare makes one")
    table = read_table(path, REQUIRED)
    rows = []
    for cells, line in zip(table.rows, table.lines, strict=True):
        file = cells["file"]
        if not file:
            raise UnreadableInputError(f"{path}, line {line}: names no file")
        if "\\" in file and not (data / file).exists():
            file = file.replace("\\", "/")
        identity = cells["identity"] or file.removesuffix(Path(file).suffix)
        rows.append(ManifestRow(data / file, file, cells["split"].lower(), identity, cells))
    return rows


def write_manifest(data: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the manifest; it appears whole or not at all."""
    write_table(data / MANIFEST, columns, rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table with headings: UTF-8, commas; it appears whole or not at all."""
    # Names that are no text, as old disks have them, are written as the file system spells them.
    with (
        whole_file(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def on_both_sides(people: Iterable[tuple[str, str]]) -> list[str]:
    """Identities that are trained on and judge as well, by name, of pairs (identity, split)."""
    splits: dict[str, set[str]] = defaultdict(set)
    for identity, split in people:
        splits[identity].add(split)
    return sorted(identity for identity, found in splits.items() if {"train", "val"} <= found)
