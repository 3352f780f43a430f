"""Cuts a driving video into shots, and tracks the face in each.

Every frame is seen once, small and grey. Two things are made of it: a thumbnail of a few pixels, whose jumps
tell cuts, and a few times a second a search for faces. Between two cuts a face is followed by itself: each
shot has its own framing, and relative motion its own reference. What is black or shows something else for a
moment is no shot of its own where the same picture goes on after it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import cv2
import numpy as np

from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.faces.choice import TURN_AHEAD, quarter_turned, strongest
from faceanim_cli.faces.detector import SURE_VOTES
from faceanim_cli.faces.framing import Box, clip_crop
from faceanim_cli.faces.tracking import (
    LONGEST_REACH,
    STEP_GROWTH,
    FaceTrack,
    count_lasting_faces,
    no_face_in_driver,
    track_boxes,
)
from faceanim_cli.pictures import Floats, Image

logger = logging.getLogger(__name__)

SCAN_SIDE = 640  # pixels of the longer side: the largest that a driver is searched at
THUMBNAIL = 24  # pixels a side
JUMP_LEVELS = 7.0  # of 255, mean over the thumbnail: a change from frame to frame that can be a cut
JUMP_AHEAD = 4.0  # times the changes before and after it that a cut is: fast motion goes on, a cut does not
CALM_FRAMES = 6  # frames on either side that a change is compared with
BLANK_LEVELS = 4.0  # standard deviation over the thumbnail of a frame that shows nothing
ALIKE = 0.8  # correlation of thumbnails that show the same picture, be it brighter or darker
FLASH_FRAMES = 3  # a change that is over so soon is no shot, whatever it shows
APART = 1.2  # a face that is elsewhere is a shot of its own if both together are so much wider than its crop
TURN_SAMPLES = 5  # frames that are searched in other orientations, where few show a face
MISSES = 3  # samples in a row without a face, after which
RETRY = 6  # only every so-manieth is searched for small and tilted faces, too: most of the time goes there


class VotingDetector(Protocol):
    """What a scan needs of ``FaceDetector``."""

    def detect_with_votes(self, image: Image, *, quick: bool = False) -> list[tuple[Box, int]]:
        """Face boxes of a grey image, uint8 (H, W), in its pixels, and how sure they are."""


@dataclass(frozen=True)
class Shot:
    """Frames of a driver that are framed alike.

    Attributes:
        first: number of its first frame.
        track: where its face is; at least one box.
        cut: whether it begins with a cut, and not with a face that is somewhere else.
    """

    first: int
    track: FaceTrack
    cut: bool


@dataclass(frozen=True)
class DriverScan:
    """What one look at a driver tells.

    Attributes:
        shots: in order; the first begins with frame 0.
        samples: frames that were searched for faces.
        missed: how many of them do not show the face.
        faceless: runs (first, last) of frames between cuts in which no face was found at all.
        turn: quarter turns clockwise by which the face stands upright more often; 0 for none.
    """

    shots: tuple[Shot, ...]
    samples: int
    missed: int
    faceless: tuple[tuple[int, int], ...] = ()
    turn: int = 0


@dataclass
class _Segment:
    """Frames between two jumps, or of which none or all are blank."""

    first: int
    beside_blank: bool = False
    end: int = 0
    begins: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    ends: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    found: dict[int, list[Box]] = field(default_factory=dict)

    @property
    def shows_face(self) -> bool:
        return any(self.found.values())


def scan_driver(
    frames: Iterable[Image],
    size: tuple[int, int],
    fps: Fraction,
    detector: VotingDetector,
    *,
    per_second: float,
    name: str,
    number: int | None = None,
    turnable: bool = True,
) -> DriverScan:
    """Find the cuts of a driver, and its face between them.

    Args:
        frames: all of them, grey, uint8 (h, w), scaled down alike; see ``FrameSource.scan``.
        size: (width, height) of the frames as they are.
        fps: frames per second.
        detector: a ``FaceDetector``, of this thread.
        per_second: how many frames are searched.
        name: the driver, for messages.
        number: follow this face, counted from 1, left to right; None is the main one of each shot.
        turnable: look whether the video lies on its side.

    Raises:
        NoFaceError: no face in any of the frames that were searched.
        UsageError: there is no face of that number.
        UnreadableInputError: there are no frames.
    """
    step = max(1, round(fps / Fraction(per_second)))
    looker = _FrameSearch(detector, step)
    for frame in frames:
        looker.look(frame)
    if not looker.segments:
        raise UnreadableInputError(f"{name}: no frames to look for a face in")
    scale = max(size) / looker.longest_side
    samples = sum(len(segment.found) for segment in looker.segments)
    hits = sum(bool(boxes) for segment in looker.segments for boxes in segment.found.values())
    if turnable and 2 * looker.sure < samples and (turn := looker.best_rotation()):
        return DriverScan((), samples, samples - hits, turn=turn)
    if not hits:
        raise no_face_in_driver(name, samples)
    between_cuts = _between_cuts(looker.segments, looker.changes)
    faceless = [(s.first, s.end - 1) for s in between_cuts if s.found and not s.shows_face]
    segments = _with_faces(_uninterrupted(between_cuts))
    if number is not None:
        there = max(count_lasting_faces(segment.found) for segment in segments)
        if number > there:
            raise UsageError(f"--driver-face {number}: {name} shows {there} at a time; give 1 to {there}")
    shots = [shot for segment in segments for shot in _shots_of(segment, size, scale, number)]
    kept = sum(len(shot.track.indices) for shot in shots)
    return DriverScan(tuple(shots), samples, samples - kept, tuple(faceless))


class _FrameSearch:
    """Sees frame after frame; keeps numbers, and a few frames to be turned."""

    def __init__(self, detector: VotingDetector, step: int) -> None:
        self.segments: list[_Segment] = []
        self.changes: list[float] = []
        self.longest_side = 1
        self._detector, self._step = detector, step
        self._before, self._blank = np.zeros(0, np.float32), False
        self._kept: list[tuple[Image, int]] = []  # and the votes of the face in it
        self.sure = 0
        self._every = 1
        self._samples = 0
        self._misses = 0

    def look(self, frame: Image) -> None:
        """The next frame, grey."""
        number = len(self.changes)
        self.longest_side = max(frame.shape)
        small = cv2.resize(frame, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
        thumbnail = np.asarray(small, np.float32)
        change = float(np.abs(thumbnail - self._before).mean()) if number else 0.0
        self.changes.append(change)
        blank = float(thumbnail.std()) < BLANK_LEVELS
        if not number or change >= JUMP_LEVELS or blank != self._blank:
            self.segments.append(_Segment(number, blank != self._blank, begins=thumbnail))
        self._blank = blank
        segment = self.segments[-1]
        segment.end, segment.ends = number + 1, thumbnail
        self._before = thumbnail
        begins = number == segment.first and not self._in_motion()
        if number % self._step == 0 or begins:
            self._misses *= not begins
            quick = self._misses >= MISSES and self._misses % RETRY > 0
            found = self._detector.detect_with_votes(frame, quick=quick)
            self._misses = 0 if found else self._misses + 1
            segment.found[number] = [box for box, _ in found]
            self.sure += strongest(found) >= SURE_VOTES
            self._keep(frame, strongest(found))

    def best_rotation(self) -> int:
        """Quarter turns by which the frames that were kept show a face far better; 0 if none does."""
        frames = [frame for frame, _ in self._kept]
        needed = max(TURN_AHEAD * sum(votes for _, votes in self._kept), SURE_VOTES * len(frames) / 2)
        turn, votes = self._best_turn(frames, (1, 2, 3), quick=True)
        if votes < needed:  # a small face, or none: one frame tells whether it is worth looking
            turn, votes = self._best_turn(frames[len(frames) // 2 :][:1], (1, 2, 3), quick=False)
            votes = self._best_turn(frames, (turn,), quick=False)[1] if votes >= SURE_VOTES / 2 else 0
        return turn if votes >= needed else 0

    def _best_turn(self, frames: Sequence[Image], turns: Sequence[int], *, quick: bool) -> tuple[int, int]:
        """The turn by which frames have the most votes, and these, added up."""
        votes = {
            turn: sum(
                strongest(self._detector.detect_with_votes(quarter_turned(frame, turn), quick=quick))
                for frame in frames
            )
            for turn in turns
        }
        best = max(votes, key=lambda turn: votes[turn])
        return best, votes[best]

    def _in_motion(self) -> bool:
        """Whether the frame before jumped as well: then searching each of them would cost too much."""
        return len(self.changes) > 1 and self.changes[-2] >= JUMP_LEVELS

    def _keep(self, frame: Image, votes: int) -> None:
        """Every so-manieth sample, evenly over however many come."""
        if self._samples % self._every == 0:
            self._kept.append((frame, votes))
            if len(self._kept) > TURN_SAMPLES:
                self._kept, self._every = self._kept[::2], 2 * self._every
        self._samples += 1


def _between_cuts(segments: list[_Segment], changes: list[float]) -> list[_Segment]:
    """Those that fast motion divides are one."""
    kept: list[_Segment] = []
    for segment in segments:
        if kept and not segment.beside_blank and not _is_cut(changes, segment.first):
            _append(kept[-1], segment)  # fast motion
        else:
            kept.append(segment)
    return kept


def _uninterrupted(segments: list[_Segment]) -> list[_Segment]:
    """Those are one where the same picture goes on after no face, or after anything for a moment."""
    kept: list[_Segment] = list(segments)
    i = 1
    while i < len(kept) - 1:
        before, between, after = kept[i - 1 : i + 2]
        short = between.end - between.first <= FLASH_FRAMES
        if (short or not between.shows_face) and _alike(before.ends, after.begins):
            between.found = {n: boxes if not short else [] for n, boxes in between.found.items()}
            _append(before, between)
            _append(before, after)
            del kept[i : i + 2]
        else:
            i += 1
    return kept


def _alike(a: Floats, b: Floats) -> bool:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum()) >= ALIKE * float(np.sqrt(np.square(a).sum() * np.square(b).sum())) > 0


def _with_faces(segments: list[_Segment]) -> list[_Segment]:
    """Those without a face belong to the one before, whose motion is held; the first ones to the next."""
    shown: list[_Segment] = []
    for segment in segments:
        if shown and (not segment.shows_face or not shown[-1].shows_face):
            begins_here = not shown[-1].shows_face
            _append(shown[-1], segment)
            if begins_here:
                shown[-1].begins = segment.begins
        else:
            shown.append(segment)
    return shown


def _append(segment: _Segment, following: _Segment) -> None:
    segment.end, segment.ends = following.end, following.ends
    segment.found.update(following.found)


def _is_cut(changes: list[float], first: int) -> bool:
    """Whether the change at a frame is a jump among calm frames."""
    before = changes[max(1, first - CALM_FRAMES) : first]
    after = changes[first + 1 : first + 1 + CALM_FRAMES]
    calm = [float(np.median(side)) for side in (before, after) if side]
    return not calm or changes[first] >= JUMP_AHEAD * max(calm)


def _shots_of(segment: _Segment, size: tuple[int, int], scale: float, number: int | None) -> Iterator[Shot]:
    """One shot, or several where the face is elsewhere after it was gone and one crop would be far larger."""
    found = {
        sample: [Box(scale * b.x, scale * b.y, scale * b.w, scale * b.h) for b in boxes]
        for sample, boxes in segment.found.items()
    }
    track = track_boxes(found, number)
    assert track is not None  # _with_faces saw to it
    starts, part = [segment.first], [track.boxes[0]]
    for i in range(1, len(track.boxes)):
        a, b = track.boxes[i - 1], track.boxes[i]
        far = math.hypot(a.cx - b.cx, a.cy - b.cy) > LONGEST_REACH * max(a.side, b.side)
        grown = max(a.side, b.side) > STEP_GROWTH * min(a.side, b.side)
        if (far or grown) and _better_apart(part, track.boxes[i:], size):
            starts.append((track.indices[i - 1] + track.indices[i] + 1) // 2)
            part = []
        part.append(b)
    for k, first in enumerate(starts):
        end = starts[k + 1] if k + 1 < len(starts) else segment.end
        own = track.between(first, end)
        assert own is not None
        yield Shot(first, own, cut=k == 0 and segment.first > 0)


def _better_apart(a: Sequence[Box], b: Sequence[Box], size: tuple[int, int]) -> bool:
    everything = [*a, *b]
    width = max(box.x + box.w for box in everything) - min(box.x for box in everything)
    height = max(box.y + box.h for box in everything) - min(box.y for box in everything)
    return max(width, height) > APART * max(clip_crop(a, size).side, clip_crop(b, size).side)
