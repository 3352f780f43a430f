"""Writers of GIF and animated WebP."""

import contextlib
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media.ffmpeg import file_url, run
from faceanim_cli.media.frame_pipe import FramePipe, read_frames, why_ended
from faceanim_cli.media.frame_writer import EncodedWriter
from faceanim_cli.media.metadata import tag_gif, tag_webp
from faceanim_cli.pictures import Image

CHUNK_BYTES = 24 << 20
"""Frames that are held at once, where a clip is read backwards."""
MOST_PLAYS = 65535


class AnimatedPictureWriter(EncodedWriter):
    """Frames to a file that shows them ``loop`` times, on a coarse clock that is rounded frame by frame.

    Where the format needs all frames twice, they wait on the disk, in a lossless video: memory does not grow
    with the clip.
    """

    max_fps: Fraction
    """Browsers slow down what claims to be faster."""
    suffix: str
    two_passes: bool
    """Whether the format needs to see all frames before it can write one."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction,
        size: tuple[int, int],
        *,
        crf: int | None = None,
        loop: int = 0,
        ping_pong: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Check everything that can be checked before work begins.

        Args:
            path: the file to write.
            fps: exact frames per second.
            size: (width, height) of the frames, pixels.
            crf: the quality where the format has one; None is its own default.
            loop: how often it plays; 0 is for ever.
            ping_pong: show the frames forward and then backward, each end once.
            metadata: tags.

        Raises:
            ValueError: ``fps`` or ``size`` is impossible.
            UsageError: the place cannot be written, or the format cannot do it.
        """
        super().__init__(path, fps, size)
        self.check(self.path, self.fps, crf, loop)
        self._crf, self._loop, self._ping_pong, self._tags = crf, loop, ping_pong, dict(metadata or {})
        self._waiting = self.two_passes or ping_pong
        self._chunk = max(1, CHUNK_BYTES // (3 * self.width * self.height))

    @classmethod
    def check(cls, path: Path, fps: Fraction | None, crf: int | None, loop: int = 0) -> None:
        """Raises UsageError if the format cannot do it."""
        del crf
        if fps is not None and fps > cls.max_fps:
            raise UsageError(
                f"cannot write {path} at {float(fps):g} frames per second: such a file plays at most "
                f"{cls.max_fps}; give --fps {cls.max_fps} or less"
            )
        if not 0 <= loop <= MOST_PLAYS:
            raise UsageError(f"--loop {loop}: it plays 0 (for ever) to {MOST_PLAYS} times")

    def _first_file(self, undo: contextlib.ExitStack) -> Path:
        return self._temporary(undo, ".nut" if self._waiting else self.suffix)

    def _arguments(self) -> Sequence[str]:
        if not self._waiting:
            return self._encoding()
        # Lossless RGB, which x264 at its fastest makes quickly and a third as large as raw. Groups of frames
        # that can be decoded without the others, where the clip is read backwards. NUT's clock is exact.
        groups = ["-g", str(self._chunk), "-keyint_min", str(self._chunk)] if self._ping_pong else []
        return ["-c:v", "libx264rgb", "-preset", "ultrafast", "-qp", "0", *groups, "-f", "nut"]

    def _complete(self, undo: contextlib.ExitStack) -> None:
        """The second pass, and the tags."""
        untagged = self._encoded
        if self._waiting:
            untagged = self._temporary(undo, self.suffix)
            size, arguments = (self.width, self.height), [*self._second_pass(undo), file_url(untagged)]
            with FramePipe(self.path, self.fps, size, arguments, even=False) as pipe:
                for frame in self._shown():
                    pipe.write(frame)
                pipe.finish()
        self._tag(untagged)

    def _shown(self) -> Iterator[Image]:
        """The waiting frames, in the order in which they are shown."""
        yield from self._read(0, self.frame_count)
        if self._ping_pong:
            last = self.frame_count - 1  # seen already, as the first frame will be when it begins anew
            for first in reversed(range(0, last, self._chunk)):
                begin = max(first, 1)
                yield from reversed(list(self._read(begin, min(first + self._chunk, last) - begin)))

    def _read(self, first: int, count: int) -> Iterator[Image]:
        """Frames ``first`` to ``first + count - 1`` of those that wait."""
        # half a frame early, since decimals are rounded
        start = ["-ss", f"{float((first - Fraction(1, 2)) / self.fps):.6f}"] if first else []
        some = [*start, "-i", file_url(self._encoded), "-frames:v", str(count)]
        frames = read_frames(some, self.width, self.height)
        for _ in range(count):
            frame = next(frames, None)
            if frame is None:
                raise FaceanimError(f"cannot write {self.path}: its first pass cannot be read; try again")
            yield frame

    def _second_pass(self, undo: contextlib.ExitStack) -> Sequence[str]:
        """ffmpeg's options when all frames are there, and come once more."""
        del undo
        return self._encoding()

    @abstractmethod
    def _encoding(self) -> Sequence[str]:
        """ffmpeg's output options for the format."""

    @abstractmethod
    def _tag(self, untagged: Path) -> None:
        """From ``untagged`` to ``_whole``, with the tags."""


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
