"""A data folder's clips and photos: ``manifest.csv``, and folders of clips that have none.

``manifest.csv`` has the columns ``file`` (the path inside the data folder), ``split`` (train or val) and
``identity`` (one person); others are kept. Nothing else reads or writes the file.
"""

import csv
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceanim_cli.csv_tables import read_table
from faceanim_cli.data.landmarks import LANDMARKS_FOLDER
from faceanim_cli.data.stacked_frames import is_photo, stacked_count
from faceanim_cli.errors import UnreadableInputError, some_of
from faceanim_cli.media import whole_file
from faceanim_cli.media.find_files import VIDEO_SUFFIXES, holds_frames, walk

MANIFEST = "manifest.csv"
REQUIRED = ("file", "split", "identity")
ARRAY_SUFFIX = ".npy"  # frames (N, H, W, 3), uint8 or float in [0, 1]: what research code saves
CLIP_SUFFIXES = VIDEO_SUFFIXES | {ARRAY_SUFFIX}
ALL_SPLITS = "all"


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


def in_both_splits(people: Iterable[tuple[str, str]]) -> list[str]:
    """Identities that are in both splits, train and val, by name, of pairs (identity, split)."""
    splits: dict[str, set[str]] = defaultdict(set)
    for identity, split in people:
        splits[identity].add(split)
    return sorted(identity for identity, found in splits.items() if {"train", "val"} <= found)


@dataclass(frozen=True)
class ClipFile:
    """A clip on disk.

    Attributes:
        name: unique among the clips; the path inside the data folder, without suffix.
        path: a video, a folder of frames, a picture of frames side by side, or an array of frames.
        identity: whose face it is; the clip's own name where nothing tells.
        landmarks: the file that ``landmarks.read_landmarks`` takes, or None.
        split: train or val, where a manifest tells.
    """

    name: str
    path: Path
    identity: str
    landmarks: Path | None = None
    split: str = ""


def find_clips(data: Path, split: str = "val") -> list[ClipFile]:
    """The clips of ``data``, in the manifest's order or by name.

    Args:
        data: a folder with manifest.csv (columns file, split, identity); a folder, of any depth, of videos,
            of folders of frames, or both; a folder of frames; or one video. ``landmarks/<clip>.npy`` beside
            the clips is used where only one clip is called so.
        split: the manifest's people to score, or "all". Of no effect without a manifest.

    Raises:
        UnreadableInputError: nothing there, a column missing, or no clip of the split.
    """
    if not data.exists():
        raise UnreadableInputError(f"{data}: no such folder; give --data a folder of clips")
    if has_manifest(data):
        clips = [clip for clip in _listed(data) if split in (clip.split, ALL_SPLITS)]
        if not clips:
            known = ", ".join(sorted({row.split for row in read_manifest(data)} | {ALL_SPLITS}))
            raise UnreadableInputError(
                f"{data / MANIFEST}: names no clip of the split {split}; splits are {known}"
            )
        return clips
    if data.is_file():
        return [ClipFile(data.stem, data, identity_of(data.stem))]
    named = named_clips(data)
    stems = [path.stem for path in named.values()]
    clips = [
        # Two people's 0001.mp4 cannot both have landmarks/0001.npy.
        ClipFile(
            name, path, identity_of(name), _landmarks(data, path) if stems.count(path.stem) == 1 else None
        )
        for name, path in named.items()
    ]
    if not clips:
        raise UnreadableInputError(f"{data}: no video and no folder of frames in it")
    return clips


def clips_with_landmarks(data: Path) -> list[ClipFile]:
    """The clips of a data folder that can be trained on and validated on, in the manifest's order.

    Raises:
        UnreadableInputError: no manifest, a column missing, no clip in it that has landmarks, two clips that
            would share their landmarks, or a person in both splits.
    """
    clips = [clip for clip in _listed(data) if clip.landmarks is not None]
    manifest = data / MANIFEST
    if not clips:
        raise UnreadableInputError(f"{manifest}: names no clip that has {LANDMARKS_FOLDER}/<clip>.npy")
    twice = [name for name, count in Counter(clip.path.stem for clip in clips).items() if count > 1]
    if twice:
        raise UnreadableInputError(
            f"{manifest}: two clips are called {twice[0]} and would share their landmarks; rename one"
        )
    if both := in_both_splits((clip.identity, clip.split) for clip in clips):
        raise UnreadableInputError(
            f"{manifest}: {some_of(both)} in train and in val; give each person one split"
        )
    return clips


def named_clips(folder: Path) -> dict[str, Path]:
    """Clips in a folder by name: the path inside it, without suffix unless two would be called the same.

    A folder of frames is a clip. A folder that is nothing but frames is one clip, called like itself.
    """
    if holds_frames(folder):
        return {folder.name: folder}
    found = sorted(_clip_paths(folder))
    stems = [path.relative_to(folder).with_suffix("") if path.is_file() else path for path in found]
    named: dict[str, Path] = {}
    for path, stem in zip(found, stems, strict=True):
        inside = path.relative_to(folder)
        short = inside.with_suffix("") if path.is_file() and stems.count(stem) == 1 else inside
        named[short.as_posix()] = path
    return named


def identity_of(name: str) -> str:
    """Whose clip it is by VoxCeleb's naming, ``id10283#video#from#to``, ``id10283/video``; else its name."""
    last = name.rpartition("/")[2]
    if "#" in last:
        return last.partition("#")[0]
    first = name.partition("/")[0]
    return first if first.startswith("id") and first[2:].isdecimal() else name


def example_clips() -> Path:
    """The folder of the clips that ship."""
    return Path(__file__).parent / "example_clips"


def list_hash(clips: Sequence[ClipFile]) -> str:
    """SHA-256 over names and sizes in bytes: the same for the same list of the same files, in any order."""
    lines = sorted(f"{clip.name} {_bytes(clip.path)}" for clip in clips)
    return hashlib.sha256(os.fsencode("\n".join(lines))).hexdigest()


def _listed(data: Path) -> Iterator[ClipFile]:
    """The clips of a manifest; photos of the same people may be listed too."""
    for row in read_manifest(data):
        if not row.is_photo:
            yield ClipFile(row.name, row.path, row.identity, _landmarks(data, row.path), row.split)


def _landmarks(data: Path, clip: Path) -> Path | None:
    path = data / LANDMARKS_FOLDER / f"{clip.stem}.npy"
    return path if path.is_file() else None


def _clip_paths(folder: Path) -> Iterator[Path]:
    for listing in walk(folder, CLIP_SUFFIXES, skip={LANDMARKS_FOLDER}):
        yield from listing.videos
        if listing.photos and not listing.videos:  # beside videos they are previews
            stacked = bool(stacked_count(listing.photos[0]))
            yield from listing.photos if stacked else [listing.folder]


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size if path.is_file() else -1
