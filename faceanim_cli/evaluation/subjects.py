"""What is scored: weights, through the ``Animator`` that users have, and baselines without any."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, tee
from typing import NamedTuple, Protocol

import numpy as np
import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.errors import FaceanimError
from faceanim_cli.evaluation.frames import Frame
from faceanim_cli.image_metrics import Picture
from faceanim_models.geometry import fit_similarity, identity_grid, warp


class Subject(Protocol):
    """Something that animates a photo."""

    name: str

    def render(self, source: Picture, reference: Picture, frames: Iterable[Frame]) -> Iterator[Picture]:
        """One picture for each driving frame, lazily and in order.

        Args:
            source: the photo.
            reference: the driver's frame whose pose is the photo's; in reconstruction the photo itself.
            frames: driving frames. All pictures are RGB (S, S, 3); uint8, but for files of floats.
        """


@dataclass
class WeightsSubject:
    """An ``Animator``, built without super-resolution at the size of the frames."""

    name: str
    animator: Animator

    def render(self, source: Picture, reference: Picture, frames: Iterable[Frame]) -> Iterator[Picture]:
        """See ``Subject``. In relative mode the first of ``frames`` is the reference, as for users."""
        if not np.isfinite(self.animator.keypoints([source])).all():
            raise FaceanimError(f"{self.name}: the network gives NaN keypoints; its weights are damaged")
        self.animator.set_photo(source, crop=None)
        return self.animator.animate((frame.image for frame in frames), crop=None)


@dataclass
class Static:
    """The photo, repeated."""

    name: str = "static"

    def render(self, source: Picture, reference: Picture, frames: Iterable[Frame]) -> Iterator[Picture]:
        """See ``Subject``."""
        return (source for _ in frames)


@dataclass
class Truth:
    """The driving frames themselves: what a perfect result scores, with all that detectors get wrong."""

    name: str = "truth"

    def render(self, source: Picture, reference: Picture, frames: Iterable[Frame]) -> Iterator[Picture]:
        """See ``Subject``."""
        return (frame.image for frame in frames)


@dataclass
class Predicted:
    """The ``files`` protocol's one subject: another program has rendered it already."""

    name: str = "predicted"

    def render(self, source: Picture, reference: Picture, frames: Iterable[Frame]) -> Iterator[Picture]:
        """See ``Subject``."""
        return (frame.predicted for frame in frames if frame.predicted is not None)


@dataclass
class Similarity:
    """The photo moved as a whole: rotation, scale and shift fitted to the keypoints of ``animator``."""

    animator: Animator
    name: str = "similarity"

    def render(self, source: Picture, reference: Picture, frames: Iterable[Frame]) -> Iterator[Picture]:
        """See ``Subject``."""
        rest = torch.from_numpy(self.animator.keypoints([reference]))  # (1, K, 2)
        photo = torch.from_numpy(source).permute(2, 0, 1)[None].float()
        grid = identity_grid(source.shape[0], source.shape[1], photo)
        remaining = iter(frames)
        while batch := [frame.image for frame in islice(remaining, self.animator.batch)]:
            driving = torch.from_numpy(self.animator.keypoints(batch))
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


BASELINES = ("static", "similarity", "truth")
