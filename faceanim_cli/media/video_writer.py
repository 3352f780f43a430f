"""Frames to a video file that every player opens, with the driver's sound, whole or not at all."""

import contextlib
import logging
import os
import subprocess
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import numpy.typing as npt

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media.ffmpeg import file_url, find_ffmpeg, last_words, spawn, stop
from faceanim_cli.media.input_file import read_head
from faceanim_cli.media.output_file import check_writable, partial_path, whole_file
from faceanim_cli.media.probe import AudioStream, probe
from faceanim_cli.media.sound import add_sound
from faceanim_cli.media.tags import container_arguments
from faceanim_cli.media.video_reader import SCALE_FLAGS

Frame = npt.NDArray[np.uint8]  # (H, W, 3) RGB

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv"})  # containers that take H.264 with AAC

# RGB in [0, 255] to limited-range BT.709, and the tags that say so: without them players guess BT.601 for
# small pictures, and skin turns orange.
TO_YUV = (
    f"scale=out_color_matrix=bt709:out_range=tv:flags={SCALE_FLAGS},format=yuv420p,"
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
)
COLOUR_TAGS = [
    *("-colorspace", "bt709"),
    *("-color_primaries", "bt709"),
    *("-color_trc", "bt709"),
    *("-color_range", "tv"),
]


class VideoWriter:
    """A context manager that encodes frames to H.264 as they come.

    Frames go to a temporary file beside ``path``; it is renamed at the end of the block if nothing was raised
    and ffmpeg is content, and removed otherwise. Odd widths and heights, which yuv420p cannot hold, grow by
    one pixel that repeats the last column or row, so nothing of the picture is lost.

    Sound is added in a second, quick pass, when the number of frames and so the exact length is known: sound
    that is longer is cut there, sound that is shorter leaves the picture as long as it is. See ``sound.py``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction,
        size: tuple[int, int],
        *,
        audio_from: str | os.PathLike[str] | None = None,
        crf: int = 18,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Check everything that can be checked before work begins.

        Args:
            path: .mp4, .m4v, .mov or .mkv.
            fps: exact frames per second.
            size: (width, height) of the frames, pixels.
            audio_from: a video or sound file; no sound in it is no error. Its clock starts with the first
                frame written.
            crf: x264's quality, 0 (lossless) to 51; 18 is visually lossless.
            metadata: tags; see ``tags.py`` for the names that every program shows.

        Raises:
            ValueError: ``fps``, ``size``, ``crf`` or a tag's name is impossible.
            UsageError: unknown suffix, the place cannot be written, or no ffmpeg.
            UnreadableInputError: ``audio_from`` is missing or no media file.
        """
        self.path = Path(path)
        self.fps = Fraction(fps)
        self.width, self.height = size
        if self.fps <= 0 or self.width < 1 or self.height < 1 or not 0 <= crf <= 51:
            raise ValueError(f"impossible video: {size} at {fps} frames per second, crf {crf}")
        if self.path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"cannot write {path}: name it .mp4, .mov or .mkv")
        find_ffmpeg()
        check_writable(self.path)
        self._crf = crf
        self._tags = container_arguments(self.path, metadata or {})
        self._audio_from = None if audio_from is None else Path(audio_from)
        self._audio: AudioStream | None = None
        if self._audio_from is not None and not self._audio_from.is_dir():  # a folder of frames is silent
            read_head(self._audio_from, "sound")
            self._audio = probe(self._audio_from).audio
        self.frame_count = 0
        self._undo = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._whole = self._encoded = self.path

    def __enter__(self) -> "VideoWriter":
        """Start ffmpeg."""
        with contextlib.ExitStack() as undo:
            self._whole = self._encoded = undo.enter_context(whole_file(self.path))
            if self._audio is not None:
                self._encoded = partial_path(self.path.resolve())
                undo.callback(self._encoded.unlink, missing_ok=True)
            # a file, not a pipe: complaints can never fill it up and stall ffmpeg
            self._stderr = undo.enter_context(tempfile.TemporaryFile())
            self._process = spawn(self._arguments(), stdin=subprocess.PIPE, stderr=self._stderr)
            undo.callback(stop, self._process)
            self._undo = undo.pop_all()
        return self

    def write(self, frame: Frame) -> None:
        """Encode one frame: uint8 RGB (H, W, 3) in [0, 255], of the size that was announced.

        Raises:
            ValueError: another shape or type.
            FaceanimError: ffmpeg died (disk full, no libx264); the line has its own words.
        """
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"a frame is uint8 {(self.height, self.width, 3)}, not {frame.dtype} {frame.shape}"
            )
        if self._process is None or self._process.stdin is None:
            raise ValueError("write() belongs inside the with block")
        if self.width % 2 or self.height % 2:
            frame = np.pad(frame, ((0, self.height % 2), (0, self.width % 2), (0, 0)), mode="edge")
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data.cast("B"))
        except OSError as error:
            raise self._failure() from error
        self.frame_count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or leave nothing behind.

        Raises:
            FaceanimError: ffmpeg failed, or no frame was written.
        """
        # the stack undoes in this order: stop ffmpeg, drop stderr and the silent file, rename or remove
        if error is not None:
            self._undo.__exit__(kind, error, trace)
            return
        with self._undo:
            self._finish()

    def _finish(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        if self.frame_count == 0:
            raise FaceanimError(f"cannot write {self.path}: there was no frame to write")
        try:
            self._process.stdin.close()
        except OSError as error:
            raise self._failure() from error
        if self._process.wait() != 0:
            raise self._failure()
        if self._audio is not None and self._audio_from is not None:
            reason = add_sound(
                self._encoded,
                self._audio_from,
                self._audio,
                self._whole,
                frame=1 / self.fps,
                frame_count=self.frame_count,
                container=self._tags,
            )
            if reason is not None:  # hours of rendering are worth more than the sound
                logger.warning("%s stays silent: the sound of %s: %s", self.path, self._audio_from, reason)
                self._encoded.replace(self._whole)

    def _failure(self) -> FaceanimError:
        """What killed ffmpeg, in its own words."""
        assert self._process is not None
        assert self._stderr is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)  # a broken pipe comes before the reason is written down
        stop(self._process)
        words = last_words(self._stderr, lines=3) or f"ffmpeg ended with code {self._process.returncode}"
        return FaceanimError(f"cannot write {self.path}: {words}")

    def _arguments(self) -> list[str]:
        return [
            *("-loglevel", "error"),
            *("-f", "rawvideo"),
            *("-pix_fmt", "rgb24"),
            *("-video_size", f"{self.width + self.width % 2}x{self.height + self.height % 2}"),
            *("-framerate", str(self.fps)),
            *("-i", "pipe:0"),
            *("-vf", TO_YUV),
            *("-c:v", "libx264"),
            *("-crf", str(self._crf)),
            *COLOUR_TAGS,
            *self._tags,
            file_url(self._encoded),
        ]
