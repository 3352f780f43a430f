"""What is scored: weights, through the ``Animator`` that users have, and baselines without any."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, tee
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.errors import FaceanimError
from faceanim_cli.evaluation.frames import Frame
from faceanim_cli.image_metrics import Picture
from faceanim_models.geometry import fit_similarity, identity_grid, warp

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
