"""Frames to what plays without a player: GIF and animated WebP. Silent, and whole or not at all."""

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media.ffmpeg import file_url, last_words, run
from faceanim_cli.media.frame_pipe import FramePipe
from faceanim_cli.media.output_file import check_writable, partial_path, whole_file
from faceanim_cli.media.picture_tags import gif_with_comment, webp_with_xmp
from faceanim_cli.pictures import Image

# Two colours of a palette for every shade of skin would be too few: 256, chosen over the whole clip, so that
# what stands still does not flicker, and an ordered pattern, which stands still too and packs well.
PALETTE = (
    "split[colours][frames];[colours]palettegen=stats_mode=full[palette];"
    "[frames][palette]paletteuse=dither=bayer:bayer_scale=3:diff_mode=rectangle"
)


class PictureWriter(ABC):
    """A context manager that encodes frames as they come; see the two formats below."""

    max_fps: Fraction
    """Browsers slow down what claims to be faster."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction,
        size: tuple[int, int],
        *,
        crf: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Check everything that can be checked before work begins.

        Args:
            path: the file to write.
            fps: exact frames per second; the file's coarse clock is rounded frame by frame, so that the clip
                is as long as it should be.
            size: (width, height) of the frames, pixels.
            crf: quality where the format has one.
            metadata: tags, see ``picture_tags.py``.

        Raises:
            ValueError: ``fps`` or ``size`` is impossible.
            UsageError: the place cannot be written, or the format cannot do what is asked.
        """
        self.path, self.fps = Path(path), Fraction(fps)
        if self.fps <= 0 or min(size) < 1:
            raise ValueError(f"impossible animation: {size} at {fps} frames per second")
        self.check(self.path, self.fps, crf)
        check_writable(self.path)
        self._size, self._crf, self._tags = size, crf, dict(metadata or {})
        self._undo = contextlib.ExitStack()
        self._pipe: FramePipe | None = None
        self._whole = self._encoded = self.path

    @classmethod
    def check(cls, path: Path, fps: Fraction | None, crf: int | None) -> None:
        """Raises UsageError if the format cannot do it."""
        del crf
        if fps is not None and fps > cls.max_fps:
            raise UsageError(
                f"cannot write {path} at {float(fps):g} frames per second: such a file plays at most "
                f"{cls.max_fps}; give --fps {cls.max_fps} or less"
            )

    @property
    def frame_count(self) -> int:
        """Frames written so far."""
        return 0 if self._pipe is None else self._pipe.frame_count

    def __enter__(self) -> "PictureWriter":
        """Start ffmpeg."""
        with contextlib.ExitStack() as undo:
            self._whole = undo.enter_context(whole_file(self.path))
            self._encoded = self._temporary(undo, self.first_suffix)
            arguments = [*self.first_pass(), file_url(self._encoded)]
            self._pipe = undo.enter_context(FramePipe(self.path, self.fps, self._size, arguments, even=False))
            self._undo = undo.pop_all()
        return self

    def write(self, frame: Image) -> None:
        """Encode one frame: uint8 RGB (H, W, 3) in [0, 255], of the size that was announced.

        Raises:
            ValueError: another shape or type.
            FaceanimError: ffmpeg died (disk full); the line has its own words.
        """
        if self._pipe is None:
            raise ValueError("write() belongs inside the with block")
        self._pipe.write(frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or leave nothing behind.

        Raises:
            FaceanimError: ffmpeg failed, or no frame was written.
        """
        if error is not None:
            self._undo.__exit__(kind, error, trace)
            return
        with self._undo as undo:
            assert self._pipe is not None
            self._pipe.finish()
            try:
                self.publish(undo)
            except OSError as fault:
                raise FaceanimError(f"cannot write {self.path}: {fault.strerror or fault}") from fault

    def _temporary(self, undo: contextlib.ExitStack, suffix: str) -> Path:
        path = partial_path(self.path.resolve().with_suffix(suffix))
        undo.callback(path.unlink, missing_ok=True)
        return path

    @property
    @abstractmethod
    def first_suffix(self) -> str:
        """Of the file that frames are encoded to as they come."""

    @abstractmethod
    def first_pass(self) -> Sequence[str]:
        """ffmpeg's output options for it."""

    @abstractmethod
    def publish(self, undo: contextlib.ExitStack) -> None:
        """From ``_encoded`` to ``_whole``."""


class GifWriter(PictureWriter):
    """GIF with one palette for the clip. Frames wait in a lossless video until all colours are known."""

    max_fps = Fraction(50)  # delays are hundredths of a second, and one of them alone is played as ten
    first_suffix = ".mkv"

    @classmethod
    def check(cls, path: Path, fps: Fraction | None, crf: int | None) -> None:
        """A palette has no quality to set."""
        super().check(path, fps, crf)
        if crf is not None:
            raise UsageError(f"--crf {crf}: a GIF has no such quality; leave it out, or write .webp or .mp4")

    def first_pass(self) -> Sequence[str]:
        """Lossless RGB, which x264 at its fastest makes quickly and a third as large as raw."""
        return ["-c:v", "libx264rgb", "-preset", "ultrafast", "-qp", "0"]

    def publish(self, undo: contextlib.ExitStack) -> None:
        """Choose the palette, apply it, and add the comment."""
        untagged = self._temporary(undo, ".gif")
        palette = ["-filter_complex", PALETTE, file_url(untagged)]
        code, _, err = run(["-loglevel", "error", "-i", file_url(self._encoded), *palette], timeout_s=None)
        if code != 0:
            words = last_words(err) or f"ffmpeg ended with code {code}"
            raise FaceanimError(f"cannot write {self.path}: {words}")
        gif_with_comment(untagged, self._whole, self._tags)


class WebpWriter(PictureWriter):
    """Animated WebP, a tenth of the GIF's size; ``crf`` 0 is lossless, 51 is rough."""

    max_fps = Fraction(60)
    first_suffix = ".webp"

    @classmethod
    def check(cls, path: Path, fps: Fraction | None, crf: int | None) -> None:
        """The scale is x264's."""
        super().check(path, fps, crf)
        if crf is not None and not 0 <= crf <= 51:
            raise UsageError(f"--crf {crf}: an animated WebP has 0 (lossless) to 51")

    def first_pass(self) -> Sequence[str]:
        """RGB goes to libwebp as it is: it converts to the YUV that the format means."""
        crf = 18 if self._crf is None else self._crf
        quality = ["-lossless", "1", "-quality", "50"] if crf == 0 else ["-quality", str(100 - crf)]
        return ["-c:v", "libwebp_anim", "-pix_fmt", "bgra", *quality, "-loop", "0"]

    def publish(self, undo: contextlib.ExitStack) -> None:
        """Add the XMP."""
        del undo
        webp_with_xmp(self._encoded, self._whole, self._size, self._tags)
