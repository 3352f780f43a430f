"""Frames to an animated WebP."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from faceanim_cli.errors import UsageError
from faceanim_cli.media.frame_writer import AnimatedPictureWriter
from faceanim_cli.media.metadata import webp_with_xmp


class WebpWriter(AnimatedPictureWriter):
    """Animated WebP, a tenth of the GIF's size; ``crf`` 0 is lossless, 51 is rough."""

    max_fps = Fraction(60)

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction,
        size: tuple[int, int],
        *,
        crf: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """See ``FrameWriter``; ``metadata`` becomes XMP."""
        super().__init__(path, fps, size)
        self.check(self.path, self.fps, crf)
        self._crf, self._tags = 18 if crf is None else crf, dict(metadata or {})

    @classmethod
    def check(cls, path: Path, fps: Fraction | None, crf: int | None) -> None:
        """The scale is x264's."""
        super().check(path, fps, crf)
        if crf is not None and not 0 <= crf <= 51:
            raise UsageError(f"--crf {crf}: an animated WebP has 0 (lossless) to 51")

    def _first_file(self, undo: contextlib.ExitStack) -> Path:
        return self._temporary(undo, ".webp")

    def _arguments(self) -> Sequence[str]:
        """RGB goes to libwebp as it is: it converts to the YUV that the format means."""
        quality = ["-quality", str(100 - self._crf)] if self._crf else ["-lossless", "1", "-quality", "50"]
        return ["-c:v", "libwebp_anim", "-pix_fmt", "bgra", *quality, "-loop", "0", "-f", "webp"]

    def _complete(self, undo: contextlib.ExitStack) -> None:
        """Add the XMP."""
        del undo
        webp_with_xmp(self._encoded, self._whole, (self.width, self.height), self._tags)
