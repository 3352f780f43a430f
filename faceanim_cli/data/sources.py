"""Which videos a person means: files, folders of any depth, patterns, folders of frames, and
first-order-model's layout; and whose face is in each."""

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from faceanim_cli.data.clip_files import identity_of
from faceanim_cli.data.stacked_frames import open_frames, stacked_count
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.media import FrameSource
from faceanim_cli.media.find_files import FRAME_SUFFIXES, VIDEO_SUFFIXES

SPLIT_FOLDERS = {"train": "train", "test": "val", "val": "val"}  # first-order-model judges on "test"
LONGEST_NAME = 120  # characters: file names end at 255 bytes, and a frame number is added
LANDMARKS_FOLDER = "landmarks"


@dataclass(frozen=True)
class Source:
    """One video to prepare.

    Attributes:
        path: a video, a folder of frames, or a picture of frames side by side.
        name: what its clips are called; unique among the sources.
        identity: whose face it is.
        split: train or val, where the folder's layout says so.
        is_clip: the layout says that this is a face crop, made before.
        landmarks: a file (frames, 68, 2), pixels of the video's frames, or None.
    """

    path: Path
    name: str
    identity: str
    split: str | None = None
    is_clip: bool = False
    landmarks: Path | None = None

    def open(self) -> FrameSource:
        """The frames.

        Raises:
            UnreadableInputError: as ``open_frames``.
        """
        return open_frames(self.path)


def find_sources(
    inputs: Sequence[str | os.PathLike[str]], person_from: str = "auto", landmarks: Path | None = None
) -> list[Source]:
    """The videos of files, folders and patterns, each once, in the order given and by name.

    Args:
        inputs: videos; folders, searched to any depth; patterns such as ``videos/**/*.mp4``. A folder with
            ``train`` and ``test`` inside is taken for first-order-model's layout: face crops, split already.
        person_from: "auto": VoxCeleb's names (``id10283/...``, ``id10283#...``), else the first folder inside
            the input, else every video is a person of its own; "folder": the folder that a video lies in;
            "file": every video; else a regular expression searched for in the path inside the input, whose
            first group, or all of it, is the person.
        landmarks: a folder of ``<video>.npy``, flat or laid out like the input. Without it a ``.npy`` beside
            a video and of its name is taken.

    Raises:
        UnreadableInputError: an input that does not exist, or no video in any.
        UsageError: an expression that is none, or that a path does not match.
    """
    person = _person_rule(person_from)
    paths = [path for given in inputs for path in _expanded(given)]
    sources: list[Source] = []
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise UnreadableInputError(f"{path}: no such file or folder; check the path")
        # Of several folders each one's own name tells more than where it lies.
        root = path if path.is_dir() and len(paths) == 1 else path.parent
        for found, split in _found(path):
            if found.resolve() in seen:
                continue
            seen.add(found.resolve())
            inside = PurePosixPath(found.name) if found == root else found.relative_to(root)
            if split:  # "train" is nobody's name
                inside = PurePosixPath(*inside.parts[-len(found.relative_to(path).parts) + 1 :])
            without = inside.with_suffix("") if found.is_file() else inside
            sources.append(
                Source(
                    found,
                    file_name(without.as_posix()),
                    person(PurePosixPath(without), found),
                    split,
                    split is not None,
                    _landmarks_of(found, without.as_posix(), landmarks),
                )
            )
    if not sources:
        named = ", ".join(str(given) for given in inputs)
        raise UnreadableInputError(f"{named}: no video and no folder of frames in it")
    return _unique(sources)


def _expanded(given: str | os.PathLike[str]) -> list[Path]:
    path = Path(given)
    if path.exists() or not glob.has_magic(str(given)):
        return [path]
    # Path.glob() takes no absolute patterns
    return [Path(match) for match in sorted(glob.glob(str(given), recursive=True))] or [path]  # noqa: PTH207


def _found(path: Path) -> Iterator[tuple[Path, str | None]]:
    """Videos in a file or folder, and the split that first-order-model's layout gives them."""
    if path.is_file():
        yield path, None
        return
    splits = [name for name in SPLIT_FOLDERS if (path / name).is_dir()]
    if "train" in splits and len(splits) > 1:
        for name in splits:
            yield from ((found, SPLIT_FOLDERS[name]) for found in _walk(path / name, set()))
    else:
        yield from ((found, None) for found in _walk(path, set()))


def _walk(folder: Path, visited: set[Path]) -> Iterator[Path]:
    """Videos under a folder, by name; symbolic links are followed, once."""
    real = folder.resolve()
    if real in visited:
        return
    visited.add(real)
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    videos = [entry for entry in entries if entry.suffix.lower() in VIDEO_SUFFIXES and entry.is_file()]
    pictures = [entry for entry in entries if entry.suffix.lower() in FRAME_SUFFIXES and entry.is_file()]
    if pictures and not videos:  # beside videos they are previews
        if stacked_count(pictures[0]):
            yield from pictures
        elif len(pictures) > 1:
            yield folder
    yield from videos
    for entry in entries:
        if entry.is_dir() and entry.name != LANDMARKS_FOLDER:
            yield from _walk(entry, visited)


def _person_rule(person_from: str) -> Callable[[PurePosixPath, Path], str]:
    """From (path inside the input without suffix, path) to the person."""

    def automatic(inside: PurePosixPath, _: Path) -> str:
        known = identity_of(inside.as_posix())
        if known != inside.as_posix():
            return known
        return inside.parts[0]

    if person_from == "auto":
        return automatic
    if person_from == "folder":
        return lambda _, path: path.resolve().parent.name
    if person_from == "file":
        return lambda inside, _: inside.as_posix()
    try:
        pattern = re.compile(person_from)
    except re.error as error:
        raise UsageError(f"--person-from {person_from!r}: not a regular expression ({error})") from error

    def matched(inside: PurePosixPath, path: Path) -> str:
        match = pattern.search(inside.as_posix())
        found = match and (match.group(1) if pattern.groups else match.group())
        if not found:
            raise UsageError(f"--person-from {person_from!r} finds nobody in {inside}, of {path}")
        return str(found)

    return matched


def _landmarks_of(path: Path, inside: str, folder: Path | None) -> Path | None:
    if folder is None:
        places = [path.with_suffix(".npy")] if path.is_file() else [path.with_name(f"{path.name}.npy")]
    else:
        places = [folder / f"{inside}.npy", folder / f"{PurePosixPath(inside).name}.npy"]
    return next((place for place in places if place.is_file()), None)


def file_name(inside: str) -> str:
    """A path or any other text as a file's name without suffix, on every file system."""
    name = re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", inside)  # what some file system cannot hold
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{_short_hash(inside)}"


def told_apart(source: Source) -> Source:
    """The source under a name that says where it lies, for when another has its name."""
    return replace(source, name=f"{source.name}-{_short_hash(str(source.path.resolve()))}")


def _unique(sources: list[Source]) -> list[Source]:
    count = Counter(source.name.casefold() for source in sources)  # some file systems see no case
    return [told_apart(source) if count[source.name.casefold()] > 1 else source for source in sources]


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
