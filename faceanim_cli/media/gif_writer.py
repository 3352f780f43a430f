"""Frames to an animated GIF."""

import contextlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media.animated_picture_writer import AnimatedPictureWriter
from faceanim_cli.media.ffmpeg import file_url, run
from faceanim_cli.media.frame_pipe import why_ended
from faceanim_cli.media.metadata import tag_gif


class GifWriter(AnimatedPictureWriter):
    """GIF with one palette for the clip, chosen when all colours are known. Tags become a comment and XMP.

    Two colours of a palette for every shade of skin would be too few: 256, of the whole clip, so that what
    stands still does not flicker, and an ordered pattern, which stands still too and packs well.
    """

    max_fps = Fraction(50)  # delays are hundredths of a second, and one of them alone is played as ten
    suffix = ".gif"
    two_passes = True

    @classmethod
    def check(cls, path: Path, fps: Fraction | None, crf: int | None, loop: int = 0) -> None:
        """A palette has no quality to set."""
        super().check(path, fps, crf, loop)
        if crf is not None:
            raise UsageError(f"--crf {crf}: a GIF has no such quality; leave it out, or write .webp or .mp4")

    def _second_pass(self, undo: contextlib.ExitStack) -> Sequence[str]:
        """Choose the palette from the frames that wait; it is the second input."""
        palette = self._temporary(undo, ".png")
        # image2pipe: the muxer image2 would take a percent sign in the name for a number
        choice = ["-vf", "palettegen=stats_mode=full", "-c:v", "png", "-f", "image2pipe", file_url(palette)]
        code, _, err = run(["-loglevel", "error", "-i", file_url(self._encoded), *choice], timeout_s=None)
        if code != 0:
            raise FaceanimError(f"cannot write {self.path}: {why_ended(code, err)}")
        return ["-f", "png_pipe", "-i", file_url(palette), *self._encoding()]

    def _encoding(self) -> Sequence[str]:
        # the format counts repetitions after the first time, and -1 leaves the count out
        loop = {0: 0, 1: -1}.get(self._loop, self._loop - 1)
        use = "[0][1]paletteuse=dither=bayer:bayer_scale=3:diff_mode=rectangle"
        return ["-filter_complex", use, "-loop", str(loop), "-f", "gif"]

    def _tag(self, untagged: Path) -> None:
        tag_gif(untagged, self._whole, self._tags)
