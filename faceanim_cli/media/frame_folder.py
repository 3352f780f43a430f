"""A folder of frames as a driving video."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media.find_files import frame_files
from faceanim_cli.media.photo_reader import read_photo
from faceanim_cli.media.video_reader import sample_step
from faceanim_cli.pictures import Image

DEFAULT_FPS = Fraction(25)  # VoxCeleb's


class FrameFolder:
    """The photos of a folder in natural order (2.png before 10.png), read one at a time; silent."""

    def __init__(self, path: str | os.PathLike[str], fps: Fraction = DEFAULT_FPS) -> None:
        """List the folder and read its first frame.

        Raises:
            UnreadableInputError: no photo in it, or the first one is unreadable.
        """
        self.path = Path(path)
        self._files = frame_files(self.path)
        if not self._files:
            raise UnreadableInputError(f"cannot read the frames of {path}: the folder holds no PNG or JPEG")
        self.height, self.width = read_photo(self._files[0]).shape[:2]
        self.fps = fps
        self.duration: float | None = float(len(self._files) / fps)
        self.has_audio = False

    @property
    def frame_count_estimate(self) -> int | None:
        """Exact here."""
        return len(self._files)

    def __enter__(self) -> "FrameFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing stays open between two frames."""

    def __iter__(self) -> Iterator[Image]:
        """All frames: uint8 RGB (H, W, 3).

        Raises:
            UnreadableInputError: a frame is damaged, or of another size than the first.
        """
        return map(self._read, self._files)

    def sample(self, per_second: float) -> Iterator[tuple[int, Image]]:
        """As ``VideoReader.sample``; the other files are not opened."""
        for index in range(0, len(self._files), sample_step(self.fps, per_second)):
            yield index, self._read(self._files[index])

    def _read(self, file: Path) -> Image:
        frame = read_photo(file)
        if frame.shape[:2] != (self.height, self.width):
            raise UnreadableInputError(
                f"cannot read the frame {file}: {frame.shape[1]}x{frame.shape[0]} instead of "
                f"{self.width}x{self.height} like the first; make all frames one size"
            )
        return frame
