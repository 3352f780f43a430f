"""Tracks one person's face box through a driving video, from a few detections a second.

Viola-Jones misses turned heads, jitters by a tenth of the box and now and then takes a shirt for a face. So
boxes are first linked into paths, the path that is large and lasts is the person, boxes that jump are thrown
out, and what is left is median-filtered and interpolated. Frames are seen once, in order, and not kept:
memory grows by a few numbers per sample, whatever the clip.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Protocol

import numpy as np

from faceanim_cli.errors import NoFaceError, UnreadableInputError
from faceanim_cli.faces.framing import Box, clip_crop
from faceanim_cli.pictures import Image

STEP_REACH = 0.6  # how far a face may move from one sample to the next, in its own sides
LONGEST_GAP = 10  # samples without a box after which a path is closed
GAP_REACH = 0.3  # and how much farther for each sample without a box
LONGEST_REACH = 1.5  # but never farther than this
STEP_GROWTH = 1.6  # nor may its size change by more than this factor
REJOIN_LENGTH = 3  # a face that comes back elsewhere must last this many samples to count as the same person
CUT_SHORT_LENGTH = 2  # and this many where the video begins or ends with them: it had no time for more
ALONE = 0.6  # share of its samples in which no other path is the person's: two are seen in a cross-fade only
LASTING = 0.25  # of the weight of the main person's path: a face that counts among those that are numbered
MEDIAN_WINDOW = 5  # samples; outliers shorter than half of it vanish
JUMP = 0.35  # a box this many sides off the median of its neighbours is an outlier
JUMP_GROWTH = 1.35  # and so is one whose size differs from theirs by this factor


class Detector(Protocol):
    """What tracking needs of ``FaceDetector``."""

    def detect(self, image: Image) -> list[Box]:
        """Face boxes of an RGB image, uint8 (H, W, 3), in its pixels."""


@dataclass(frozen=True)
class FaceTrack:
    """Where the face is, by frame: the filtered boxes of the samples in which it was found.

    Attributes:
        indices: frame numbers of the samples that have a box, increasing.
        boxes: one face box for each, pixels of the frame.
        misses: samples without a box of this person (nothing found, somebody else, or an outlier).
    """

    indices: tuple[int, ...]
    boxes: tuple[Box, ...]
    misses: int

    def box_at(self, index: float) -> Box:
        """The box in any frame: linear between samples, held before the first and after the last."""
        after = bisect_right(self.indices, index)
        if after == 0 or after == len(self.indices):
            return self.boxes[max(after - 1, 0)]
        start, end = self.indices[after - 1 : after + 1]
        a, b, share = self.boxes[after - 1], self.boxes[after], (index - start) / (end - start)
        numbers = ((u + (v - u) * share) for u, v in zip(astuple(a), astuple(b), strict=True))
        return Box(*numbers)

    def between(self, first: int, end: int) -> FaceTrack | None:
        """What it says about the frames ``first`` to ``end - 1``; None if it has no box there."""
        kept = [(i, box) for i, box in zip(self.indices, self.boxes, strict=True) if first <= i < end]
        return FaceTrack(tuple(i for i, _ in kept), tuple(box for _, box in kept), 0) if kept else None

    def clip_crop(self, image_size: tuple[int, int]) -> Box:
        """The one square crop of the clip, see ``framing.clip_crop``; ``image_size`` is (width, height)."""
        return clip_crop(self.boxes, image_size)


def track_face(
    samples: Iterable[tuple[int, Image]], detector: Detector, name: str = "the driving video"
) -> FaceTrack:
    """Follow the main person's face through sampled frames.

    Args:
        samples: (frame number, RGB frame uint8 (H, W, 3)), numbers increasing; a few a second are enough.
        detector: a ``FaceDetector``, of this thread.
        name: the driver, for messages.

    Returns:
        The track; it has at least one box.

    Raises:
        NoFaceError: no sample has a face.
        UnreadableInputError: there are no samples.
        ValueError: the frame numbers do not increase.
    """
    boxes: dict[int, list[Box]] = {}
    for number, frame in samples:
        if boxes and number <= next(reversed(boxes)):
            raise ValueError(f"frame numbers must increase: {number} after {next(reversed(boxes))}")
        boxes[number] = detector.detect(frame)
    if not boxes:
        raise UnreadableInputError(f"{name}: no frames to look for a face in")
    track = track_boxes(boxes)
    if track is None:
        raise no_face_in_driver(name, len(boxes))
    return track


def no_face_in_driver(name: str, samples: int) -> NoFaceError:
    """What to raise where none of so many sampled frames has a face, and what to do."""
    return NoFaceError(
        f"{name}: no face found in {samples} sampled frames; "
        "say where it is with --driver-crop x,y,w,h (--crop is the photo's), "
        "or take one that faces the camera"
    )


def track_boxes(found: Mapping[int, Sequence[Box]], number: int | None = None) -> FaceTrack | None:
    """One person's face, from all boxes of sampled frames.

    The main person is the one whose boxes, added up over the clip, are the largest: a false box in the first
    sample or a passer-by does not win against a face that stays.

    Args:
        found: the boxes in each sampled frame, by frame number, increasing.
        number: follow this one of the faces that last, counted from 1, left to right; the main person where
            there are fewer, and with None.

    Returns:
        None if no sample has a face.
    """
    paths: list[_Path] = []
    for sample, boxes in enumerate(found.values()):
        _link(paths, sample, boxes)
    if not paths:
        return None
    followed = _chosen_path(paths, number)
    person = _joined(followed, paths, len(found))
    samples, numbers = sorted(person), list(found)
    kept = _without_outliers([person[sample] for sample in samples])
    at = [samples[i] for i in kept]
    boxes_px = _median_filtered([person[sample] for sample in at])
    return FaceTrack(tuple(numbers[sample] for sample in at), tuple(boxes_px), len(found) - len(at))


def count_lasting_faces(found: Mapping[int, Sequence[Box]]) -> int:
    """How many faces ``track_boxes`` can number."""
    paths: list[_Path] = []
    for sample, boxes in enumerate(found.values()):
        _link(paths, sample, boxes)
    return len(_lasting(paths))


@dataclass
class _Path:
    """Boxes, by sample, that one face can have gone through."""

    boxes: dict[int, Box] = field(default_factory=dict)

    @property
    def last_sample(self) -> int:
        """The sample of the newest box: they come in order."""
        return next(reversed(self.boxes))

    def misfit(self, sample: int, box: Box) -> float:
        """How ill the box continues this path, 0 to 1 by place and size; infinite when it cannot."""
        last = self.boxes[self.last_sample]
        missed = sample - self.last_sample - 1
        reach = min(STEP_REACH + GAP_REACH * missed, LONGEST_REACH) * max(last.side, box.side)
        misfit = math.hypot(
            math.hypot(box.cx - last.cx, box.cy - last.cy) / reach,
            math.log(_ratio(last.side, box.side)) / math.log(STEP_GROWTH),
        )
        return misfit if misfit <= 1 else math.inf

    def weight(self) -> float:
        """Size and length in one number: the box sides added up."""
        return sum(box.side for box in self.boxes.values())


def _link(paths: list[_Path], sample: int, boxes: Sequence[Box]) -> None:
    """Add the boxes of a sample to the paths that they continue best, or start one."""
    open_paths = [path for path in paths if sample - path.last_sample <= LONGEST_GAP + 1]
    pairs = sorted(
        (path.misfit(sample, box), p, b) for p, path in enumerate(open_paths) for b, box in enumerate(boxes)
    )
    used_paths: set[int] = set()
    used_boxes: set[int] = set()
    for misfit, p, b in pairs:
        if math.isfinite(misfit) and p not in used_paths and b not in used_boxes:
            open_paths[p].boxes[sample] = boxes[b]
            used_paths.add(p)
            used_boxes.add(b)
    paths.extend(_Path({sample: box}) for b, box in enumerate(boxes) if b not in used_boxes)


def _lasting(paths: Sequence[_Path]) -> list[_Path]:
    """The faces that are numbered, left to right."""
    heaviest = max((path.weight() for path in paths), default=0.0)
    lasting = [path for path in paths if path.weight() >= LASTING * heaviest]
    return sorted(lasting, key=lambda path: float(np.median([box.cx for box in path.boxes.values()])))


def _chosen_path(paths: Sequence[_Path], number: int | None) -> _Path:
    lasting = _lasting(paths)
    if number is not None and number <= len(lasting):
        return lasting[number - 1]
    return max(paths, key=_Path.weight)


def _joined(main: _Path, paths: Sequence[_Path], samples: int) -> dict[int, Box]:
    """Boxes by sample of a path, and of later or earlier ones that must be the same face.

    Somebody who leaves the frame and comes back elsewhere starts a new path. It is theirs when they were
    hardly seen meanwhile, the size is alike and it lasts: a false box seldom lasts. A face that comes back
    to where it has been need not last.
    """
    person = dict(main.boxes)
    side = float(np.median([box.side for box in person.values()]))
    for path in sorted(paths, key=_Path.weight, reverse=True):
        own = {sample: box for sample, box in path.boxes.items() if sample not in person}
        if len(own) < ALONE * len(path.boxes):
            continue
        alike = _ratio(side, float(np.median([box.side for box in own.values()]))) <= STEP_GROWTH
        at_an_end = {0, samples - 1} & own.keys()
        lasts = len(own) >= (CUT_SHORT_LENGTH if at_an_end else REJOIN_LENGTH)
        comes_back = all(any(_near(box, there) for there in main.boxes.values()) for box in own.values())
        if alike and (lasts or comes_back):
            person.update(own)
    return person


def _near(a: Box, b: Box) -> bool:
    """Whether one could be the next of the other, sample for sample."""
    apart = math.hypot(a.cx - b.cx, a.cy - b.cy)
    return apart <= JUMP * max(a.side, b.side) and _ratio(a.side, b.side) <= JUMP_GROWTH


def _without_outliers(boxes: Sequence[Box]) -> list[int]:
    """Positions of the boxes that agree with the median of their neighbourhood."""

    def agrees(i: int) -> bool:
        start = max(0, min(i - MEDIAN_WINDOW // 2, len(boxes) - MEDIAN_WINDOW))
        window = boxes[start : start + MEDIAN_WINDOW]
        near = _median_box(window)
        # At the ends of a clip the window lies to one side: carry its median on at its median speed.
        ahead = i - start - (len(window) - 1) / 2
        speed_x = float(np.median(np.diff([box.cx for box in window])))
        speed_y = float(np.median(np.diff([box.cy for box in window])))
        off_x = boxes[i].cx - near.cx - ahead * speed_x
        off_y = boxes[i].cy - near.cy - ahead * speed_y
        return (
            math.hypot(off_x, off_y) <= JUMP * near.side and _ratio(boxes[i].side, near.side) <= JUMP_GROWTH
        )

    everything = list(range(len(boxes)))
    kept = [i for i in everything if agrees(i)] if len(boxes) >= 3 else everything
    # Where most boxes contradict their neighbours there is nothing to judge by.
    return kept if 2 * len(kept) >= len(boxes) else everything


def _median_filtered(boxes: Sequence[Box]) -> list[Box]:
    """Running median of centre and size; the window is symmetric, narrower at the ends: it does not lag."""
    reach = [min(i, len(boxes) - 1 - i, MEDIAN_WINDOW // 2) for i in range(len(boxes))]
    return [_median_box(boxes[i - r : i + r + 1]) for i, r in enumerate(reach)]


def _median_box(boxes: Sequence[Box]) -> Box:
    """One box from many: the median of centre and size, each number apart."""
    cx, cy, w, h = np.median([(box.cx, box.cy, box.w, box.h) for box in boxes], axis=0).tolist()
    return Box(cx - w / 2, cy - h / 2, w, h)


def _ratio(a: float, b: float) -> float:
    return max(a, b) / min(a, b)
