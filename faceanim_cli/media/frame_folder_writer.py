"""Frames to a folder of numbered PNGs, lossless; the folder appears whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from PIL import Image as PillowImage

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media.atomic_file import keep, partial_path
from faceanim_cli.media.frame_writer import FrameWriter
from faceanim_cli.media.metadata import png_text
from faceanim_cli.media.output_checks import check_folder
from faceanim_cli.media.own_files import first_foreign
from faceanim_cli.pictures import Image

COMPRESSION = 1  # of zlib's 9 levels: the others take several times as long for a few per cent


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
        check_folder(path)
        try:
            foreign = first_foreign(path) if path.is_dir() else None
        except OSError as error:
            raise UsageError(
                f"cannot write the frames to {path}: {error.strerror}; name a new folder"
            ) from error
        if foreign is not None:
            raise UsageError(
                f"cannot write the frames to {path}: the folder holds other files ({foreign}); name a "
                f"new folder, or a file such as {path / 'out.mp4'}"
            )

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
        try:
            self.check(self.path)  # hours may have passed
            target = self.path.resolve()
            older = partial_path(target)
            if target.exists():
                shutil.copymode(target, self._partial)
                target.rename(older)
            try:
                self._partial.rename(target)
            except OSError:
                if older.exists():
                    older.rename(target)
                raise
        except (UsageError, OSError) as error:
            undo.pop_all()
            kept = keep(self._partial, target)
            raise FaceanimError(f"{error}; the finished frames are kept as {kept}") from error
        shutil.rmtree(older, ignore_errors=True)
