"""The journal of a preparation, by which it resumes, and the manifest that is made from it.

``prepared.jsonl`` in the data folder: a line with the settings, one with the manifest as it was last written,
then one for each video or photo, appended once all that it became is whole. Of a source that is in there
twice, the later line counts. A line that a power cut left half-written is no line.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from faceanim_cli.data.data_folder import (
    MANIFEST,
    ManifestRow,
    has_manifest,
    in_both_splits,
    read_manifest,
    write_manifest,
)
from faceanim_cli.data.landmarks import landmark_files
from faceanim_cli.data.one_video import PreparedClip, PreparedVideo
from faceanim_cli.data.sequences import Dropped
from faceanim_cli.data.sources import Source
from faceanim_cli.data.vox_metadata import VoxRow
from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from faceanim_cli.files import file_stamp, parse_json
from faceanim_cli.media import whole_file

FILE = "prepared.jsonl"
COLUMNS = (
    *("file", "split", "identity", "source", "start", "frames", "fps", "width", "height"),
    *("box", "face_px", "landmarks", "sha256"),
)
SPLITS = ("train", "val")


@dataclass
class Journal:
    """The sources that are done, by their path.

    Attributes:
        folder: the data folder.
        settings: what all of its clips share.
        videos: what became of each source.
        manifest: person and split of each file as they were last written, but for what people had changed by
            hand: so changes are told from what was written, for good. Empty before the first time.
        draw: share and seed of the validation people at that time.
    """

    folder: Path
    settings: Mapping[str, Any]
    videos: dict[str, PreparedVideo] = field(default_factory=dict)
    manifest: dict[str, dict[str, str]] = field(default_factory=dict)
    draw: list[float] = field(default_factory=list)
    _stamps: dict[str, Any] = field(default_factory=dict)
    _stream: TextIO | None = None

    @classmethod
    def read(cls, folder: Path, settings: Mapping[str, Any]) -> "Journal":
        """The journal of a data folder; an empty one where there is none.

        Raises:
            UsageError: the folder was prepared with other settings.
            UnreadableInputError: a journal that does not read.
        """
        journal = cls(folder, settings)
        path = folder / FILE
        if not path.is_file():
            return journal
        try:
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
            lines = text.split("\n")[:-1]  # the last is empty, or broken off
            before = dict(parse_json(lines[0])["settings"] if lines else settings)
            for line in lines[1:]:
                journal._read_entry(parse_json(line))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UnreadableInputError(
                f"{path}: damaged ({error}); delete it to prepare this folder anew"
            ) from error
        changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
        if changed:
            was = ", ".join(f"{key} {before.get(key)}" for key in changed)
            raise UsageError(f"{folder} was prepared with other settings ({was}); take these, or another -o")
        return journal

    def knows(self, source: Source, listed: list[VoxRow] | None = None) -> bool:
        """Whether a source is done as it would be now, and all that it became is still there."""
        key = key_of(source)
        if self._stamps.get(key) != _stamp(source, listed):
            return False
        return all(path.is_file() for clip in self.videos[key].clips for path in clip.files(self.folder))

    def rename(self, sources: list[Source]) -> None:
        """Give videos that are known the person and the split that they have by now."""
        for source in sources:
            video = self.videos.get(key_of(source))
            if video is not None:
                self.videos[key_of(source)] = replace(video, identity=source.identity, split=source.split)

    @contextlib.contextmanager
    def appending(self) -> Iterator[None]:
        """The journal open for ``add``; first rewritten without a broken last line."""
        self.write()
        with self._path.open("a", encoding="utf-8", errors="surrogateescape") as self._stream:
            yield

    def write(self) -> None:
        """Write the whole journal."""
        with (
            whole_file(self._path) as partial,
            partial.open("w", encoding="utf-8", errors="surrogateescape") as stream,
        ):
            stream.write(json.dumps({"settings": self.settings}) + "\n")
            written = {"manifest": self.manifest, "draw": self.draw}
            stream.write(json.dumps(written, ensure_ascii=False) + "\n")
            for key, video in self.videos.items():
                stream.write(_line(key, self._stamps[key], video))

    def add(self, source: Source, video: PreparedVideo, listed: list[VoxRow] | None = None) -> None:
        """A source is done. What it became before and does no more is removed.

        Raises:
            FaceanimError: the line cannot be written.
        """
        assert self._stream is not None
        key, stamp = key_of(source), _stamp(source, listed)
        video = replace(video, identity=source.identity, split=source.split)
        kept = {path for clip in video.clips for path in clip.files(self.folder)}
        for clip in self.videos[key].clips if key in self.videos else ():
            for path in clip.files(self.folder):
                if path not in kept:
                    path.unlink(missing_ok=True)
        try:
            self._stream.write(_line(key, stamp, video))
            self._stream.flush()
        except OSError as error:
            raise FaceanimError(f"cannot write {self._path}: {error.strerror}") from error
        self.videos[key], self._stamps[key] = video, stamp

    @property
    def _path(self) -> Path:
        return self.folder / FILE

    def _read_entry(self, entry: dict[str, Any]) -> None:
        if "manifest" in entry:
            self.manifest, self.draw = dict(entry["manifest"]), list(entry["draw"])
            return
        if "identity" not in entry:  # of an older version: prepared anew
            return
        key = entry["source"]
        clips = [PreparedClip(**{**clip, "box": tuple(clip["box"])}) for clip in entry["clips"]]
        dropped = [Dropped(**dropped) for dropped in entry["dropped"]]
        self.videos[key] = PreparedVideo(clips, dropped, entry["identity"], entry["split"])
        self._stamps[key] = entry["stamp"]


def key_of(source: Source) -> str:
    """A source's name in the journal: the same from every folder."""
    return str(source.path.resolve())


def _line(key: str, stamp: Any, video: PreparedVideo) -> str:
    return json.dumps({"source": key, "stamp": stamp, **asdict(video)}, ensure_ascii=False) + "\n"


def _stamp(source: Source, listed: list[VoxRow] | None) -> Any:
    """What a source's clips depend on, as JSON values; another for a file that was downloaded again."""
    try:
        files = [source.path, *(landmark_files(source.landmarks) if source.landmarks else ())]
        return [[file_stamp(path) for path in files], sorted(map(repr, listed)) if listed else None]
    except OSError:
        return None


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
    they took out or added, columns of their own. Who was trained on never gets into val unasked.

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
    for person in in_both_splits((row["identity"], row["split"].lower()) for row in rows):
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
    so that data may grow: nobody who was trained on gets into val. From two people on at least one is in val,
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
    in_val = max(0, wanted - sum(split == "val" for split in splits.values()))
    if len(new) == len(names):
        in_val = min(in_val, max(len(names) - 1, 0))  # somebody must be trained on
    return splits | {name: "val" if place < in_val else "train" for place, name in enumerate(new)}


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
