"""Frames to a video file that every player opens, with the driver's sound, whole or not at all."""

import contextlib
import logging
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from faceanim_cli.media.codecs import MP4_FAMILY, choose_codec
from faceanim_cli.media.ffmpeg import file_url
from faceanim_cli.media.frame_pipe import FramePipe
from faceanim_cli.media.output_file import check_writable, partial_path, whole_file
from faceanim_cli.media.probe import AudioStream, probe
from faceanim_cli.media.signatures import read_head
from faceanim_cli.media.sound import add_sound
from faceanim_cli.media.tags import container_arguments
from faceanim_cli.media.video_reader import SCALE_FLAGS
from faceanim_cli.pictures import Image

logger = logging.getLogger(__name__)

# RGB in [0, 255] to limited-range BT.709, and the tags that say so: without them players guess BT.601 for
# small pictures, and skin turns orange.
TO_YUV = (
    f"scale=out_color_matrix=bt709:out_range=tv:flags={SCALE_FLAGS},format={{pixels}},"
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
)
COLOUR_TAGS = [
    *("-colorspace", "bt709"),
    *("-color_primaries", "bt709"),
    *("-color_trc", "bt709"),
    *("-color_range", "tv"),
]


class VideoWriter:
    """A context manager that encodes frames as they come.

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
        codec: str | None = None,
        crf: int | None = None,
        encoder: str = "software",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Check everything that can be checked before work begins.

        Args:
            path: .mp4, .m4v, .mov, .mkv or .webm.
            fps: exact frames per second.
            size: (width, height) of the frames, pixels.
            audio_from: a video or sound file; no sound in it is no error. Its clock starts with the first
                frame written.
            codec: a name of ``codecs.py``; None is H.264, or VP9 in .webm.
            crf: the codec's quality, from 0 (lossless); None is about visually lossless.
            encoder: software, which gives the same file on every machine; nvenc; or auto, which is nvenc
                where it is there and works, and software elsewhere.
            metadata: tags; see ``tags.py`` for the names that every program shows.

        Raises:
            ValueError: ``fps``, ``size`` or a tag's name is impossible.
            UsageError: unknown suffix, codec, quality or encoder, the place cannot be written, or no ffmpeg.
            UnreadableInputError: ``audio_from`` is missing or no media file.
        """
        self.path = Path(path)
        self.fps = Fraction(fps)
        self.width, self.height = size
        if self.fps <= 0 or self.width < 1 or self.height < 1:
            raise ValueError(f"impossible video: {size} at {fps} frames per second")
        self._codec = choose_codec(self.path, codec, crf, encoder, (self.width, self.height))
        logger.info("%s: encoded by %s", self.path, self._codec.encoder)
        check_writable(self.path)
        self._crf = crf
        self._tags = container_arguments(self.path, metadata or {})
        self._audio_from = None if audio_from is None else Path(audio_from)
        self._audio: AudioStream | None = None
        if self._audio_from is not None and not self._audio_from.is_dir():  # a folder of frames is silent
            read_head(self._audio_from, "sound")
            self._audio = probe(self._audio_from).audio
        self._undo = contextlib.ExitStack()
        self._pipe: FramePipe | None = None
        self._whole = self._encoded = self.path

    @property
    def frame_count(self) -> int:
        """Frames written so far."""
        return 0 if self._pipe is None else self._pipe.frame_count

    def __enter__(self) -> "VideoWriter":
        """Start ffmpeg."""
        with contextlib.ExitStack() as undo:
            self._whole = self._encoded = undo.enter_context(whole_file(self.path))
            if self._audio is not None:
                self._encoded = partial_path(self.path.resolve())
                undo.callback(self._encoded.unlink, missing_ok=True)
            pipe = FramePipe(
                self.path,
                self.fps,
                (self.width, self.height),
                self._arguments(),
                even=not self._codec.rgb,
            )
            self._pipe = undo.enter_context(pipe)
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
        # the stack undoes in this order: stop ffmpeg, drop stderr and the silent file, rename or remove
        if error is not None:
            self._undo.__exit__(kind, error, trace)
            return
        with self._undo:
            self._finish()

    def _finish(self) -> None:
        assert self._pipe is not None
        self._pipe.finish()
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

    def _arguments(self) -> list[str]:
        """ffmpeg's output options."""
        if self._codec.rgb:
            colours = ["-pix_fmt", self._codec.pixels]
        else:
            colours = ["-vf", TO_YUV.format(pixels=self._codec.pixels), *COLOUR_TAGS]
        hevc = self._codec.encoder in {"libx265", "hevc_nvenc"} and self.path.suffix.lower() in MP4_FAMILY
        return [
            *colours,
            *self._codec.arguments(self._crf),
            *(("-tag:v", "hvc1") if hevc else ()),  # Apple's players refuse the default, hev1
            *self._tags,
            file_url(self._encoded),
        ]
