"""The manifest of prepared data: what preparation made, and what people have changed in it since."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from faceanim_cli.data.journal import Journal
from faceanim_cli.data.manifest import (
    MANIFEST,
    ManifestRow,
    has_manifest,
    on_both_sides,
    read_manifest,
    write_manifest,
)
from faceanim_cli.data.one_video import PreparedClip

COLUMNS = (
    *("file", "split", "identity", "source", "start", "frames", "fps", "width", "height"),
    *("box", "face_px", "landmarks", "sha256"),
)
SPLITS = ("train", "val")


def update_manifest(
    out: Path,
    journal: Journal,
    clips: Sequence[PreparedClip],
    val_share: float,
    seed: int,
    report: Callable[[str], None],
) -> list[PreparedClip]:
    """Write the manifest of a data folder; the clips that it lists, each with its person and split.

    What people have changed since it was written last stays: a person or a split that they gave, rows that
    they took out or added, columns of their own. Who was trained on never becomes a judge unasked.

    Args:
        out: the data folder.
        journal: knows the manifest as it was written last; takes in the new one.
        clips: all there are.
        val_share, seed: see ``split_people``.
        report: takes lines for people.
    """
    there = read_manifest(out) if has_manifest(out) else []
    by_file = {row.file: row for row in there}
    written = journal.manifest if there else {}
    kept = [clip for clip in clips if clip.file in by_file or clip.file not in written]
    if len(kept) < len(clips):
        report(f"{len(clips) - len(kept)} clips were taken out of the manifest by hand and stay out")
    made = {clip.file: clip for clip in kept}
    own = [row for row in there if row.file not in made and row.file not in written]

    edits = {file: _edits(by_file[file], written.get(file)) for file in made if file in by_file}
    people = {file: edits.get(file, {}).get("identity") or clip.identity or "" for file, clip in made.items()}
    known = _known_splits((people.get(row.file, row.identity), row.split) for row in there)
    known |= _known_splits((people[file], edit.get("split", "").lower()) for file, edit in edits.items())
    undecided = (people[file] for file, clip in made.items() if clip.split is None)
    drawn = split_people(undecided, val_share, seed, known)

    rows = []
    unedited = {file: cells for file, cells in written.items() if file not in by_file}  # taken out by hand
    for file, clip in sorted(made.items()):
        edited = edits.get(file, {}).get("split")
        split = edited or clip.split or drawn[people[file]]
        before = written.get(file, {}).get("split", "")
        unedited[file] = {"split": before if edited else split, "identity": clip.identity or ""}
        made[file] = replace(clip, identity=people[file], split=split)
        own_columns = {c: cell for c, cell in _cells(by_file.get(file)).items() if c not in COLUMNS}
        rows.append(own_columns | _row(made[file]))
    rows += [dict(row.cells) | {"file": row.file} for row in own]
    for person in on_both_sides((row["identity"], row["split"].lower()) for row in rows):
        report(f"{person} is in train and in val: nothing trains until the manifest says one of them")
    if rows:  # a manifest means that there is something to train on
        extra = dict.fromkeys(column for row in rows for column in row if column not in COLUMNS)
        write_manifest(out, (*COLUMNS, *extra), rows)
    if there and journal.draw not in ([], [val_share, seed]):
        report(f"who is in {MANIFEST} keeps the split there; delete it to draw all people anew")
    journal.manifest, journal.draw = unedited, [val_share, seed]
    journal.write()
    return [made[file] for file in sorted(made)]


def split_people(
    people: Iterable[str], val_share: float, seed: int, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Each person's split, train or val.

    The draw depends on names and seed alone, not on order or machine. People in ``known`` keep their split,
    so that data may grow: nobody who was trained on becomes a judge. From two people on at least one judges,
    unless ``val_share`` is 0.

    Args:
        people: names, in any order, repeated or not.
        val_share: of the people, 0 to 1.
        seed: of the draw.
        known: splits from before.
    """
    names = sorted(set(people))
    splits = {name: known[name] for name in names if name in known} if known else {}
    new = sorted((name for name in names if name not in splits), key=lambda name: _draw(seed, name))
    wanted = round(val_share * len(names))
    if val_share > 0 and len(names) > 1:
        wanted = min(max(wanted, 1), len(names) - 1)
    judges = max(0, wanted - sum(split == "val" for split in splits.values()))
    if len(new) == len(names):
        judges = min(judges, max(len(names) - 1, 0))  # somebody must be trained on
    return splits | {name: "val" if place < judges else "train" for place, name in enumerate(new)}


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed} {name}".encode(errors="surrogateescape")).hexdigest()


def _edits(row: ManifestRow, written: Mapping[str, str] | None) -> dict[str, str]:
    """The person and the split that were given by hand: all, where nobody knows what was written."""
    cells = {column: row.cells[column] for column in ("split", "identity")}
    before = written or {}
    return {column: cell for column, cell in cells.items() if cell and cell != before.get(column)}


def _known_splits(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The split of each person: train for one who is on both sides."""
    known: dict[str, str] = {}
    for person, split in rows:
        if split in SPLITS and known.get(person) != "train":
            known[person] = split
    return known


def _cells(row: ManifestRow | None) -> Mapping[str, str]:
    return {} if row is None else row.cells


def _row(clip: PreparedClip) -> dict[str, str]:
    values = asdict(clip) | {"file": clip.file, "box": ",".join(map(str, clip.box))}
    return {column: str(values[column]) for column in COLUMNS}
