"""Frames to an animated GIF."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media.ffmpeg import file_url, run
from faceanim_cli.media.frame_pipe import why_ended
from faceanim_cli.media.frame_writer import AnimatedPictureWriter
from faceanim_cli.media.metadata import gif_with_comment

# Two colours of a palette for every shade of skin would be too few: 256, chosen over the whole clip, so that
# what stands still does not flicker, and an ordered pattern, which stands still too and packs well.
PALETTE = (
    "split[colours][frames];[colours]palettegen=stats_mode=full[palette];"
    "[frames][palette]paletteuse=dither=bayer:bayer_scale=3:diff_mode=rectangle"
)


class GifWriter(AnimatedPictureWriter):
    """GIF with one palette for the clip. Frames wait in a lossless video until all colours are known."""

    max_fps = Fraction(50)  # delays are hundredths of a second, and one of them alone is played as ten

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction,
        size: tuple[int, int],
        *,
        crf: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """See ``FrameWriter``; ``metadata`` becomes the comment."""
        super().__init__(path, fps, size)
        self.check(self.path, self.fps, crf)
        self._tags = dict(metadata or {})

    @classmethod
    def check(cls, path: Path, fps: Fraction | None, crf: int | None) -> None:
        """A palette has no quality to set."""
        super().check(path, fps, crf)
        if crf is not None:
            raise UsageError(f"--crf {crf}: a GIF has no such quality; leave it out, or write .webp or .mp4")

    def _first_file(self, undo: contextlib.ExitStack) -> Path:
        return self._temporary(undo, ".mkv")

    def _arguments(self) -> Sequence[str]:
        """Lossless RGB, which x264 at its fastest makes quickly and a third as large as raw."""
        return ["-c:v", "libx264rgb", "-preset", "ultrafast", "-qp", "0", "-f", "matroska"]

    def _complete(self, undo: contextlib.ExitStack) -> None:
        """Choose the palette, apply it, and add the comment."""
        untagged = self._temporary(undo, ".gif")
        palette = ["-filter_complex", PALETTE, "-f", "gif", file_url(untagged)]
        code, _, err = run(["-loglevel", "error", "-i", file_url(self._encoded), *palette], timeout_s=None)
        if code != 0:
            raise FaceanimError(f"cannot write {self.path}: {why_ended(code, err)}")
        gif_with_comment(untagged, self._whole, self._tags)
