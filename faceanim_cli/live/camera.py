"""Sources of live frames: a camera, or a video played at its own rate."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from faceanim_cli.errors import UsageError
from faceanim_cli.live.live_photo import LiveFrame
from faceanim_cli.media import open_video
from faceanim_cli.pictures import Image

WIDTH, HEIGHT = 640, 480  # asked of a camera: a face needs no more, and less is sooner here


class NewestFrames:
    """A context manager that gives the newest frame, never an older one, and waits where there is none yet.

    A thread takes frames as they come. Whoever is slower than the camera misses frames, and so never lags.

    Args:
        camera: a number, or a video's path.

    Raises:
        UsageError: no such camera. UnreadableInputError: no such video.
    """

    def __init__(self, camera: str) -> None:
        self._opened = ExitStack()
        self._source = (
            _camera(int(camera), self._opened) if camera.isdigit() else _played(Path(camera), self._opened)
        )
        self._changed = threading.Condition()
        self._newest: LiveFrame | None = None
        self._over = False
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="faceanim-camera", daemon=True)

    def __enter__(self) -> Iterator[LiveFrame]:
        self._thread.start()
        return self._frames()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._over = True
        self._thread.join()
        self._opened.close()

    def _frames(self) -> Iterator[LiveFrame]:
        while True:
            with self._changed:
                while not self._changed.wait_for(lambda: self._newest is not None or self._over, 0.5):
                    pass  # Windows does not see Ctrl-C in a wait without an end
                frame, self._newest = self._newest, None
                if frame is None:
                    if self._fault is not None:
                        raise self._fault
                    return
            yield frame

    def _work(self) -> None:
        fault: BaseException | None = None
        try:
            for number, image in enumerate(self._source):
                with self._changed:
                    if self._over:
                        return
                    self._newest = LiveFrame(image, number, time.monotonic())
                    self._changed.notify_all()
        except BaseException as error:  # raised again where frames are taken
            fault = error
        with self._changed:
            self._fault, self._over = fault, True
            self._changed.notify_all()


def _camera(number: int, opened: ExitStack) -> Iterable[Image]:
    camera = cv2.VideoCapture(number)
    opened.callback(camera.release)
    if not camera.isOpened():
        raise UsageError(
            f"cannot open camera {number}: is it connected, and does no other program use it? --camera N is "
            "another one, --camera FILE a video in its place"
        )
    for what, value in (
        (cv2.CAP_PROP_FRAME_WIDTH, WIDTH),
        (cv2.CAP_PROP_FRAME_HEIGHT, HEIGHT),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ):
        camera.set(what, value)

    def frames() -> Iterator[Image]:
        while True:
            there, frame = camera.read()
            if not there:
                raise UsageError(f"camera {number} gives no more pictures: is it still connected?")
            yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)

    return frames()


def _played(path: Path, opened: ExitStack) -> Iterable[Image]:
    video = opened.enter_context(open_video(path))

    def frames() -> Iterator[Image]:
        begun: float | None = None
        for number, frame in enumerate(video):
            begun = time.monotonic() if begun is None else begun
            time.sleep(max(0.0, begun + number / float(video.fps) - time.monotonic()))
            yield frame

    return frames()
