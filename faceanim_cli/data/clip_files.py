"""Which clips a folder holds: our layout with a manifest, a folder of clips, or folders of frames."""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media.find_files import FRAME_SUFFIXES, VIDEO_SUFFIXES

ARRAY_SUFFIX = ".npy"  # frames (N, H, W, 3), uint8 or float in [0, 1]: what research code saves
CLIP_SUFFIXES = VIDEO_SUFFIXES | {ARRAY_SUFFIX}
ALL_SPLITS = "all"


@dataclass(frozen=True)
class ClipFile:
    """One clip to score.

    Attributes:
        name: unique among the clips; the path inside the data folder, without suffix.
        path: a video, a folder of frames, or an array of frames.
        identity: whose face it is; the clip's own name where nothing tells.
        landmarks: a file (frames, 68, 2), pixels of the clip's frames, NaN where no face was found; or None.
    """

    name: str
    path: Path
    identity: str
    landmarks: Path | None = None


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
    if (data / "manifest.csv").is_file():
        return _listed(data, split)
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


def named_clips(folder: Path) -> dict[str, Path]:
    """Clips in a folder by name: the path inside it, without suffix unless two would be called the same.

    A folder of frames is a clip. A folder that is nothing but frames is one clip, called like itself.
    """
    if _holds_frames(folder):
        return {folder.name: folder}
    found = sorted(_walk(folder))
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
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _listed(data: Path, split: str) -> list[ClipFile]:
    manifest = data / "manifest.csv"
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = {"file", "split", "identity"} - set(rows[0] if rows else ())
    if missing:
        raise UnreadableInputError(f"{manifest}: lacks the columns {', '.join(sorted(missing))}")
    clips = []
    for row in rows:
        path = data / row["file"]
        if path.suffix.lower() in FRAME_SUFFIXES or (split not in (row["split"], ALL_SPLITS)):
            continue  # photos of the same people are listed too
        name = Path(row["file"]).with_suffix("").as_posix().removeprefix("clips/")
        clips.append(ClipFile(name, path, row["identity"] or name, _landmarks(data, path)))
    if not clips:
        known = ", ".join(sorted({row["split"] for row in rows} | {ALL_SPLITS}))
        raise UnreadableInputError(f"{manifest}: names no clip of the split {split}; splits are {known}")
    return clips


def _landmarks(data: Path, clip: Path) -> Path | None:
    path = data / "landmarks" / f"{clip.stem}.npy"
    return path if path.is_file() else None


def _walk(folder: Path) -> list[Path]:
    found = []
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.name == "landmarks":
                continue
            found.extend([path] if _holds_frames(path) else _walk(path))
        elif path.suffix.lower() in CLIP_SUFFIXES:
            found.append(path)
    return found


def _holds_frames(folder: Path) -> bool:
    return any(path.suffix.lower() in FRAME_SUFFIXES for path in folder.iterdir() if path.name[0] != ".")


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size if path.is_file() else -1
