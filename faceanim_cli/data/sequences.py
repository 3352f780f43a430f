"""Selects the parts of a video that become clips (paper, section 4, after VoxCeleb's preparation).

The face's box in the first frame; the face is followed until it has strayed too far from there; the clip is
cut with the smallest square that holds all its boxes, and where it ended the next one begins. A hard cut ends
a clip too: what follows may be somebody else.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

import cv2
import numpy as np
import numpy.typing as npt

from faceanim_cli.errors import NoFaceError
from faceanim_cli.faces.framing import FRAME_SCALE, Box, clip_crop
from faceanim_cli.faces.tracking import Detector, FaceTrack, track_face
from faceanim_cli.pictures import Image

SAMPLES_PER_SECOND = 5.0  # how often the face is looked for; between two samples it moves in a line
STRAYED = 0.25  # shared over joint area of first and present box: video-preprocessing's value
LONGEST_GAP = 5  # samples: a face unseen for longer may come back as somebody else

THUMBNAIL = 32  # pixels: side of what neighbouring frames are compared at
CUT = 25.0  # grey levels: mean difference of two neighbouring frames, on either side of a cut
CUT_RATIO = 4.0  # and so many times the usual difference: a shaking camera is no cut


@dataclass(frozen=True)
class SequenceSettings:
    """What counts as a clip."""

    scale: float = FRAME_SCALE  # side of the crop in face boxes, where that holds all boxes
    min_size: int = 256  # pixels of the video: smaller crops are dropped
    min_frames: int = 25  # video-preprocessing drops VoxCeleb's under 64
    max_frames: int = 1024  # as there: what is longer becomes several clips


@dataclass(frozen=True)
class Sequence:
    """Frames [start, stop) of a video and the square that is cut out of them, pixels of its frames.

    ``track`` has the face's boxes, by frame of the video; None where they are yet to be found. ``crop`` is
    None where frames are taken whole. ``name``, ``person`` and ``split`` are the clip's own where a list
    gives them.
    """

    start: int
    stop: int
    crop: Box | None
    track: FaceTrack | None = None
    name: str | None = None
    person: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Dropped:
    """Frames [start, stop) that become no clip, why in two words, and what exactly was wrong."""

    start: int
    stop: int
    reason: str  # a constant text, to count by
    detail: str = ""


def face_sequences(
    frames: Iterable[Image], step: int, detector: Detector, settings: SequenceSettings
) -> Iterator[Sequence | Dropped]:
    """The clips of a video, in order, as soon as each is settled; frames are seen once and not kept.

    Args:
        frames: all frames of the video, uint8 RGB (H, W, 3).
        step: the face is looked for in every so-manieth frame.
        detector: a ``FaceDetector``, of this thread.
        settings: see ``SequenceSettings``.
    """
    shots = _Shots()
    for _, shot in groupby(enumerate(frames), key=shots):
        samples = _Samples(shot, step)
        try:
            track = track_face(samples, detector)
        except NoFaceError:
            yield Dropped(samples.start, samples.stop, "no face")
            continue
        seen_to = samples.start
        for start, stop, part in _unstrayed(track, samples, step, settings.max_frames):
            if start - seen_to > LONGEST_GAP * step:
                yield Dropped(seen_to, start, "no face")
            yield _judged(start, stop, part, samples.size, settings)
            seen_to = stop
        if samples.stop - seen_to > LONGEST_GAP * step:
            yield Dropped(seen_to, samples.stop, "no face")


def box_overlap(a: Box, b: Box) -> float:
    """Shared area over joint area, 0 to 1."""
    w = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    h = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    shared = max(w, 0) * max(h, 0)
    return shared / (a.area + b.area - shared)


def within(crop: Box, size: tuple[int, int]) -> Box:
    """The crop cut to a square inside the frame: beyond its edge there is nothing to learn from."""
    side = min(int(crop.side), *size)
    x = min(max(int(crop.x + (crop.w - side) / 2), 0), size[0] - side)
    y = min(max(int(crop.y + (crop.h - side) / 2), 0), size[1] - side)
    return Box(x, y, side, side)


def _judged(
    start: int, stop: int, track: FaceTrack, size: tuple[int, int], settings: SequenceSettings
) -> Sequence | Dropped:
    if stop - start < settings.min_frames:
        detail = f"{stop - start} frames, --min-frames is {settings.min_frames}"
        return Dropped(start, stop, "too short", detail)
    crop = within(clip_crop(track.boxes, size, settings.scale), size)
    if crop.side < settings.min_size:
        detail = f"a crop of {crop.side} pixels, --min-size is {settings.min_size}"
        return Dropped(start, stop, "too small", detail)
    return Sequence(start, stop, crop, track)


def _unstrayed(
    track: FaceTrack, shot: "_Samples", step: int, max_frames: int
) -> Iterator[tuple[int, int, FaceTrack]]:
    """(start, stop, boxes) of the stretches of a shot in which the face stays about where it began.

    No square inside the frame holds boxes that lie farther apart than its shorter side: strayed as well.
    """
    indices, boxes = track.indices, track.boxes
    first = 0
    for i in range(1, len(indices) + 1):
        last = indices[i - 1]
        if i == len(indices) or indices[i] - last > LONGEST_GAP * step:
            stop = min(last + step, shot.stop)  # held until the next sample would have been due
        elif (
            box_overlap(boxes[first], boxes[i]) < STRAYED
            or _extent(boxes[first : i + 1], shot.size) > min(shot.size)
            or indices[i] + step - indices[first] > max_frames
        ):
            stop = indices[i]
        else:
            continue
        yield indices[first], stop, FaceTrack(indices[first:i], boxes[first:i], 0)
        first = i


def _extent(boxes: tuple[Box, ...], size: tuple[int, int]) -> float:
    """The longer side of what holds all boxes, as far as they lie in the frame."""
    left, top = min(max(b.x, 0) for b in boxes), min(max(b.y, 0) for b in boxes)
    right = max(min(b.x + b.w, size[0]) for b in boxes)
    bottom = max(min(b.y + b.h, size[1]) for b in boxes)
    return max(right - left, bottom - top)


@dataclass
class _Shots:
    """Called with the frames in order, gives each the number of its shot: the key for ``groupby``."""

    number: int = 0
    _before: npt.NDArray[np.int16] | None = None
    _differences: list[float] = field(default_factory=list)

    def __call__(self, numbered: tuple[int, Image]) -> int:
        small = cv2.resize(numbered[1], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
        grey = small.astype(np.int16).mean(-1)
        if self._before is not None:
            difference = float(np.abs(grey - self._before).mean())
            usual = float(np.median(self._differences)) if self._differences else 0.0
            if difference > max(CUT, CUT_RATIO * usual):
                self.number += 1
                self._differences = []
            else:
                self._differences = [*self._differences[-9:], difference]
        self._before = grey
        return self.number


class _Samples:
    """Every ``step``-th of a shot's numbered frames, from its first; afterwards it knows where that ended."""

    def __init__(self, shot: Iterable[tuple[int, Image]], step: int) -> None:
        self._shot, self._step = shot, step
        self.start = self.stop = 0
        self.size = (0, 0)  # width, height

    def __iter__(self) -> Iterator[tuple[int, Image]]:
        for position, (index, frame) in enumerate(self._shot):
            if position == 0:
                self.start = index
                self.size = (frame.shape[1], frame.shape[0])
            self.stop = index + 1
            if position % self._step == 0:
                yield index, frame
