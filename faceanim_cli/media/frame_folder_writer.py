"""Frames to a folder of numbered PNGs, lossless; the folder appears whole or not at all."""

import os
import re
import shutil
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from PIL import Image as PillowImage

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media.frame_pipe import check_frame
from faceanim_cli.media.output_file import check_folder, partial_path
from faceanim_cli.media.picture_tags import png_text
from faceanim_cli.pictures import Image

COMPRESSION = 1  # of zlib's 9 levels: the others take several times as long for a few per cent
OURS = re.compile(r"\d{6,}\.png")


class FrameFolderWriter:
    """A context manager that writes 000001.png, 000002.png, ...

    They go to a hidden folder beside ``path``, which is renamed when all are there. A folder that holds
    nothing but such frames is replaced, as a file would be; any other one is refused, never emptied.
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
        self.path, self.fps = Path(path), Fraction(fps)
        self.check(self.path)
        self._width, self._height = size
        self._text = png_text(metadata or {})
        self._partial: Path | None = None
        self.frame_count = 0

    @staticmethod
    def check(path: Path) -> None:
        """Raises UsageError unless a folder of frames can be made there."""
        check_folder(path)
        files = path.iterdir() if path.is_dir() else ()
        others = [file.name for file in files if not OURS.fullmatch(file.name)]
        if others:
            raise UsageError(
                f"cannot write the frames to {path}: the folder holds other files ({min(others)}); name a "
                f"new folder, or a file such as {path / 'out.mp4'}"
            )

    def __enter__(self) -> "FrameFolderWriter":
        """Make the hidden folder."""
        partial = partial_path(self.path.resolve())
        try:
            partial.mkdir()
        except OSError as error:
            raise FaceanimError(f"cannot write {self.path}: {error.strerror}") from error
        self._partial = partial
        return self

    def write(self, frame: Image) -> None:
        """Write one frame: uint8 RGB (H, W, 3), of the size that was announced.

        Raises:
            ValueError: another shape or type.
            FaceanimError: writing failed (disk full).
        """
        check_frame(frame, self._width, self._height)
        if self._partial is None:
            raise ValueError("write() belongs inside the with block")
        file = self._partial / f"{self.frame_count + 1:06}.png"
        try:
            PillowImage.fromarray(frame).save(file, "PNG", compress_level=COMPRESSION, pnginfo=self._text)
        except OSError as error:
            raise FaceanimError(f"cannot write {self.path}: {error.strerror or error}") from error
        self.frame_count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the folder in its place, or leave nothing behind.

        Raises:
            FaceanimError: no frame was written, or renaming failed.
        """
        assert self._partial is not None
        try:
            if error is None:
                if self.frame_count == 0:
                    raise FaceanimError(f"cannot write {self.path}: there was no frame to write")
                self._publish(self._partial)
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)  # gone already when it was renamed

    def _publish(self, partial: Path) -> None:
        self.check(self.path)  # hours may have passed
        target = self.path.resolve()
        older = partial_path(target)
        try:
            if target.exists():
                target.rename(older)
            partial.rename(target)
        except OSError as error:
            if older.exists():
                older.rename(target)
            raise FaceanimError(f"cannot write {self.path}: {error.strerror}") from error
        shutil.rmtree(older, ignore_errors=True)
