"""Frames to an animated WebP."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from faceanim_cli.errors import UsageError
from faceanim_cli.media.animated_picture_writer import AnimatedPictureWriter
from faceanim_cli.media.metadata import tag_webp


class WebpWriter(AnimatedPictureWriter):
    """Animated WebP, a tenth of the GIF's size; ``crf`` 0 is lossless, 51 is rough. Tags become XMP."""

    max_fps = Fraction(60)
    suffix = ".webp"
    two_passes = False

    @classmethod
    def check(cls, path: Path, fps: Fraction | None, crf: int | None, loop: int = 0) -> None:
        """The scale is x264's."""
        super().check(path, fps, crf, loop)
        if crf is not None and not 0 <= crf <= 51:
            raise UsageError(f"--crf {crf}: an animated WebP has 0 (lossless) to 51")

    def _encoding(self) -> Sequence[str]:
        """RGB goes to libwebp as it is: it converts to the YUV that the format means."""
        crf = 18 if self._crf is None else self._crf
        quality = ["-quality", str(100 - crf)] if crf else ["-lossless", "1", "-quality", "50"]
        return ["-c:v", "libwebp_anim", "-pix_fmt", "bgra", *quality, "-loop", str(self._loop), "-f", "webp"]

    def _tag(self, untagged: Path) -> None:
        tag_webp(untagged, self._whole, (self.width, self.height), self._tags)
