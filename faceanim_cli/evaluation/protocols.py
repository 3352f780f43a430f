"""Which frames are compared with which: reconstruction, and pairs of different people.

A *job* is one row of ``per_clip.csv`` for each subject. Prepared and opened, it is a *take*: the photo, and
moments that come one by one as clips are decoded and subjects render. Every stream is read once; memory does
not grow with the clip.
"""

import csv
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, tee
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.data.clip_files import CLIP_SUFFIXES, ClipFile
from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from faceanim_cli.evaluation.frames import FramedClip, FramedFrame, Framing
from faceanim_cli.evaluation.pictures import Picture
from faceanim_cli.evaluation.subjects import Subject
from faceanim_cli.pictures import Points

T = TypeVar("T")

DECODED_AHEAD = 16  # frames: two batches of the networks


@dataclass(frozen=True)
class Moment:
    """One driving frame, and what each subject made of it."""

    label: str  # the frame's number in its clip, or its name
    driving: Picture
    results: tuple[Picture, ...]
    landmarks: Points | None = None  # (68, 2) of the driving frame
    follows: bool = True  # on the moment before, with no frame between them left out


@dataclass
class Take:
    """A job under way.

    Attributes:
        problems: faults that do not stop the job; complete when the moments are through.
    """

    source: Picture
    reference: Picture
    moments: Iterator[Moment]
    expected: int | None = None
    reference_landmarks: Points | None = None
    problems: list[str] = field(default_factory=list)


@dataclass
class Stopwatch:
    """Where the time goes, in seconds.

    Attributes:
        decoding: waited for frames; what is decoded while networks and metrics work costs nothing.
        pipeline: decodes ahead, in a thread; None decodes when a frame is asked for.
    """

    decoding: float = 0.0
    network: float = 0.0
    metrics: float = 0.0
    pipeline: Pipeline | None = None

    def decode(self, frames: Iterable[T]) -> Iterator[T]:
        """Pass on ``frames``, counting the time they take to come."""
        remaining = iter(frames)
        if self.pipeline is not None:
            remaining = self.pipeline.stage("decode", remaining, DECODED_AHEAD)
        while True:
            start = time.perf_counter()
            try:
                frame = next(remaining)
            except StopIteration:
                return
            finally:
                self.decoding += time.perf_counter() - start
            yield frame


Opener: TypeAlias = Callable[[Sequence[Subject], Stopwatch], Take]


class Job(Protocol):
    """What is scored as one."""

    @property
    def name(self) -> str:
        """Unique in the run."""

    def prepare(self) -> Opener:
        """What can be done before it is this job's turn, in any thread, such as the search for the face.

        Returns:
            What starts the job, in the thread of the networks.

        Raises:
            FaceanimError: anything that keeps this job, and only this one, from being scored; so does what
                is returned.
        """


@dataclass(frozen=True)
class Reconstruction:
    """A clip rebuilt from its first frame, which is not compared with itself unless ``count_source``."""

    clip: ClipFile
    size: int
    crop: Framing
    every: int = 1
    count_source: bool = False

    @property
    def name(self) -> str:
        """The clip's."""
        return self.clip.name

    def prepare(self) -> Opener:
        """See ``Job``."""
        return partial(self._open, FramedClip(self.clip, self.size, self.crop))

    def _open(self, framed: FramedClip, subjects: Sequence[Subject], watch: Stopwatch) -> Take:
        frames = watch.decode(framed.frames(self.every))
        first = next(frames)
        if not self.count_source:
            second = next(frames, None)
            if second is None:
                estimate = framed.frame_count_estimate
                raise FaceanimError(
                    f"{self.name}: nothing to rebuild from its first frame: {estimate or 'few'} "
                    f"frame{'' if estimate == 1 else 's'}, every {self.every}"
                )
            frames = chain([second], frames)
        else:
            frames = chain([first], frames)
        count = framed.frame_count_estimate
        expected = None if count is None else max(1, -(-count // self.every) - (not self.count_source))
        moments = _rendered(frames, subjects, first.image, first.image)
        return Take(first.image, first.image, moments, expected, first.landmarks)


@dataclass(frozen=True)
class CrossPair:
    """One person's first frame animated, relatively, by another person's clip."""

    source: ClipFile
    driving: ClipFile
    size: int
    crop: Framing
    every: int = 1

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.source.name} + {self.driving.name}"

    def prepare(self) -> Opener:
        """See ``Job``."""
        photo = next(FramedClip(self.source, self.size, self.crop).frames()).image
        return partial(self._open, photo, FramedClip(self.driving, self.size, self.crop))

    def _open(
        self, photo: np.ndarray, framed: FramedClip, subjects: Sequence[Subject], watch: Stopwatch
    ) -> Take:
        frames = watch.decode(framed.frames(self.every))
        first = next(frames)
        count = framed.frame_count_estimate
        expected = None if count is None else -(-count // self.every)
        moments = _rendered(chain([first], frames), subjects, photo, first.image)
        return Take(photo, first.image, moments, expected, first.landmarks)


def read_pairs(path: Path, clips: Sequence[ClipFile]) -> list[tuple[ClipFile, ClipFile]]:
    """Pairs of a CSV in first-order-model's format: columns ``source`` and ``driving``, others ignored.

    Names are matched with or without folder and suffix.

    Raises:
        UnreadableInputError: no such file, or a column missing.
        UsageError: a name that fits no clip.
    """
    if not path.is_file():
        raise UnreadableInputError(
            f"{path}: no such file; give --pairs a CSV with the columns source and driving"
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    missing = {"source", "driving"} - set(rows[0] if rows else ())
    if missing:
        raise UnreadableInputError(f"{path}: lacks the columns {', '.join(sorted(missing))}")
    known = {key: clip for clip in reversed(clips) for key in (clip.name.split("/")[-1], clip.name)}
    names = {name: _plain(name) for row in rows for name in (row["source"], row["driving"])}
    strangers = [name for name, plain in names.items() if plain not in known]
    if strangers:
        more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
        raise UsageError(f"{path}: names clips that --data does not hold: {', '.join(strangers[:3])}{more}")
    return [(known[names[row["source"]]], known[names[row["driving"]]]) for row in rows]


def draw_pairs(clips: Sequence[ClipFile], count: int, seed: int) -> list[tuple[ClipFile, ClipFile]]:
    """Pairs of different people, drawn evenly, without repetition; fewer than ``count`` if there are fewer.

    Raises:
        UsageError: only one person in the data.
    """
    people = {clip.identity for clip in clips}
    if len(people) < 2:
        raise UsageError(
            f"--protocol cross needs clips of two people at least; this data holds {len(people)}"
        )
    # All ordered pairs of different people: a million for a thousand clips, small enough to shuffle.
    numbers = range(len(clips))
    pairs = [(s, d) for s in numbers for d in numbers if clips[s].identity != clips[d].identity]
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:count]
    return [(clips[pairs[i][0]], clips[pairs[i][1]]) for i in chosen]


def _rendered(
    frames: Iterator[FramedFrame],
    subjects: Sequence[Subject],
    source: np.ndarray,
    reference: np.ndarray,
) -> Iterator[Moment]:
    """Lockstep: a subject that works in batches runs ahead by one batch, and no farther."""
    truth, *streams = tee(frames, len(subjects) + 1)
    renders = [
        subject.render(source, reference, map(_image, stream))
        for subject, stream in zip(subjects, streams, strict=True)
    ]
    for frame, *results in zip(truth, *renders, strict=True):
        yield Moment(str(frame.index), frame.image, tuple(results), frame.landmarks)


def _image(frame: FramedFrame) -> np.ndarray:
    return frame.image


def _plain(name: str) -> str:
    path = Path(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in CLIP_SUFFIXES else path.as_posix()
