"""The base class of frame writers: a context manager that leaves a whole result or none."""

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from faceanim_cli.errors import FaceanimError
from faceanim_cli.media.atomic_file import partial_path, whole_file
from faceanim_cli.media.ffmpeg import file_url
from faceanim_cli.media.frame_pipe import FramePipe, check_frame
from faceanim_cli.media.nvenc_pipe import NvencPipe
from faceanim_cli.media.output_checks import check_writable
from faceanim_cli.pictures import Image

Writer = TypeVar("Writer", bound="FrameWriter")


class FrameWriter(ABC):
    """A context manager that writes frames as they come.

    At the end of the block the result takes its place if nothing was raised; otherwise what was there before
    stays, and nothing new is left behind.
    """

    def __init__(self, path: str | os.PathLike[str], fps: Fraction, size: tuple[int, int]) -> None:
        """Check everything that can be checked before work begins.

        Args:
            path: the file or folder to write.
            fps: exact frames per second.
            size: (width, height) of the frames, pixels.

        Raises:
            ValueError: ``fps`` or ``size`` is impossible.
        """
        self.path, self.fps = Path(path), Fraction(fps)
        self.width, self.height = size
        if self.fps <= 0 or self.width < 1 or self.height < 1:
            raise ValueError(f"impossible video: {size} at {fps} frames per second")
        self.frame_count = 0
        """Frames written so far."""
        self.sign: Callable[[Path], object] | None = None
        """Called with each finished file before it takes its name; may change it, in place."""
        self._undo: contextlib.ExitStack | None = None  # None outside the block

    def __enter__(self: Writer) -> Writer:
        """Make ready for the first frame.

        Raises:
            UsageError: the place cannot be written any more, or ffmpeg is missing.
            FaceanimError: no temporary file can be made.
        """
        with contextlib.ExitStack() as undo:
            try:
                self._open(undo)
            except OSError as error:
                raise self._failure(error) from error
            self._undo = undo.pop_all()
        return self

    def write(self, frame: Image) -> None:
        """Write one frame: uint8 RGB (H, W, 3) in [0, 255], of the size that was announced.

        Raises:
            ValueError: another shape or type, or not inside the block.
            FaceanimError: writing failed (disk full).
        """
        check_frame(frame, self.width, self.height)
        if self._undo is None:
            raise ValueError("write() belongs inside the with block")
        try:
            self._write(frame)
        except OSError as error:
            raise self._failure(error) from error
        self.frame_count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the result in its place, or leave nothing behind.

        Raises:
            FaceanimError: writing failed, or no frame was written.
        """
        assert self._undo is not None
        undo, self._undo = self._undo, None
        if error is not None:
            undo.__exit__(kind, error, trace)
            return
        with undo:
            if self.frame_count == 0:
                raise FaceanimError(f"cannot write {self.path}: there was no frame to write")
            try:
                self._finish(undo)
            except OSError as fault:
                raise self._failure(fault) from fault

    def _failure(self, error: OSError) -> FaceanimError:
        return FaceanimError(f"cannot write {self.path}: {error.strerror or error}")

    @abstractmethod
    def _open(self, undo: contextlib.ExitStack) -> None:
        """Make ready; ``undo`` gets whatever must happen in the end, in any case."""

    @abstractmethod
    def _write(self, frame: Image) -> None:
        """Write one frame, checked already."""

    @abstractmethod
    def _finish(self, undo: contextlib.ExitStack) -> None:
        """All frames are there: complete the result. Undone right after."""


class EncodedWriter(FrameWriter):
    """Frames that one ffmpeg encodes as they come, into a file that takes its place when it is whole."""

    def __init__(self, path: str | os.PathLike[str], fps: Fraction, size: tuple[int, int]) -> None:
        """As ``FrameWriter``.

        Raises:
            UsageError: the place cannot be written.
        """
        super().__init__(path, fps, size)
        check_writable(self.path)
        self._pipe: FramePipe | NvencPipe | None = None
        self._whole = self._encoded = self.path

    def _open(self, undo: contextlib.ExitStack) -> None:
        self._whole = undo.enter_context(whole_file(self.path))
        self._encoded = self._first_file(undo)
        self._pipe = self._encoder(undo)
        undo.push(self._pipe)  # before it starts, since an interrupt may come right after
        self._pipe.__enter__()

    def _write(self, frame: Image) -> None:
        assert self._pipe is not None
        self._pipe.write(frame)

    def _finish(self, undo: contextlib.ExitStack) -> None:
        assert self._pipe is not None
        self._pipe.finish()
        self._complete(undo)
        if self.sign is not None:
            self.sign(self._whole)

    def _encoder(self, undo: contextlib.ExitStack) -> FramePipe | NvencPipe:
        """What encodes the frames as they come, not started."""
        del undo
        arguments = [*self._arguments(), file_url(self._encoded)]
        return FramePipe(self.path, self.fps, (self.width, self.height), arguments, even=self._even)

    def _temporary(self, undo: contextlib.ExitStack, suffix: str) -> Path:
        """An unused name beside the result, for a file that is gone in the end."""
        path = partial_path(self.path.resolve(), suffix)
        undo.callback(path.unlink, missing_ok=True)
        return path

    _even = False
    """Whether odd sides grow by a pixel; see ``FramePipe``."""

    @abstractmethod
    def _first_file(self, undo: contextlib.ExitStack) -> Path:
        """Where the frames are encoded to as they come: ``_whole``, or a temporary file."""

    @abstractmethod
    def _arguments(self) -> Sequence[str]:
        """ffmpeg's output options for it."""

    @abstractmethod
    def _complete(self, undo: contextlib.ExitStack) -> None:
        """From ``_encoded`` to ``_whole``."""
