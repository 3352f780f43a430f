"""Which videos and stills a person means: files, folders of any depth, patterns, folders of frames, and
first-order-model's layout; and whose face is in each."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

from faceanim_cli.data.data_folder import identity_of, in_both_splits
from faceanim_cli.data.landmarks import LANDMARKS_FOLDER
from faceanim_cli.data.stacked_frames import is_photo, open_frames, picture_size, stacked_count
from faceanim_cli.errors import UnreadableInputError, UsageError, some_of
from faceanim_cli.media import FrameSource
from faceanim_cli.media.find_files import Listing, expand, walk
from faceanim_cli.media.signatures import read_head

SPLIT_FOLDERS = {"train": "train", "test": "val", "val": "val"}  # first-order-model validates on "test"
RESULTS = ("clips", "photos")  # folders of a data folder that hold what videos and stills became
STILLS_FOLDERS = {"photos", "portraits"}
FEW_GAPS = 0.8  # of the frames follow on the one before
LONGEST_NAME = (
    120  # bytes: file names end at 255, and a frame number and what marks unfinished files is added
)
RESERVED = re.compile(r"(?i)con|prn|aux|nul|com\d|lpt\d")  # devices on Windows, with any suffix


@dataclass(frozen=True)
class Source:
    """One video or still to prepare.

    Attributes:
        path: a video, a folder of frames, or a picture of frames side by side.
        name: what its clips are called; unique among the sources.
        identity: whose face it is.
        split: train or val, where the folder's layout says so.
        is_clip: the layout says that this is a face crop, made before.
        landmarks: a file (frames, 68, 2), pixels as the video stores them, or None.
        still: this is a photo, for super-resolution.
    """

    path: Path
    name: str
    identity: str
    split: str | None = None
    is_clip: bool = False
    landmarks: Path | None = None
    still: bool = False

    def open(self) -> FrameSource:
        """The frames.

        Raises:
            UnreadableInputError: as ``open_frames``.
        """
        return open_frames(self.path)


def find_sources(
    inputs: Sequence[str | os.PathLike[str]],
    person_from: str = "auto",
    landmarks: Path | None = None,
    out: Path | None = None,
) -> list[Source]:
    """The videos and stills of files, folders and patterns, each once, in the order given and by name.

    Pictures in a folder without videos are frames of one video if they are numbered without many gaps and of
    one size; else, and in a folder called photos or portraits, they are stills.

    Args:
        inputs: videos; folders, searched to any depth; patterns such as ``videos/**/*.mp4``. A folder with
            ``train`` and ``test`` inside is taken for first-order-model's layout: face crops, split already.
        person_from: "auto": VoxCeleb's names (``id10283/...``, ``id10283#...``), else the first folder inside
            the input, else every video is a person of its own; "folder": the folder that a video lies in;
            "file": every video; else a regular expression searched for in the path inside the input, whose
            first group, or all of it, is the person.
        landmarks: a folder of ``<video>.npy``, flat or laid out like the input. Without it a ``.npy`` beside
            a video and of its name is taken.
        out: a folder in which nothing is searched unless an input lies in it: an earlier run's results.

    Raises:
        UnreadableInputError: an input that does not exist, or no video in any.
        UsageError: an expression that is none, or that a path does not match; one name in train and in test.
    """
    person = _person_rule(person_from)
    paths = [path for given in inputs for path in expand(given)]
    whole = None if out is None or any(_inside(path, out) for path in paths) else out.resolve()
    sources: list[Source] = []
    nameless: dict[Path, str] = {}  # called by their file alone, and what else they can be called
    seen: set[Path] = set()
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110 - Path.exists() raises an error for a name that is too long
            read_head(path, "video")  # says why not: an address, standard input, no such file
        # Of several folders each one's own name tells more than where it lies.
        root = path if path.is_dir() and len(paths) == 1 else path.parent
        for found, split, still in _found(path, whole):
            if found.resolve() in seen:
                continue
            seen.add(found.resolve())
            inside = PurePosixPath(found.name) if found == root else found.relative_to(root)
            if split:  # "train" is nobody's name
                inside = PurePosixPath(*inside.parts[-len(found.relative_to(path).parts) + 1 :])
            without = inside.with_suffix("") if found.is_file() else inside
            whose = person(PurePosixPath(without), found)
            if split and whose == without.as_posix():
                nameless[found] = f"{found.relative_to(path).parts[0]}/{whose}"
            sources.append(
                Source(
                    found,
                    file_name(without.as_posix()),
                    " ".join(whose.split()),  # as tables give it back
                    split,
                    split is not None,
                    None if still else _landmarks_of(found, without.as_posix(), landmarks),
                    still,
                )
            )
    if not sources:
        named = ", ".join(str(given) for given in inputs)
        raise UnreadableInputError(f"{named}: no video, no folder of frames and no photo in it")
    both = _in_both_splits(sources)
    if any(source.path in nameless for source in sources if source.identity in both):
        # A file's name is nobody's: 0001.mp4 in train and 0001.mp4 in test are two people.
        sources = [replace(s, identity=nameless.get(s.path, s.identity)) for s in sources]
        both = _in_both_splits(sources)
    if both:
        raise UsageError(
            f"{some_of(both)}: in train as well as in test, and nobody who is trained on may be "
            "validated on; move their videos, or rename the folders of those who are different people"
        )
    return _unique(sources)


def without_results(sources: Sequence[Source], out: Path, earlier: bool) -> list[Source]:
    """Those that did not come of an earlier run, where the folder of results is searched as well.

    Args:
        sources: videos and stills.
        out: the data folder.
        earlier: whether there was an earlier run.

    Raises:
        UsageError: a source, or its landmarks, would be overwritten by what is made of it.
    """
    own = [source for source in sources if any(_inside(source.path, out / name) for name in RESULTS)]
    lost = [] if earlier else [source.path for source in own]
    lost += [
        s.landmarks
        for s in sources
        if s.landmarks is not None and _inside(s.landmarks, out / LANDMARKS_FOLDER)
    ]
    if lost:
        raise UsageError(f"{lost[0]} lies where {out} is to have what is made of it; give -o another folder")
    return [source for source in sources if source not in own]


def _found(path: Path, out: Path | None) -> Iterator[tuple[Path, str | None, bool]]:
    """Videos and stills in a file or folder: (path, the split by first-order-model's layout, still)."""
    if path.is_file():
        yield path, None, is_photo(path)
        return
    splits = [name for name in SPLIT_FOLDERS if (path / name).is_dir()]
    if "train" in splits and len(splits) > 1:
        for name in splits:
            for found, still in _walk(path / name, out):
                yield found, SPLIT_FOLDERS[name], still
    else:
        for found, still in _walk(path, out):
            yield found, None, still


def _walk(folder: Path, out: Path | None) -> Iterator[tuple[Path, bool]]:
    """Videos and stills under a folder, by name; what lies in ``out`` came of an earlier run."""
    for listing in walk(folder, skip={LANDMARKS_FOLDER}):
        if out is not None and listing.folder.resolve().is_relative_to(out):
            continue
        yield from ((video, False) for video in listing.videos)
        if not listing.photos or listing.videos:  # beside videos they are previews
            continue
        if stacked_count(listing.photos[0]):
            yield from ((photo, False) for photo in listing.photos)
        elif _are_frames(listing):
            yield listing.folder, False
        else:
            yield from ((photo, True) for photo in listing.photos)


def _are_frames(listing: Listing) -> bool:
    """Whether the photos of a folder are frames of one video: numbered with few gaps, and of one size."""
    if len(listing.photos) < 2 or listing.folder.name.lower() in STILLS_FOLDERS:
        return False
    if len({re.sub(r"\d+", "0", photo.name) for photo in listing.photos}) > 1:
        return False
    numbers = sorted([int(part) for part in re.findall(r"\d+", photo.name)] for photo in listing.photos)
    steps = [sum(later) - sum(earlier) for earlier, later in pairwise(numbers)]
    if steps.count(min(steps)) < FEW_GAPS * len(steps):  # what a camera made has others between
        return False
    return len({picture_size(photo) for photo in listing.photos}) == 1


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
    name = re.sub(r'[/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]', "_", inside)  # what some file system cannot hold
    name = re.sub(r"^[. ]|[. ]$", "_", name)
    if RESERVED.fullmatch(name.split(".")[0]):
        name = f"_{name}"
    short = name.encode()[:LONGEST_NAME].decode(errors="ignore")
    return name if short == name else f"{short}-{_short_hash(inside)}"


def with_unique_name(source: Source) -> Source:
    """The source under a name that says where it lies, for when another has its name."""
    return replace(source, name=f"{source.name}-{_short_hash(str(source.path.resolve()))}")


def _unique(sources: list[Source]) -> list[Source]:
    count = Counter(source.name.casefold() for source in sources)  # some file systems see no case
    return [with_unique_name(source) if count[source.name.casefold()] > 1 else source for source in sources]


def _in_both_splits(sources: list[Source]) -> list[str]:
    return in_both_splits((source.identity, source.split or "") for source in sources)


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]
