"""Writes frames to a video file, with the driver's sound."""

import contextlib
import logging
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from faceanim_cli.errors import FaceanimError
from faceanim_cli.media.codecs import MP4_FAMILY, NVENC, Codec, choose_codec
from faceanim_cli.media.ffmpeg import file_url, run
from faceanim_cli.media.frame_pipe import FramePipe, why_ended
from faceanim_cli.media.frame_writer import EncodedWriter
from faceanim_cli.media.metadata import append_xmp_box, container_arguments
from faceanim_cli.media.nvenc_pipe import UNBREAKABLE, UNBREAKABLE_SUFFIX, NvencPipe
from faceanim_cli.media.probe import AudioStream, probe
from faceanim_cli.media.sound import add_sound
from faceanim_cli.media.video_filters import SCALE_FLAGS

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


class VideoWriter(EncodedWriter):
    """A video that grows to even sides where yuv420p needs them, by a repeated last column or row.

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
        audio_start: float = 0.0,
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
            audio_from: a video or sound file; no sound in it is no error.
            audio_start: seconds on its clock at which the first frame is shown.
            codec: a name of ``codecs.py``; None is H.264, or VP9 in .webm.
            crf: the codec's quality, from 0 (lossless); None is about visually lossless.
            encoder: software, which gives the same file on every machine; nvenc; or auto, which is nvenc
                where it is there and works, and software elsewhere.
            metadata: tags; see ``metadata.py`` for the names that every program shows.

        Raises:
            ValueError: ``fps``, ``size`` or a tag's name is impossible.
            UsageError: unknown suffix, codec, quality or encoder, the place cannot be written, or no ffmpeg.
            UnreadableInputError: ``audio_from`` is missing or no media file.
        """
        super().__init__(path, fps, size)
        self._codec = choose_codec(self.path, codec, crf, encoder, size)
        logger.info("%s: encoded by %s", self.path, self._codec.encoder)
        self._even = not self._codec.rgb
        self._codec_name, self._crf = codec, crf
        self._tags = dict(metadata or {})
        self._container = container_arguments(self.path, self._tags)
        hevc = self._codec.encoder in {"libx265", "hevc_nvenc"}
        if hevc and self.path.suffix.lower() in MP4_FAMILY:
            self._container += ["-tag:v", "hvc1"]  # Apple's players refuse the default, hev1
        self._audio_from = None if audio_from is None else Path(audio_from)
        self._audio_start = audio_start
        self._audio: AudioStream | None = None
        if self._audio_from is not None and not self._audio_from.is_dir():  # a folder of frames is silent
            self._audio = probe(self._audio_from, "sound").audio

    def _first_file(self, undo: contextlib.ExitStack) -> Path:
        return self._whole if self._audio is None else self._temporary(undo, self.path.suffix)

    def _arguments(self) -> list[str]:
        return [*self._encoding(self._codec), *self._container]

    def _encoder(self, undo: contextlib.ExitStack) -> FramePipe | NvencPipe:
        if self._codec not in NVENC.values():
            return super()._encoder(undo)
        return NvencPipe(
            self.path,
            self.fps,
            (self.width, self.height),
            ([*self._encoding(self._codec), *UNBREAKABLE], self._temporary(undo, ".nut")),
            (self._software_arguments, self._encoded),
        )

    def _software_arguments(self) -> list[str]:
        return [*self._encoding(choose_codec(self.path, self._codec_name, self._crf)), *self._container]

    def _encoding(self, codec: Codec) -> list[str]:
        """ffmpeg's options for colours and codec."""
        if codec.rgb:
            return ["-pix_fmt", codec.pixels, *codec.arguments(self._crf)]
        return ["-vf", TO_YUV.format(pixels=codec.pixels), *COLOUR_TAGS, *codec.arguments(self._crf)]

    def _complete(self, undo: contextlib.ExitStack) -> None:
        del undo
        self._mux()
        if self._tags and self.path.suffix.lower() in MP4_FAMILY:
            append_xmp_box(self._whole, self._tags)

    def _mux(self) -> None:
        """From what was encoded to the container, with sound."""
        if isinstance(self._pipe, NvencPipe):
            self._encoded = self._pipe.file
        if self._audio is not None and self._audio_from is not None:
            reason = add_sound(
                self._encoded,
                self._audio_from,
                self._audio,
                self._whole,
                frame=1 / self.fps,
                frame_count=self.frame_count,
                container=self._container,
                start=self._audio_start,
            )
            if reason is None:
                return
            # hours of rendering are worth more than the sound
            logger.warning("%s stays silent: the sound of %s: %s", self.path, self._audio_from, reason)
        if self._encoded.suffix == UNBREAKABLE_SUFFIX:
            picture = ["-loglevel", "error", "-y", "-i", file_url(self._encoded), "-c", "copy"]
            code, _, err = run([*picture, *self._container, file_url(self._whole)], timeout_s=None)
            if code != 0:
                raise FaceanimError(f"cannot write {self.path}: {why_ended(code, err)}")
        elif self._encoded != self._whole:
            self._encoded.replace(self._whole)
