"""A folder of frames as a driving video, and the choice between folder and file."""

import os
from fractions import Fraction
from pathlib import Path

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media.find_files import frame_files
from faceanim_cli.media.frame_source import FrameSource, StoredFrames
from faceanim_cli.media.photos import read_photo
from faceanim_cli.media.signatures import is_folder
from faceanim_cli.media.video_reader import VideoReader
from faceanim_cli.pictures import Image

DEFAULT_FPS = Fraction(25)  # VoxCeleb's


class FrameFolder(StoredFrames):
    """The photos of a folder in natural order (2.png before 10.png), read one at a time; silent."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction = DEFAULT_FPS,
        *,
        start: float = 0.0,
        duration: float | None = None,
        turn: int = 0,
    ) -> None:
        """List the folder and read its first frame.

        Raises:
            UnreadableInputError: no photo in it, or the first one is unreadable.
            UsageError: ``start`` lies beyond the last frame.
        """
        self._files = frame_files(Path(path))
        if not self._files:
            raise UnreadableInputError(f"cannot read the frames of {path}: the folder holds no PNG or JPEG")
        self._stored = read_photo(self._files[0]).shape[:2][::-1]
        super().__init__(
            Path(path), self._stored, len(self._files), fps, start=start, duration=duration, turn=turn
        )

    def _read(self, index: int) -> Image:
        """Raises UnreadableInputError: a frame is damaged, or of another size than the first."""
        file = self._files[index]
        frame = read_photo(file)
        height, width = frame.shape[:2]
        if (width, height) != self._stored:
            raise UnreadableInputError(
                f"cannot read the frame {file}: {width}x{height} instead of "
                f"{self._stored[0]}x{self._stored[1]} like the first; make all frames one size"
            )
        return frame


def open_video(
    path: str | os.PathLike[str],
    fps: Fraction | None = None,
    *,
    start: float = 0.0,
    duration: float | None = None,
    turn: int = 0,
) -> FrameSource:
    """A video file or a folder of frames.

    Args:
        path: the file or folder.
        fps: the rate that a file is resampled to, None its own; or the rate that a folder is played at.
        start: seconds to leave out at the beginning; frame k is frame ``round(start * fps) + k`` of all.
        duration: seconds to take; None is all the rest.
        turn: quarter turns clockwise, 0 to 3.

    Raises:
        UnreadableInputError: as ``VideoReader`` and ``FrameFolder``.
        UsageError: no ffmpeg, or ``start`` lies beyond the end.
    """
    if is_folder(Path(path)):
        return FrameFolder(path, fps or DEFAULT_FPS, start=start, duration=duration, turn=turn)
    return VideoReader(path, fps, start=start, duration=duration, turn=turn)
