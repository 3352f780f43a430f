"""Clips stored as one picture with the frames side by side, as in first-order-model's datasets."""

import os
from fractions import Fraction
from pathlib import Path

from PIL import Image as PillowImage

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media import FrameSource, open_video
from faceanim_cli.media.find_files import FRAME_SUFFIXES
from faceanim_cli.media.frame_folder import DEFAULT_FPS
from faceanim_cli.media.frame_source import StoredFrames
from faceanim_cli.media.photos import read_photo
from faceanim_cli.pictures import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "BMP",
    "TIFF",
)  # whatever the file is called


class StackedFrames(StoredFrames):
    """Square frames that lie side by side in one picture; silent."""

    def __init__(self, path: str | os.PathLike[str], fps: Fraction = DEFAULT_FPS) -> None:
        """Read the picture, whole, as PNG has no way to read a part.

        Raises:
            UnreadableInputError: no picture, or its width is no multiple of its height.
        """
        count = stacked_count(Path(path))
        if count == 0:
            raise UnreadableInputError(
                f"cannot read the clip {path}: not square frames side by side in one picture"
            )
        self._picture = read_photo(path)  # (S, N * S, 3)
        side = self._picture.shape[0]
        super().__init__(Path(path), (side, side), count, fps)

    def _read(self, index: int) -> Image:
        return self._picture[:, index * self.width : (index + 1) * self.width]


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
    width, height = picture_size(path) or (0, 0)
    return width // height if height and width % height == 0 and width >= 2 * height else 0


def picture_size(path: Path) -> tuple[int, int] | None:
    """(width, height) as a picture's header has them; None for what is no picture: its reader says why."""
    try:
        with PillowImage.open(path, formats=FORMATS) as picture:
            return picture.size
    except (OSError, PillowImage.DecompressionBombError):
        return None


def is_photo(path: Path) -> bool:
    """Whether a file is one photo: a picture that is no row of frames."""
    return path.suffix.lower() in FRAME_SUFFIXES and not stacked_count(path)
