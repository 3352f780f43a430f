"""A driving video with the face in it, framed for the networks, frame after frame."""

import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby, islice

import numpy as np
import torch

from faceanim_cli.animation.driver import (
    CANDIDATES_PER_SECOND,
    MOST_CANDIDATES,
    Candidates,
    DrivingMotion,
    Panel,
)
from faceanim_cli.animation.driver_search import DriverSearch
from faceanim_cli.animation.face_presence import NO_FACE, FacePresence
from faceanim_cli.animation.framer import Framer
from faceanim_cli.animation.networks import Detected, join_detected
from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.faces import Box, Framing, Shot, crop_image, square_crop
from faceanim_cli.media import FrameSource
from faceanim_cli.motion.limits import FrameRuns
from faceanim_cli.motion.motion_batch import MotionBatch, all_finite, frame_count, join_motion, part_of
from faceanim_cli.pictures import Flags, Floats, Image

logger = logging.getLogger(__name__)

FRAMED_BY = 30  # frames of a driver whose landmarks tell how it is framed, where they do
NEAR = 0.5  # seconds from a frame in which the face was found to one that motion may count from


class VideoDriver:
    """A driving video with the face in it; see ``Driver``.

    Args:
        search: the video, and where its face is.
        detect: keypoints of framed frames, in batches: ``Animator.detections``.
        side: of the frames that it is given, pixels.
        framer: frames what is found; None is that of our networks.

    Raises:
        UsageError: a crop that does not touch the frames.
    """

    def __init__(
        self,
        search: DriverSearch,
        detect: Callable[..., Iterator[Detected]],
        side: int,
        framer: Framer | None = None,
    ) -> None:
        self._search, self._detect, self._side, self._framer = search, detect, side, framer or Framer()
        self.path, self.fps = self._video.path, self._video.fps
        self.frame_count_estimate = self._video.frame_count_estimate
        self.sound = self.path if self._video.has_audio else None
        self.sound_start = self._video.start
        self.missed, self.starts = 0, [0]
        self.crops: list[Box | None] = [None]
        self._shots: list[Shot] = []
        self._between_cuts: tuple[tuple[int, int], ...] = ()
        self._sharpness = [0.0]
        self._rest: MotionBatch | None = None
        self._panels: deque[Image | None] = deque()
        self.faceless = FrameRuns()
        if isinstance(search.crop, tuple):
            self.crops = [square_crop(Box(*search.crop), self.size)]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of its frames."""
        return self._video.width, self._video.height

    def find_face(self, pipeline: Pipeline) -> None:
        """Learn of the cuts and of the face between them, where no crop was given.

        Raises:
            NoFaceError: there is none. UsageError: there is none of that number.
        """
        crop = self._search.crop
        if crop is None or isinstance(crop, tuple):
            return
        scan = self._search.scan(pipeline)
        self._shots, self._between_cuts, self.missed = list(scan.shots), scan.faceless, scan.missed
        self.starts = [shot.first for shot in scan.shots]
        self._sharpness = [0.0 for _ in scan.shots]
        framing = crop if isinstance(crop, Framing) else Framing()
        samples = ((self._shot_of(at), at, frame) for at, frame in self._near_faces(FRAMED_BY))
        found = self._framer.frame_clips(samples, [shot.track for shot in scan.shots], self.size)
        self.crops = [framing.around(crop, self.size) for crop in found]
        logger.info("%s: %d x %d, %s fps, crops %s", self.path, *self.size, self.fps, self.crops)
        if 2 * scan.missed > scan.samples:
            logger.warning(
                "%s: the face was found in only %d of %d sampled frames; should it look at the camera more?",
                self.path,
                scan.samples - scan.missed,
                scan.samples,
            )
        cuts = [str(shot.first) for shot in scan.shots if shot.cut]
        if cuts:
            frames = "frame" if len(cuts) == 1 else "frames"
            logger.warning(
                "%s: cut at %s %s; each shot is framed by itself", self.path, frames, ", ".join(cuts)
            )

    def first_frame(self) -> Image:
        """The whole first frame."""
        frame = next(iter(self._video), None)
        if frame is None:
            raise UnreadableInputError(f"cannot read the video {self.path}: there is no whole frame in it")
        return frame

    def candidates(self, wanted: int | None, most: int = MOST_CANDIDATES) -> list[Candidates | None]:
        """See ``Driver``. Frames far from any in which the face was found are passed over."""
        picked: list[Candidates | None] = [None for _ in self.starts]
        numbers, found = self._detected(self._near_faces(most))
        if found is not None:
            sharp = _array(found.sharpness) if found.sharpness is not None else np.ones(len(numbers))
            shots = np.array([self._shot_of(number) for number in numbers])
            for shot in set(shots.tolist()):
                own = shots == shot
                usual = float(min(np.percentile(sharp, 75), np.percentile(sharp[own], 75)))
                self._sharpness[shot] = usual
                at = np.flatnonzero(own & (sharp >= NO_FACE * usual)).tolist()
                picked[shot] = Candidates([numbers[i] for i in at], part_of(found.motion, at))
        if wanted is not None:
            _, one = self._detected((wanted, frame) for frame in islice(self._video, wanted, wanted + 1))
            if one is None:
                raise UsageError(f"{self.path}: has no frame {wanted}; give --start-frame a smaller number")
            picked[self._shot_of(wanted)] = Candidates([wanted], one.motion)
        self._rest = next((part_of(one.motion, [0]) for one in picked if one is not None), None)
        return picked

    def motion(self, pipeline: Pipeline, panel: Panel, whole: bool = False) -> Iterator[DrivingMotion]:
        """See ``Driver``. Frames are cropped as they are decoded; nothing else of them is kept.

        Where a frame shows no face, the last motion is held; ``faceless`` tells which those were.
        """
        part = None if whole else self._seen_part()
        crop = None if part is None else (int(part.x), int(part.y), int(part.w), int(part.h))
        frames = self._video.frames(crop)
        return self._held(self._detect_framed(enumerate(frames), panel, pipeline, part))

    def next_panel(self) -> Image | None:
        """See ``Driver``; another thread may be adding some."""
        return self._panels.popleft()

    def close(self) -> None:
        """See ``Driver``."""
        self._search.close()

    @property
    def _video(self) -> FrameSource:
        return self._search.video

    def _shot_of(self, number: int) -> int:
        return max(0, bisect_right(self.starts, number) - 1)

    def _seen_part(self) -> Box | None:
        """The part of the frames that some crop shows; None for all of it."""
        crops = [crop for crop in self.crops if crop is not None]
        if len(crops) < len(self.crops):
            return None
        width, height = self.size
        x, y = max(0, min(c.x for c in crops)), max(0, min(c.y for c in crops))
        right, bottom = min(width, max(c.x + c.w for c in crops)), min(height, max(c.y + c.h for c in crops))
        return Box(x, y, right - x, bottom - y)

    def _near_faces(self, most: int) -> Iterator[tuple[int, Image]]:
        """Some frames, and their numbers: of those with a face near by, if it was looked for."""
        rate = min(CANDIDATES_PER_SECOND, most / max(self._video.duration or 0.0, 1.0))
        at = [index for shot in self._shots for index in shot.track.indices]
        reach = NEAR * float(self.fps)
        for number, frame in self._video.sample(rate):
            self._search.looking()
            i = bisect_right(at, number)
            if not at or min(abs(number - near) for near in at[max(0, i - 1) : i + 1]) <= reach:
                yield number, frame

    def _detected(self, frames: Iterable[tuple[int, Image]]) -> tuple[list[int], Detected | None]:
        """The numbers of frames, and what is detected in them together; None if there are none."""
        numbers: list[int] = []

        def noted() -> Iterator[tuple[int, Image]]:
            for number, frame in frames:
                numbers.append(number)
                yield number, frame

        batches = list(self._detect_framed(noted(), lambda *_: None))
        return numbers, join_detected(batches) if batches else None

    def _detect_framed(
        self,
        frames: Iterable[tuple[int, Image]],
        panel: Panel,
        pipeline: Pipeline | None = None,
        part: Box | None = None,
    ) -> Iterator[Detected]:
        """Keypoints of numbered frames, each cropped as its shot is; of frames, ``part`` is given."""

        def framed() -> Iterator[Image]:
            for number, frame in frames:
                crop = self.crops[self._shot_of(number)]
                if part is not None and crop is not None:
                    crop = Box(crop.x - part.x, crop.y - part.y, crop.w, crop.h)
                if pipeline is not None:
                    self._panels.append(panel(frame, crop))
                yield crop_image(frame, crop, self._side)

        crops = framed() if pipeline is None else pipeline.stage("decode", framed())
        return self._detect(crops, crop=None)

    def _held(self, batches: Iterable[Detected]) -> Iterator[DrivingMotion]:
        """Motion of each batch, shot by shot; frames without a face have that of the last one with one."""
        first, last = 0, None if self._rest is None else DrivingMotion(0, self._rest)
        for batch, shows in self._decided(batches):
            self.faceless.add(first, ~shows)
            shots = [self._shot_of(first + i) for i in range(len(shows))]
            if shows.all() and shots[0] == shots[-1]:
                yield (last := DrivingMotion(shots[0], batch.motion))
            else:
                rows: list[DrivingMotion] = []
                for i, shot in enumerate(shots):
                    if shows[i] or last is None:
                        last = DrivingMotion(shot, part_of(batch.motion, [i]))
                    else:
                        last = last._replace(motion=part_of(last.motion, [-1]))
                    rows.append(last)
                for shot, run in groupby(rows, key=lambda row: row.shot):
                    yield DrivingMotion(shot, join_motion([row.motion for row in run]))
            first += len(shows)

    def _decided(self, batches: Iterable[Detected]) -> Iterator[tuple[Detected, Flags]]:
        """Each batch, and which of its frames show a face, (B,)."""
        presence = FacePresence(float(self.fps))
        waiting: deque[Detected] = deque()
        seen = done = 0
        for batch in chain(batches, [None]):
            if batch is None:
                presence.finish()
            else:
                waiting.append(batch)
                presence.see(self._shares(batch, seen).tolist())
                seen += frame_count(batch.motion)
            while waiting and len(presence.decided) >= done + frame_count(waiting[0].motion):
                count = frame_count(waiting[0].motion)
                yield waiting.popleft(), np.array(presence.decided[done : done + count])
                done += count

    def _shares(self, batch: Detected, first: int) -> Floats:
        """The sharpness of a batch from frame ``first`` on, as shares of the usual, (B,)."""
        finite = all_finite(batch.motion).cpu().numpy()
        numbers = np.arange(first, first + len(finite))
        if batch.sharpness is None:  # of these weights: where a whole shot has no face, there is none
            gone = [(numbers >= start) & (numbers <= end) for start, end in self._between_cuts]
            return np.where(finite & ~np.any(gone, axis=0) if gone else finite, np.float32(1), np.float32(0))
        usual = np.array([self._sharpness[self._shot_of(number)] for number in numbers.tolist()])
        sharp = np.where(usual > 0, _array(batch.sharpness) / np.maximum(usual, 1e-6), 1)
        return np.where(finite, sharp, 0).astype(np.float32)


def _array(values: torch.Tensor) -> Floats:
    return values.float().cpu().numpy()
