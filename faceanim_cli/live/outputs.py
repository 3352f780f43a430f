"""Outputs of live pictures: a window, a virtual camera, a file."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from faceanim_cli.errors import UsageError
from faceanim_cli.faces import crop_image
from faceanim_cli.live.live_photo import LivePicture
from faceanim_cli.media import open_output
from faceanim_cli.media.frame_pipe import FramePipe
from faceanim_cli.pictures import Image

RATE = Fraction(25)  # of recordings and virtual cameras, which want an even one
TITLE = "faceanim live"
HELP = "space re-centres, m mirrors, s shows the camera, q quits"


class LiveOutput(Protocol):
    """Takes pictures as they come."""

    def show(self, live: LivePicture) -> None:
        """The next picture."""

    def __enter__(self) -> "LiveOutput": ...

    def __exit__(self, *_: object) -> None: ...


class Window:
    """A window on this machine's screen, with keys.

    Args:
        keys: by their letters, what to call when one is pressed; closing the window presses q.

    Raises:
        UsageError: there is no screen.
    """

    def __init__(self, keys: Mapping[str, Callable[[], None]]) -> None:
        if sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
            raise UsageError(
                "there is no screen to open a window on: give --output none and --record FILE, --output "
                "/dev/videoN, or use faceanim web"
            )
        self._keys = {**keys, "s": self._toggle_crop}
        self._shows_crop = False

    def __enter__(self) -> "Window":
        cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE)
        return self

    def __exit__(self, *_: object) -> None:
        cv2.destroyAllWindows()

    def show(self, live: LivePicture) -> None:
        """Show it, and do what keys say."""
        picture = live.picture
        if self._shows_crop:
            side = picture.shape[0]
            seen = crop_image(live.frame.image, live.crop, side)
            picture = np.concatenate((seen, picture), axis=1)
        cv2.imshow(TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        key = chr(cv2.waitKey(1) & 0xFF)
        if cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            key = "q"
        self._keys.get(key.lower(), lambda: None)()

    def _toggle_crop(self) -> None:
        self._shows_crop = not self._shows_crop


class Nowhere:
    """For a recording alone."""

    def __enter__(self) -> "Nowhere":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, live: LivePicture) -> None:
        """Nothing."""


class EvenRate:
    """Pictures that come unevenly, as a video of an even rate: repeated, or left out.

    Args:
        open_writer: opens what takes them.
        write: gives it one.
        clock: seconds.
    """

    def __init__(
        self,
        open_writer: Callable[[], AbstractContextManager[object]],
        write: Callable[[Image], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open, self._write, self._clock = open_writer, write, clock
        self._begun: float | None = None
        self._written = 0
        self._opened = ExitStack()

    def __enter__(self) -> "EvenRate":
        self._opened.enter_context(self._open())
        return self

    def __exit__(self, *how: object) -> None:
        self._opened.__exit__(*how)  # type: ignore[arg-type]

    def show(self, live: LivePicture) -> None:
        """As often as time has passed since the last one."""
        now = self._clock()
        self._begun = now if self._begun is None else self._begun
        due = int((now - self._begun) * RATE) + 1
        for _ in range(due - self._written):
            self._write(live.picture)
        self._written = max(due, self._written)


def virtual_camera(device: Path, size: tuple[int, int]) -> EvenRate:
    """A v4l2loopback device of Linux, which other programs see as a camera; ``size`` is (width, height).

    Raises:
        UsageError: there is no such device.
    """
    if not device.is_char_device():
        raise UsageError(
            f"{device} is no video device: on Linux modprobe v4l2loopback makes one; elsewhere OBS takes "
            "the window"
        )
    pipe = FramePipe(device, RATE, size, ["-f", "v4l2", "-pix_fmt", "yuv420p", str(device)], even=True)
    return EvenRate(lambda: pipe, pipe.write)


def recording(path: Path, size: tuple[int, int], tags: Mapping[str, str]) -> EvenRate:
    """A file; ``size`` is (width, height), ``tags`` its metadata.

    Raises:
        UsageError: it cannot be written.
    """
    writer = open_output(path, RATE, size, metadata=tags)
    return EvenRate(lambda: writer, writer.write)
