"""Animates a photo frame by frame with low latency."""

import math
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import torch

from faceanim_cli.animation.animated_photo import AnimatedPhoto
from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.driver import crop_driver
from faceanim_cli.animation.face import moved, warn_of_beyond
from faceanim_cli.animation.face_presence import FacePresenceSoFar
from faceanim_cli.animation.networks import Detected
from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.animation.result import provenance_tags
from faceanim_cli.device import sharing_threads
from faceanim_cli.errors import NoFaceError
from faceanim_cli.faces import Box, FaceDetector
from faceanim_cli.motion.motion_batch import MotionBatch
from faceanim_cli.pictures import Image
from faceanim_models import Keypoints

LOOK_EVERY_S = 1.0  # for where the face is; a look takes as long as a frame
GONE_AFTER = 2  # looks in a row that see no face
FARTHEST = 0.25  # sides of the crop that the face may be off the crop's middle
MOST_GROWN = 1.4  # times that the face may be as large, or as small, as when it was framed
SIDE_BY_SIDE = 2  # frames that a CPU works on; more would each take longer


@dataclass(frozen=True)
class LiveFrame:
    """A frame of a camera."""

    image: Image  # uint8 RGB (H, W, 3)
    number: int = 0
    taken: float = 0.0
    """``time.monotonic()`` when it came."""


@dataclass(frozen=True)
class LivePicture:
    """What is shown for a frame."""

    picture: Image
    """uint8 RGB; the photo itself until there is a face."""
    frame: LiveFrame
    crop: Box | None
    """Of the frame, what the networks saw; None where no face was found."""
    held: bool
    """Whether it shows the last motion, for want of a face."""


class _Step(NamedTuple):
    """A frame that has been followed, and is still to be painted."""

    frame: LiveFrame
    crop: Box | None
    keypoints: list[Keypoints]  # of each face; none before there is one
    held: bool


class LivePhoto:
    """Animates a photo with a camera's frames.

    The face is searched for once and framed. From then on a look every second, beside the work, tells whether
    it has left its frame: then it is framed anew. Motion counts from the first frame in which the face was
    found, until somebody asks to begin anew.

    On a CPU two frames are worked on side by side, in a thread each, as one alone does not fill two cores.
    They are followed one after the other, and shown in order.

    Args:
        animator: with batches of one.
        animated: the photo; everything is warm when this returns.

    Attributes:
        size: (width, height) of the pictures.
        tags: what a recording says of its origin.
    """

    def __init__(self, animator: Animator, animated: AnimatedPhoto) -> None:
        self._animator, self._animated = animator, animated
        self._detector = FaceDetector()
        self._reference: MotionBatch | None = None
        self._anew = threading.Event()
        self._picture = animated.photo_panel
        self.size = animated.size((1, 1))
        self.tags = provenance_tags(animator.weights, animator.weights_sha256)
        on_cpu = animator.device.type == "cpu"
        self._workers = min(SIDE_BY_SIDE, torch.get_num_threads()) if on_cpu else 1
        self._threads = sharing_threads("faceanim-live", self._workers)
        self._threads.submit(animated.warm_up).result()

    def recentre(self) -> None:
        """Count motion from the next frame on: its pose and expression stand for the photo's."""
        self._anew.set()

    def pictures(self, frames: Iterator[LiveFrame]) -> Generator[LivePicture, None, None]:
        """One picture for each frame, in order; a frame is asked for when there is a thread for it."""
        room, over = threading.Semaphore(self._workers), threading.Event()

        def begun() -> Iterator[tuple[_Step, Future[Image | None]]]:
            with _Lookout() as lookout:
                steps = self._steps(frames, lookout)
                while room.acquire() and not over.is_set():  # only then the newest frame is asked for
                    step = next(steps, None)
                    if step is None:
                        return
                    yield step, self._threads.submit(self._paint, step)

        with Pipeline() as pipeline:
            try:
                for step, painted in pipeline.stage("live", begun()):
                    picture = painted.result()
                    room.release()
                    self._picture = self._picture if picture is None else picture
                    yield LivePicture(self._picture, step.frame, step.crop, step.held)
            finally:
                over.set()
                room.release()  # who waits for it sees that it is over

    def _steps(self, frames: Iterator[LiveFrame], lookout: "_Lookout") -> Iterator[_Step]:
        for frame in frames:
            if self._anew.is_set():
                self._anew.clear()
                self._reference = None
            try:
                crop, _ = crop_driver(iter([frame.image]), "auto", self._detector, self._animator.framer)
            except NoFaceError:
                yield _Step(frame, None, [], True)
                continue
            assert crop is not None
            crop = replace(crop, x=round(crop.x), y=round(crop.y), w=round(crop.w), h=round(crop.w))
            face = self._detector.detect(frame.image)[0]
            yield from self._follow(chain([frame], frames), crop, face, lookout)

    def _follow(
        self, frames: Iterator[LiveFrame], crop: Box, face: Box, lookout: "_Lookout"
    ) -> Iterator[_Step]:
        """Until the face must be searched for again, or motion is to begin anew."""
        faces = [each.retargeting(self._reference) for each in self._animated.faces]
        last: MotionBatch | None = None
        presence = FacePresenceSoFar()
        lookout.begin()
        for frame in frames:
            found = self._threads.submit(self._detect, frame.image, crop).result()
            (shows,) = presence.shows(found)
            if shows or last is None:
                last = found.motion
            if self._reference is None:
                self._reference = last
            lookout.show(frame.image)
            yield _Step(frame, crop, [moved(each, last) for each in faces], not shows)
            if self._anew.is_set() or lookout.lost(crop, face):
                break
        for each in faces:
            warn_of_beyond(each)

    def _detect(self, image: Image, crop: Box) -> Detected:
        return next(self._animator.detections([image], crop))

    def _paint(self, step: _Step) -> Image | None:
        if not step.keypoints:
            return None
        pairs = zip(self._animated.faces, step.keypoints, strict=True)
        picture = self._animated.compose([face.paint(keypoints) for face, keypoints in pairs])
        mark = self._animator.watermark
        return picture if mark is None else mark.embed(picture)


class _Lookout:
    """Looks where the face is now and then, in the newest frame, in a thread of its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._image: Image | None = None
        self._over = False
        self._misses = 0
        self._box: Box | None = None
        self._next = 0.0
        self._thread = threading.Thread(target=self._work, name="faceanim-lookout", daemon=True)

    def __enter__(self) -> "_Lookout":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join()

    def begin(self) -> None:
        """Forget what was seen: the face has just been found."""
        with self._changed:
            self._image, self._box, self._misses = None, None, 0
            self._next = time.monotonic() + LOOK_EVERY_S

    def show(self, image: Image) -> None:
        """The newest frame; it is looked at if it is time."""
        if time.monotonic() >= self._next:
            with self._changed:
                self._next = time.monotonic() + LOOK_EVERY_S
                self._image = image
                self._changed.notify_all()

    def lost(self, crop: Box, face: Box) -> bool:
        """Whether the face that was framed so has gone, or has left the middle of its frame."""
        with self._changed:
            if self._box is None:
                return self._misses >= GONE_AFTER
            off = math.hypot(self._box.cx - face.cx, self._box.cy - face.cy)
            grown = max(self._box.side / face.side, face.side / self._box.side)
            return off > FARTHEST * crop.w or grown > MOST_GROWN

    def _work(self) -> None:
        detector = FaceDetector()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._image is not None or self._over)
                if self._over:
                    return
                image, self._image = self._image, None
            assert image is not None
            boxes = detector.detect(image)
            with self._changed:
                self._box = boxes[0] if boxes else None
                self._misses = 0 if boxes else self._misses + 1
