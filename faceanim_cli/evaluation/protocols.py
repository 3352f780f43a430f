"""Evaluation protocols (reconstruction and cross) and the subjects that they score.

A *job* is one row of ``per_clip.csv`` for each subject. Its frames come one by one as the clip is decoded;
every stream is read once, and memory does not grow with the clip.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice, tee
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.csv_tables import read_table
from faceanim_cli.data.data_folder import CLIP_SUFFIXES, ClipFile
from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError, some_of
from faceanim_cli.evaluation.frames import CropMode, Frame, FramedClip
from faceanim_cli.image_metrics import Picture
from faceanim_models.geometry import fit_similarity, identity_grid, warp


@dataclass
class Comparison:
    """The frames of a job that is under way.

    Attributes:
        frames: the driver's; the first is the reference that its motion counts from. Raises FaceanimError
            when none is compared.
        photo: what is animated; None: the reference.
        expected: how many frames are compared, if known.
        problems: faults that do not stop the job; complete when the frames are through.
    """

    frames: Iterator[Frame]
    photo: Picture | None = None
    expected: int | None = None
    problems: list[str] = field(default_factory=list)


def reference_and_compared(frames: Iterator[Frame]) -> tuple[Frame, Iterator[Frame]]:
    """The first of a comparison's frames, and those that are compared."""
    first = next(frames)
    return first, chain([first if first.compared else next(frames)], frames)


@dataclass(frozen=True)
class Job:
    """What is scored as one.

    Attributes:
        name: unique in the run.
        person: who drives: clips of one person count together in the intervals.
        open: finds the face and does whatever else can be done before it is this job's turn, in any thread.
            Raises FaceanimError: anything that keeps this job, and only this one, from being scored.
    """

    name: str
    person: str
    open: Callable[[], Comparison]


def reconstruction(
    clip: ClipFile, size: int, crop: CropMode, every: int = 1, count_source: bool = False
) -> Job:
    """A clip rebuilt from its first frame, which is not compared with itself unless ``count_source``."""

    def frames(framed: FramedClip) -> Iterator[Frame]:
        number = -1
        for number, frame in enumerate(framed.frames(every)):
            yield replace(frame, compared=number > 0 or count_source)
        if number + count_source < 1:
            count = framed.frame_count_estimate
            raise FaceanimError(
                f"{clip.name}: nothing to rebuild from its first frame: {count or 'few'} "
                f"frame{'' if count == 1 else 's'}, every {every}"
            )

    def opened() -> Comparison:
        framed = FramedClip(clip, size, crop)
        count = framed.frame_count_estimate
        expected = None if count is None else max(1, -(-count // every) - (not count_source))
        return Comparison(frames(framed), expected=expected)

    return Job(clip.name, clip.identity, opened)


def cross_pair(source: ClipFile, driving: ClipFile, size: int, crop: CropMode, every: int = 1) -> Job:
    """One person's first frame animated, relatively, by another person's clip."""

    def opened() -> Comparison:
        photo = next(FramedClip(source, size, crop).frames()).image
        driver = FramedClip(driving, size, crop)
        count = driver.frame_count_estimate
        return Comparison(driver.frames(every), photo, None if count is None else -(-count // every))

    return Job(f"{source.name} + {driving.name}", driving.identity, opened)


def read_pairs(path: Path, clips: Sequence[ClipFile]) -> list[tuple[ClipFile, ClipFile]]:
    """Pairs of a CSV in first-order-model's format: columns ``source`` and ``driving``, others ignored.

    Names are matched with or without folder and suffix.

    Raises:
        UnreadableInputError: no such file, or a column missing.
        UsageError: a name that fits no clip.
    """
    rows = read_table(path, ("source", "driving")).rows
    if not rows:
        raise UnreadableInputError(f"{path}: names no pair")
    known = {key: clip for clip in reversed(clips) for key in (clip.name.split("/")[-1], clip.name)}
    names = {name: _plain(name) for row in rows for name in (row["source"], row["driving"])}
    strangers = [name for name, plain in names.items() if plain not in known]
    if strangers:
        raise UsageError(f"{path}: names clips that --data does not hold: {some_of(strangers)}")
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


def _plain(name: str) -> str:
    path = Path(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in CLIP_SUFFIXES else path.as_posix()


Render: TypeAlias = Callable[[Picture, Picture, Iterable[Frame]], Iterator[Picture]]
"""From the photo, the driver's frame whose pose is the photo's (in reconstruction the photo) and driving
frames to a picture for each of these, lazily and in order: RGB (S, S, 3); uint8, but for files of floats."""


@dataclass(frozen=True)
class Subject:
    """Something that animates a photo; ``animator`` is None for what needs no weights of its own."""

    name: str
    render: Render
    animator: Animator | None = None


STATIC = Subject("static", lambda source, _, frames: (source for _ in frames))  # the photo, repeated
# The driving frames themselves: what a perfect result scores, with all that detectors get wrong.
TRUTH = Subject("truth", lambda _, __, frames: (frame.image for frame in frames))
# The ``files`` protocol's one subject: another program has rendered it already.
PREDICTED = Subject(
    "predicted", lambda _, __, frames: (f.predicted for f in frames if f.predicted is not None)
)
BASELINES = ("static", "similarity", "truth")


def weights_subject(name: str, animator: Animator) -> Subject:
    """An ``Animator``, built without super-resolution at the size of the frames.

    In relative mode the first of the driving frames is the reference, as for users.
    """

    def render(source: Picture, _: Picture, frames: Iterable[Frame]) -> Iterator[Picture]:
        if not np.isfinite(animator.keypoints([source])).all():
            raise FaceanimError(f"{name}: the network gives NaN keypoints; its weights are damaged")
        animator.set_photo(source, crop=None)
        return animator.animate((frame.image for frame in frames), crop=None)

    return Subject(name, render, animator)


def similarity(animator: Animator) -> Subject:
    """The photo moved as a whole: rotation, scale and shift fitted to the keypoints of ``animator``."""
    return Subject("similarity", partial(_move_as_a_whole, animator))


def _move_as_a_whole(
    animator: Animator, source: Picture, reference: Picture, frames: Iterable[Frame]
) -> Iterator[Picture]:
    rest = torch.from_numpy(animator.keypoints([reference]))  # (1, K, 2)
    photo = torch.from_numpy(source).permute(2, 0, 1)[None].float()
    grid = identity_grid(source.shape[0], source.shape[1], photo)
    remaining = iter(frames)
    while batch := [frame.image for frame in islice(remaining, animator.batch)]:
        driving = torch.from_numpy(animator.keypoints(batch))
        # From the result back to the photo.
        linear, shift = fit_similarity(driving, rest.expand_as(driving))
        for one, offset in zip(linear, shift, strict=True):
            moved = warp(photo, grid @ one.T + offset)
            yield moved[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()


class Rendered(NamedTuple):
    """A driving frame, and what each subject made of it."""

    frame: Frame
    results: list[Picture]


def render_all(
    subjects: Sequence[Subject], source: Picture, reference: Picture, frames: Iterator[Frame]
) -> Iterator[Rendered]:
    """Lockstep: a subject that works in batches runs ahead by one batch, and no farther."""
    driving, *copies = tee(frames, len(subjects) + 1)
    results = [s.render(source, reference, copy) for s, copy in zip(subjects, copies, strict=True)]
    return (Rendered(frame, made) for frame, *made in zip(driving, *results, strict=True))
