"""Any program's results against the truth, aligned by name: the ``files`` protocol."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from faceanim_cli.data.clip_files import CLIP_SUFFIXES, identity_of, named_clips
from faceanim_cli.errors import FaceanimError, UnreadableInputError
from faceanim_cli.evaluation.frames import Frame, open_clip, resized
from faceanim_cli.evaluation.protocols import Comparison
from faceanim_cli.image_metrics import Picture, as_unit
from faceanim_cli.media import read_photo
from faceanim_cli.media.find_files import frame_files, holds_frames
from faceanim_cli.pictures import Floats

THUMBNAIL = 16  # pixels: enough to tell which frame is missing
MOST_MISSING = 10  # frames that are searched for; beyond that something else is wrong
NAMED_AT_MOST = 5  # frames in a message
FLOAT_SLACK = 0.5  # floats so far outside [0, 1] are levels up to 255, or [-1, 1]


Aligned: TypeAlias = tuple[str, Picture, Picture, bool]  # label, predicted, true, whether it follows


@dataclass(frozen=True)
class FilePair:
    """A program's clip and the true one; None where there is no such file.

    Frames of two folders are matched by name, others by number. Where one clip is a few frames shorter, the
    frames that it lacks are found by looking, named, and left out.

    Attributes:
        size: pixels a side that both are brought to; None compares them as they are.
    """

    name: str
    predicted: Path | None
    truth: Path | None
    size: int | None = None

    @property
    def person(self) -> str:
        """By VoxCeleb's naming, or everybody a person of their own."""
        return identity_of(self.name)

    def open(self) -> Comparison:
        """See ``protocols.Job``."""
        if self.predicted is None or self.truth is None:
            lacking = "prediction" if self.predicted is None else "truth"
            raise FaceanimError(f"{self.name}: there is no {lacking} of that name")
        problems: list[str] = []
        if self.predicted.is_dir() and self.truth.is_dir():
            pairs, expected = self._by_name(self.predicted, self.truth, problems)
        else:
            pairs, expected = self._by_number(self.predicted, self.truth, problems)
        return Comparison(self._frames(pairs, problems), expected=expected, problems=problems)

    def _by_name(self, predicted: Path, truth: Path, problems: list[str]) -> tuple[Iterator[Aligned], int]:
        ours, theirs = frames_by_name(predicted), frames_by_name(truth)
        common = [key for key in theirs if key in ours]
        _tell(problems, "the prediction lacks frame", [theirs[k].stem for k in theirs if k not in ours])
        _tell(problems, "the truth lacks frame", [ours[k].stem for k in ours if k not in theirs])
        if len(common) < max(len(ours), len(theirs)):
            problems.append(f"{len(common)} of {len(theirs)} frames compared")
        order = {key: place for place, key in enumerate(theirs)}

        def pairs() -> Iterator[Aligned]:
            last = -1
            for key in common:
                yield theirs[key].stem, read_photo(ours[key]), read_photo(theirs[key]), order[key] == last + 1
                last = order[key]

        return pairs(), len(common)

    def _by_number(self, predicted: Path, truth: Path, problems: list[str]) -> tuple[Iterator[Aligned], int]:
        # Decoded twice: first small, to see whether both have all frames.
        clips = open_clip(predicted), open_clip(truth)
        ours, theirs = (thumbnails(clip) for clip in clips)
        kept_ours, kept_theirs = list(range(len(ours))), list(range(len(theirs)))
        if len(ours) != len(theirs):
            problems.append(f"{len(ours)} predicted frames, {len(theirs)} true ones")
            common = min(len(ours), len(theirs))
            if abs(len(ours) - len(theirs)) > MOST_MISSING:
                kept_ours, kept_theirs = kept_ours[:common], kept_theirs[:common]
                problems.append(f"the first {common} compared")
            elif len(ours) < len(theirs):
                lacking = missing_frames(ours, theirs)
                kept_theirs = [i for i in kept_theirs if i not in lacking]
                _tell(problems, "the prediction lacks frame", [str(i) for i in lacking])
                problems.append(f"{common} of {len(theirs)} frames compared")
            else:
                lacking = missing_frames(theirs, ours)
                kept_ours = [i for i in kept_ours if i not in lacking]
                _tell(problems, "the truth lacks the prediction's frame", [str(i) for i in lacking])
                problems.append(f"{common} of {len(ours)} frames compared")

        def pairs() -> Iterator[Aligned]:
            streams = _only(iter(clips[0]), kept_ours), _only(iter(clips[1]), kept_theirs)
            last = (-1, -1)
            for (i, mine), (j, true) in zip(*streams, strict=True):
                yield str(j), mine, true, (i, j) == (last[0] + 1, last[1] + 1)
                last = i, j

        return pairs(), len(kept_theirs)

    def _frames(self, pairs: Iterator[Aligned], problems: list[str]) -> Iterator[Frame]:
        gap, compared = False, 0
        for label, predicted, truth, follows in pairs:
            if self.size is not None:
                square = (self.size, self.size)
                predicted, truth = resized(predicted, square), resized(truth, square)  # noqa: PLW2901
            elif predicted.shape != truth.shape:
                raise FaceanimError(
                    f"{self.name}: predicted frames are {_size(predicted)}, true ones {_size(truth)}; "
                    f"--size {min(truth.shape[:2])} brings both to one size"
                )
            faults = [
                f"frame {label} of the {role} is {fault}"
                for role, fault in (("prediction", fault_of(predicted)), ("truth", fault_of(truth)))
                if fault
            ]
            problems.extend(faults)
            if not faults:
                yield Frame(label, truth, predicted=predicted, follows=follows and not gap)
                compared += 1
            gap = bool(faults)
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
        return [FilePair(truth.stem if truth.is_file() else truth.name, predicted, truth, size)]
    if any(single):
        lonely = predicted if single[0] else truth
        raise UnreadableInputError(f"{lonely}: is one clip, and the other place is a folder of clips")
    ours, theirs = named_clips(predicted), named_clips(truth)
    for place, found in ((predicted, ours), (truth, theirs)):
        if not found:
            raise UnreadableInputError(f"{place}: no video and no folder of frames in it")
    names = [*theirs, *(name for name in ours if name not in theirs)]
    return [FilePair(name, ours.get(name), theirs.get(name), size) for name in names]


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


def thumbnails(clip: object) -> Floats:
    """All frames of a clip, tiny: (N, D)."""
    side = (THUMBNAIL, THUMBNAIL)
    frames: Iterator[Picture] = iter(clip)  # type: ignore[call-overload]
    small = [
        cv2.resize(as_unit(frame).astype(np.float32), side, interpolation=cv2.INTER_AREA).ravel()
        for frame in frames
    ]
    return np.stack(small) if small else np.zeros((0, 3 * THUMBNAIL**2), np.float32)


def fault_of(frame: Picture) -> str | None:
    """What keeps a frame from being compared, if anything."""
    if frame.dtype == np.uint8:
        return None
    if not np.isfinite(frame).all():
        return "NaN"
    low, high = float(frame.min()), float(frame.max())
    if low < -FLOAT_SLACK or high > 1 + FLOAT_SLACK:
        return f"float from {low:g} to {high:g} instead of [0, 1]"
    return None


def _only(frames: Iterator[Picture], kept: list[int]) -> Iterator[tuple[int, Picture]]:
    wanted = set(kept)
    return ((i, frame) for i, frame in enumerate(frames) if i in wanted)


def _is_clip(place: Path) -> bool:
    if place.is_file():
        return place.suffix.lower() in CLIP_SUFFIXES
    return holds_frames(place)


def _tell(problems: list[str], what: str, frames: list[str]) -> None:
    if frames:
        more = f" and {len(frames) - NAMED_AT_MOST} more" if len(frames) > NAMED_AT_MOST else ""
        problems.append(f"{what} {', '.join(frames[:NAMED_AT_MOST])}{more}")


def _size(frame: Picture) -> str:
    return f"{frame.shape[1]}x{frame.shape[0]}"
