"""The ``files`` protocol: any program's results against the true clips, aligned by name."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from faceanim_cli.data.data_folder import CLIP_SUFFIXES, has_manifest, identity_of, named_clips, read_manifest
from faceanim_cli.data.landmarks import LANDMARKS_FOLDER, read_landmarks
from faceanim_cli.errors import FaceanimError, UnreadableInputError, some_of
from faceanim_cli.evaluation.frames import Frame, open_clip, resized, scaled_landmarks
from faceanim_cli.evaluation.protocols import Comparison, Job
from faceanim_cli.image_metrics import Picture, as_unit
from faceanim_cli.media import FrameSource, read_photo
from faceanim_cli.media.find_files import frame_files, holds_frames
from faceanim_cli.pictures import Floats, Points

THUMBNAIL = 16  # pixels: enough to tell which frame is missing
MOST_MISSING = 10  # frames that are searched for; beyond that something else is wrong
NAMED_AT_MOST = 5  # frames in a message
FLOAT_SLACK = 0.5  # floats so far outside [0, 1] are levels up to 255, or [-1, 1]


class AlignedFrames(NamedTuple):
    """A predicted frame and its true one: their numbers, and what they show."""

    label: str
    numbers: tuple[int, int]
    predicted: Picture
    truth: Picture


@dataclass(frozen=True)
class FilePair:
    """A program's clip and the true one; None where there is no such file.

    Frames of two folders are matched by name, others by number. Where one clip is a few frames shorter, the
    frames that it lacks are found by looking, named, and left out.

    Attributes:
        size: pixels a side that both are brought to; None compares them as they are.
        landmarks: files of the predicted and of the true clip's, where there are any.
    """

    name: str
    predicted: Path | None
    truth: Path | None
    size: int | None = None
    landmarks: tuple[Path | None, Path | None] = (None, None)
    person: str = ""

    def job(self) -> Job:
        """The pair as what is scored as one."""
        return Job(self.name, self.person, self.open)

    def open(self) -> Comparison:
        """See ``Job``."""
        if self.predicted is None or self.truth is None:
            lacking = "prediction" if self.predicted is None else "truth"
            raise FaceanimError(f"{self.name}: there is no {lacking} of that name")
        problems: list[str] = []
        aspects = [Fraction(1)] * 2
        if self.predicted.is_dir() and self.truth.is_dir():
            pairs, expected = self._by_name(self.predicted, self.truth, problems)
        else:
            # Decoded twice: first small, to see whether both have all frames.
            clips = open_clip(self.predicted), open_clip(self.truth)
            aspects = [clip.pixel_aspect for clip in clips]
            pairs, expected = self._by_number(*clips, problems)
        landmarks = [
            None if path is None else read_landmarks(path, pixel_aspect=aspect)
            for path, aspect in zip(self.landmarks, aspects, strict=True)
        ]
        return Comparison(self._frames(pairs, landmarks, problems), expected=expected, problems=problems)

    def _by_name(
        self, predicted: Path, truth: Path, problems: list[str]
    ) -> tuple[Iterator[AlignedFrames], int]:
        ours, theirs = frames_by_name(predicted), frames_by_name(truth)
        common = [key for key in theirs if key in ours]
        _tell(problems, "the prediction lacks frame", [theirs[k].stem for k in theirs if k not in ours])
        _tell(problems, "the truth lacks frame", [ours[k].stem for k in ours if k not in theirs])
        if len(common) < max(len(ours), len(theirs)):
            problems.append(f"{len(common)} of {len(theirs)} frames compared")
        ours_at, theirs_at = ({key: i for i, key in enumerate(named)} for named in (ours, theirs))
        pairs = (
            AlignedFrames(
                theirs[k].stem, (ours_at[k], theirs_at[k]), read_photo(ours[k]), read_photo(theirs[k])
            )
            for k in common
        )
        return pairs, len(common)

    def _by_number(
        self, predicted: FrameSource, truth: FrameSource, problems: list[str]
    ) -> tuple[Iterator[AlignedFrames], int]:
        small = thumbnails(predicted), thumbnails(truth)
        counts = [len(frames) for frames in small]
        common, longest = min(counts), max(counts)
        kept = [set(range(common)), set(range(common))]  # of each, which frames
        if common < longest:
            problems.append(f"{counts[0]} predicted frames, {counts[1]} true ones")
            if longest - common > MOST_MISSING:
                problems.append(f"the first {common} compared")
            else:
                longer = counts.index(longest)
                lacking = missing_frames(small[1 - longer], small[longer])
                kept[longer] = set(range(longest)) - set(lacking)
                what = ("the truth lacks the prediction's frame", "the prediction lacks frame")[longer]
                _tell(problems, what, [str(i) for i in lacking])
                problems.append(f"{common} of {longest} frames compared")
        streams = _only(predicted, kept[0]), _only(truth, kept[1])
        pairs = (
            AlignedFrames(str(j), (i, j), mine, true) for (i, mine), (j, true) in zip(*streams, strict=True)
        )
        return pairs, common

    def _frames(
        self, pairs: Iterator[AlignedFrames], landmarks: Sequence[Points | None], problems: list[str]
    ) -> Iterator[Frame]:
        last, compared = (-1, -1), 0
        for label, numbers, *pictures in pairs:
            sizes = [(picture.shape[1], picture.shape[0]) for picture in pictures]
            if self.size is None and sizes[0] != sizes[1]:
                ours, theirs = ("x".join(map(str, size)) for size in sizes)
                raise FaceanimError(
                    f"{self.name}: predicted frames are {ours}, true ones {theirs}; "
                    f"--size {min(sizes[1])} brings both to one size"
                )
            faults = [
                f"frame {label} of the {role} is {fault}"
                for role, fault in zip(("prediction", "truth"), map(invalid_reason, pictures), strict=True)
                if fault
            ]
            problems.extend(faults)
            if faults:
                continue
            square = sizes[1] if self.size is None else (self.size, self.size)
            points = [
                None if rows is None else scaled_landmarks(rows, number, size, square)
                for rows, number, size in zip(landmarks, numbers, sizes, strict=True)
            ]
            yield Frame(
                label,
                resized(pictures[1], square),
                points[1],
                resized(pictures[0], square),
                points[0],
                follows=numbers == (last[0] + 1, last[1] + 1),
            )
            last, compared = numbers, compared + 1
        if not compared:
            raise FaceanimError(f"{self.name}: no frame could be compared")


def file_pairs(predicted: Path, truth: Path, size: int | None = None) -> list[FilePair]:
    """What is in both places, by name, and what is in one of them only.

    Two files, or two folders of frames, are one pair whatever they are called.

    Raises:
        UnreadableInputError: one of the places does not exist, or holds no clip.
    """
    for place, option in ((predicted, "--predicted"), (truth, "--truth")):
        if not place.exists():
            raise UnreadableInputError(f"{place}: no such file or folder; check {option}")
    single = [_is_clip(place) for place in (predicted, truth)]
    if all(single):
        name = truth.stem if truth.is_file() else truth.name
        return [FilePair(name, predicted, truth, size, person=identity_of(name))]
    if any(single):
        lonely = predicted if single[0] else truth
        raise UnreadableInputError(f"{lonely}: is one clip, and the other place is a folder of clips")
    ours, theirs = named_clips(predicted), named_clips(truth)
    for place, found in ((predicted, ours), (truth, theirs)):
        if not found:
            raise UnreadableInputError(f"{place}: no video and no folder of frames in it")
    names = [*theirs, *(name for name in ours if name not in theirs)]
    points = [landmark_files(place, named) for place, named in ((predicted, ours), (truth, theirs))]
    listed = read_manifest(truth) if has_manifest(truth) else ()
    people = {row.path.resolve(): row.identity for row in listed}
    return [
        FilePair(
            *(name, ours.get(name), theirs.get(name), size, (points[0].get(name), points[1].get(name))),
            person=(name in theirs and people.get(theirs[name].resolve())) or identity_of(name),
        )
        for name in names
    ]


def landmark_files(folder: Path, clips: Mapping[str, Path]) -> dict[str, Path]:
    """By clip, ``landmarks/<clip>.npy`` of the folder, where only one clip is called so."""
    stems = Counter(path.stem for path in clips.values())
    found = {name: folder / LANDMARKS_FOLDER / f"{path.stem}.npy" for name, path in clips.items()}
    return {name: path for name, path in found.items() if stems[path.stem] == 1 and path.is_file()}


def frames_by_name(folder: Path) -> dict[str, Path]:
    """Frames of a folder by name, in natural order; 0007 and 7 are the same name."""
    files = frame_files(folder)
    return {(f.stem.lstrip("0") or "0") if f.stem.isdecimal() else f.stem: f for f in files}


def missing_frames(shorter: Floats, longer: Floats) -> list[int]:
    """Which frames of ``longer`` (M, D) have no counterpart in ``shorter`` (N, D), N < M, both in order.

    The alignment that skips M - N frames at the least total difference, by dynamic programming. Where frames
    are alike it cannot tell them apart: then the later ones are said to be missing.
    """
    count, skips = len(shorter), len(longer) - len(shorter)
    cost = np.stack([np.abs(shorter - longer[k : k + count]).mean(-1) for k in range(skips + 1)], axis=-1)
    best = np.zeros(skips + 1)
    came_from = np.zeros((count, skips + 1), int)
    for i in range(count):
        for k in range(skips + 1):
            came_from[i, k] = int(np.argmin(best[: k + 1])) if i else k
        best = best[came_from[i]] + cost[i]
    k = int(np.argmin(best))
    kept = set()
    for i in reversed(range(count)):
        kept.add(i + k)
        k = int(came_from[i, k])
    return [i for i in range(len(longer)) if i not in kept]


def thumbnails(clip: Iterable[Picture]) -> Floats:
    """All frames of a clip, tiny: (N, D)."""
    side = (THUMBNAIL, THUMBNAIL)
    small = [
        cv2.resize(as_unit(frame).astype(np.float32), side, interpolation=cv2.INTER_AREA).ravel()
        for frame in clip
    ]
    return np.stack(small) if small else np.zeros((0, 3 * THUMBNAIL**2), np.float32)


def invalid_reason(frame: Picture) -> str | None:
    """What keeps a frame from being compared, if anything."""
    if frame.dtype == np.uint8:
        return None
    if not np.isfinite(frame).all():
        return "NaN"
    low, high = float(frame.min()), float(frame.max())
    if low < -FLOAT_SLACK or high > 1 + FLOAT_SLACK:
        return f"float from {low:g} to {high:g} instead of [0, 1]"
    return None


def _only(frames: Iterable[Picture], wanted: set[int]) -> Iterator[tuple[int, Picture]]:
    return ((i, frame) for i, frame in enumerate(frames) if i in wanted)


def _is_clip(place: Path) -> bool:
    if place.is_file():
        return place.suffix.lower() in CLIP_SUFFIXES
    return holds_frames(place)


def _tell(problems: list[str], what: str, frames: list[str]) -> None:
    if frames:
        problems.append(f"{what} {some_of(frames, NAMED_AT_MOST)}")
