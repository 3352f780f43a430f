"""Folders of frames: read as a driving video, written as a result."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from PIL import Image as PillowImage

from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from faceanim_cli.media.atomic_file import keep, partial_path, replace_folder
from faceanim_cli.media.find_files import frame_files
from faceanim_cli.media.frame_source import FrameSource, StoredFrames
from faceanim_cli.media.frame_writer import FrameWriter
from faceanim_cli.media.metadata import png_text
from faceanim_cli.media.output_checks import check_folder_of_ours
from faceanim_cli.media.own_files import first_foreign
from faceanim_cli.media.photos import read_photo
from faceanim_cli.media.signatures import is_folder
from faceanim_cli.media.video_reader import VideoReader
from faceanim_cli.pictures import Image

DEFAULT_FPS = Fraction(25)  # VoxCeleb's
COMPRESSION = 1  # of zlib's 9 levels: the others take several times as long for a few per cent


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


class FrameFolderWriter(FrameWriter):
    """Writes 000001.png, 000002.png, ...

    They go to a hidden folder beside ``path``, which is renamed when all are there. A folder that holds
    nothing but frames of ours is replaced, as a file would be; any other one is refused, never emptied.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction,
        size: tuple[int, int],
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Check everything that can be checked before work begins.

        Args:
            path: the folder.
            fps: for whoever asks; PNGs have no clock.
            size: (width, height) of the frames, pixels.
            metadata: tags, written into every PNG.

        Raises:
            UsageError: the place cannot be written, or other files are there.
        """
        super().__init__(path, fps, size)
        self.check(self.path)
        self._text = png_text(metadata or {})
        self._partial = self.path

    @staticmethod
    def check(path: Path) -> None:
        """Raises UsageError unless a folder of frames can be made there, or replaced."""
        check_folder_of_ours(path, first_foreign, f", or a file such as {path / 'out.mp4'}")

    def _open(self, undo: contextlib.ExitStack) -> None:
        """Make the hidden folder."""
        self._partial = partial_path(self.path.resolve())
        self._partial.mkdir()
        undo.callback(shutil.rmtree, self._partial, ignore_errors=True)  # gone when it was renamed

    def _write(self, frame: Image) -> None:
        file = self._partial / f"{self.frame_count + 1:06}.png"
        PillowImage.fromarray(frame).save(file, "PNG", compress_level=COMPRESSION, pnginfo=self._text)

    def _finish(self, undo: contextlib.ExitStack) -> None:
        target = self.path.absolute()
        if self.sign is not None:
            for file in sorted(self._partial.iterdir()):
                self.sign(file)
        try:
            self.check(self.path)  # hours may have passed
            target = self.path.resolve()
            replace_folder(self._partial, target)
        except (UsageError, OSError) as error:
            undo.pop_all()
            kept = keep(self._partial, target)
            raise FaceanimError(f"{error}; the finished frames are kept as {kept}") from error
