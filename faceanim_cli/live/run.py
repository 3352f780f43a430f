"""The live loop: from a camera to a window, a virtual camera or a file."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from faceanim_cli.errors import UsageError
from faceanim_cli.live.camera import NewestFrames
from faceanim_cli.live.live_photo import LiveFrame, LivePhoto
from faceanim_cli.live.outputs import LiveOutput, Nowhere, Window, recording, virtual_camera


@dataclass(frozen=True)
class LiveReport:
    """How it went."""

    frames: int
    """Pictures that were shown."""
    missed: int
    """Frames of the camera that came too soon to be shown."""
    held: int
    """Pictures without a face before the camera."""
    fps: float
    """Pictures a second."""
    latency_ms: float
    """Median time from a frame's coming to its picture's being shown."""

    def __str__(self) -> str:
        return (
            f"{self.frames} pictures, {self.fps:.1f} a second, {self.latency_ms:.0f} ms after the camera's; "
            f"{self.held} without a face"
        )


class _Switches:
    """What keys have switched."""

    def __init__(self, photo: LivePhoto, mirrors: bool) -> None:
        self._photo, self.mirrors, self.over = photo, mirrors, False

    def mirror(self) -> None:
        self.mirrors = not self.mirrors
        self._photo.recentre()  # the face is elsewhere now, and looks the other way

    def quit(self) -> None:
        self.over = True

    def mirrored(self, frames: Iterator[LiveFrame]) -> Iterator[LiveFrame]:
        for frame in frames:
            image = np.ascontiguousarray(frame.image[:, ::-1]) if self.mirrors else frame.image
            yield replace(frame, image=image)


def run_live(photo: LivePhoto, camera: str, output: str, record: Path | None, mirror: bool) -> LiveReport:
    """Show a photo as the camera's face moves, until the camera ends, q is pressed or Ctrl-C.

    Args:
        photo: set up.
        camera: a number, or a video in its place.
        output: window, none, or the path of a virtual camera's device.
        record: a file to write as well.
        mirror: whether frames are mirrored to begin with.

    Raises:
        UsageError: there is no such camera or output. UnreadableInputError: the video cannot be read.
    """
    switches = _Switches(photo, mirror)
    frames = shown = held = last = 0
    waits: list[float] = []
    begun = 0.0
    with contextlib.ExitStack() as opened:
        outputs = [opened.enter_context(_output(output, photo, switches))]
        if record is not None:
            outputs.append(opened.enter_context(recording(record, photo.size, photo.tags)))
        newest = opened.enter_context(NewestFrames(camera))
        pictures = opened.enter_context(contextlib.closing(photo.pictures(switches.mirrored(newest))))
        with contextlib.suppress(KeyboardInterrupt):  # the only way to end it without a window
            for live in pictures:
                for each in outputs:
                    each.show(live)
                now = time.monotonic()
                begun = begun or now
                shown, held, last = shown + 1, held + live.held, live.frame.number
                if not live.held:
                    waits.append(1000 * (now - live.frame.taken))
                if switches.over:
                    break
        frames = last + 1 if shown else 0
        seconds = time.monotonic() - begun if shown > 1 else 0.0
    rate = (shown - 1) / seconds if seconds else 0.0
    latency = float(np.median(waits)) if waits else 0.0
    return LiveReport(shown, frames - shown, held, round(rate, 2), round(latency, 1))


def _output(where: str, photo: LivePhoto, switches: _Switches) -> LiveOutput:
    if where == "window":
        return Window({" ": photo.recentre, "m": switches.mirror, "q": switches.quit})
    if where == "none":
        return Nowhere()
    if where.startswith("/dev/"):
        return virtual_camera(Path(where), photo.size)
    raise UsageError(f"--output {where}: give window, none or /dev/videoN; --record FILE writes a file")
