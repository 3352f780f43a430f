"""Which clips a folder holds: our layout with a manifest, a folder of clips, or folders of frames."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faceanim_cli.data.landmarks import LANDMARKS_FOLDER
from faceanim_cli.data.manifest import MANIFEST, has_manifest, on_both_sides, read_manifest
from faceanim_cli.data.stacked_frames import stacked_count
from faceanim_cli.errors import UnreadableInputError, some_of
from faceanim_cli.media.find_files import VIDEO_SUFFIXES, holds_frames, walk

ARRAY_SUFFIX = ".npy"  # frames (N, H, W, 3), uint8 or float in [0, 1]: what research code saves
CLIP_SUFFIXES = VIDEO_SUFFIXES | {ARRAY_SUFFIX}
ALL_SPLITS = "all"


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
            would share their landmarks, or a person who is trained on and judges.
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
    if both := on_both_sides((clip.identity, clip.split) for clip in clips):
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
