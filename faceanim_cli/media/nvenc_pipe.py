"""Pipes frames into NVENC; software takes over where the GPU's encoder fails."""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np

from faceanim_cli.errors import FaceanimError
from faceanim_cli.media.ffmpeg import file_url
from faceanim_cli.media.frame_pipe import FramePipe, read_frames
from faceanim_cli.pictures import Image

logger = logging.getLogger(__name__)

RECENT_BYTES = 256 << 20
"""Of the last frames, kept because an encoder that dies takes those that it held with it."""
FEWEST_RECENT = 32
"""Frames, however large they are."""
REORDERED = 16
"""Frames before the end of a broken file that may be missing among their neighbours: H.264 and HEVC encode
frames out of order, at most that far."""
# A container that is readable to where it breaks off, if packets do not wait for others.
UNBREAKABLE_SUFFIX = ".nut"
UNBREAKABLE = ("-f", "nut", "-flush_packets", "1")


class NvencPipe:
    """A ``FramePipe`` that begins with NVENC.

    If that fails, what is in its file is decoded and encoded anew, the last frames come from memory, and
    software goes on: no frame is lost, and none has to be animated twice.
    """

    def __init__(
        self,
        path: Path,
        fps: Fraction,
        size: tuple[int, int],
        nvenc: tuple[Sequence[str], Path],
        software: tuple[Callable[[], Sequence[str]], Path],
    ) -> None:
        """As ``FramePipe``.

        Args:
            path: the output that the user named.
            fps: exact frames per second.
            size: (width, height), pixels.
            nvenc: ffmpeg's output options, ``UNBREAKABLE`` among them, and the file to write.
            software: what gives the options that take their place, and the file to write then.
        """
        self._path, self._fps, self._size = path, fps, size
        self._software = software
        self._undo = contextlib.ExitStack()
        self._recent: deque[Image] | None = deque(
            maxlen=max(FEWEST_RECENT, RECENT_BYTES // (3 * size[0] * size[1]))
        )
        self._pipe = self._pipe_to(*nvenc)
        self.file = nvenc[1]
        """Where the frames are in the end."""

    @property
    def frame_count(self) -> int:
        """Frames written so far."""
        return self._pipe.frame_count

    def __enter__(self) -> "NvencPipe":
        """Start ffmpeg."""
        self._enter(self._pipe)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.__exit__(kind, error, trace)

    def write(self, frame: Image) -> None:
        """As ``FramePipe.write``."""
        try:
            self._pipe.write(frame)
        except FaceanimError as error:
            self._fall_back(error)
            self._pipe.write(frame)
        if self._recent is not None:
            self._recent.append(frame.copy())

    def finish(self) -> None:
        """As ``FramePipe.finish``."""
        try:
            self._pipe.finish()
        except FaceanimError as error:
            self._fall_back(error)
            self._pipe.finish()

    def _enter(self, pipe: FramePipe) -> FramePipe:
        self._undo.push(pipe)  # before it starts, since an interrupt may come right after
        return pipe.__enter__()

    def _pipe_to(self, arguments: Sequence[str], file: Path) -> FramePipe:
        return FramePipe(self._path, self._fps, self._size, [*arguments, file_url(file)], even=True)

    def _fall_back(self, error: FaceanimError) -> None:
        """Begin anew with software, and give it all frames so far.

        Raises:
            FaceanimError: ``error``, if software is at work already or a frame is lost.
        """
        if self._recent is None:
            raise error
        recent, self._recent = self._recent, None
        count, (width, height) = self._pipe.frame_count, self._size
        in_memory = count - len(recent)  # the first one that is
        even = (width + width % 2, height + height % 2)
        broken = ["-i", file_url(self.file), "-vf", "scale=in_color_matrix=bt709:in_range=tv"]
        found = sum(1 for _ in read_frames(broken, *even)) if in_memory and self.file.exists() else 0
        if in_memory > max(0, found - REORDERED):
            raise FaceanimError(f"{error}; give --encoder software") from error
        logger.warning(
            "%s: the GPU's encoder failed after %d frames, software goes on (%s)", self._path, count, error
        )
        self._pipe = self._enter(self._pipe_to(self._software[0](), self._software[1]))
        for frame in islice(read_frames(broken, *even), in_memory):
            self._pipe.write(np.ascontiguousarray(frame[:height, :width]))
        for frame in recent:
            self._pipe.write(frame)
        self.file.unlink(missing_ok=True)
        self.file = self._software[1]
