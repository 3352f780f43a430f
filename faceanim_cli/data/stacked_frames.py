"""A clip as one picture with its frames side by side, as first-order-model's datasets keep them."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from PIL import Image as PillowImage

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media import FrameSource, open_video
from faceanim_cli.media.find_files import FRAME_SUFFIXES
from faceanim_cli.media.frame_folder import DEFAULT_FPS
from faceanim_cli.media.photo_reader import read_photo
from faceanim_cli.media.video_reader import sample_step
from faceanim_cli.pictures import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


class StackedFrames:
    """A ``FrameSource`` over square frames that lie side by side in one picture; silent."""

    def __init__(self, path: str | os.PathLike[str], fps: Fraction = DEFAULT_FPS) -> None:
        """Read the header.

        Raises:
            UnreadableInputError: no picture, or its width is no multiple of its height.
        """
        self.path = Path(path)
        count = stacked_count(self.path)
        if count == 0:
            raise UnreadableInputError(
                f"cannot read the clip {path}: not square frames side by side in one picture"
            )
        self._count = count
        self._picture = read_photo(self.path)  # (S, N * S, 3); whole, as PNG has no way to read a part
        self.height = self.width = self._picture.shape[0]
        self.fps = fps
        self.duration: float | None = float(count / fps)
        self.has_audio = False

    @property
    def frame_count_estimate(self) -> int | None:
        """Exact here."""
        return self._count

    def __enter__(self) -> "StackedFrames":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing stays open."""

    def __iter__(self) -> Iterator[Image]:
        """All frames: uint8 RGB (S, S, 3)."""
        return (self._frame(index) for index in range(self._count))

    def sample(self, per_second: float) -> Iterator[tuple[int, Image]]:
        """As ``VideoReader.sample``."""
        for index in range(0, self._count, sample_step(self.fps, per_second)):
            yield index, self._frame(index)

    def _frame(self, index: int) -> Image:
        return self._picture[:, index * self.width : (index + 1) * self.width].copy()


def open_frames(path: Path) -> FrameSource:
    """A video, a folder of frames, or a picture of frames side by side.

    Raises:
        UnreadableInputError: as ``media.open_video`` and ``StackedFrames``.
    """
    return StackedFrames(path) if stacked_count(path) else open_video(path)


def stacked_count(path: Path) -> int:
    """How many square frames lie side by side in a picture, told by its header; 0 for any other file."""
    if path.suffix.lower() not in SUFFIXES:
        return 0
    try:
        with PillowImage.open(path) as picture:
            width, height = picture.size
    except (OSError, PillowImage.DecompressionBombError):  # what is wrong with it, its reader will say
        return 0
    return width // height if height and width % height == 0 and width >= 2 * height else 0


def is_photo(path: Path) -> bool:
    """Whether a file is one photo: a picture that is no row of frames."""
    return path.suffix.lower() in FRAME_SUFFIXES and not stacked_count(path)
