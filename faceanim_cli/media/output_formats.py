"""Chooses the writer of a result by its name: video, GIF, animated WebP, folder of PNGs."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.media.animated_pictures import GifWriter, WebpWriter
from faceanim_cli.media.codecs import CONTAINERS, check_encoder, choose_codec
from faceanim_cli.media.frame_folder import FrameFolderWriter
from faceanim_cli.media.frame_writer import FrameWriter
from faceanim_cli.media.output_checks import check_writable
from faceanim_cli.media.probe import probe
from faceanim_cli.media.video_writer import VideoWriter

ANIMATED_PICTURES: dict[str, type[GifWriter | WebpWriter]] = {".gif": GifWriter, ".webp": WebpWriter}

EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,5}")  # other ends of a name, such as ". ", are no format


@dataclass(frozen=True)
class Encoding:
    """How frames become a file. None leaves it to the format."""

    codec: str | None = None
    """A name of ``codecs.py``: h264, hevc, vp9, av1, prores, ffv1."""
    crf: int | None = None
    """Quality in the codec's own scale, 0 (lossless) to 51 or 63."""
    encoder: str = "auto"
    """auto, software or nvenc; auto is an NVIDIA GPU's where it is there and works."""
    loop: int = 0
    """How often a GIF or WebP plays; 0 is for ever."""
    ping_pong: bool = False
    """A GIF or WebP shows the frames forward and then backward."""


def open_output(
    path: str | os.PathLike[str],
    fps: Fraction,
    size: tuple[int, int],
    *,
    audio_from: str | os.PathLike[str] | None = None,
    audio_start: float = 0.0,
    encoding: Encoding | None = None,
    metadata: Mapping[str, str] | None = None,
) -> FrameWriter:
    """A writer for ``path``: .mp4, .m4v, .mov, .mkv, .webm, .gif, .webp, or a folder (no suffix).

    Args:
        path: file or folder. Whatever is there is replaced when the new one is whole; a folder only if it
            holds nothing but numbered frames.
        fps: exact frames per second.
        size: (width, height) of the frames, pixels.
        audio_from: where the sound is taken from; videos only, the others stay silent.
        audio_start: seconds of that sound which are skipped.
        encoding: codec and quality; None is the format's own.
        metadata: tags, kept in every format.

    Raises:
        UsageError: the name, codec, quality or rate does not go together, or the place cannot be written.
        UnreadableInputError: ``audio_from`` is missing or no media file.
    """
    path, encoding = Path(path), encoding or Encoding()
    check_output(path, encoding, fps)
    if path.suffix.lower() in CONTAINERS:
        return VideoWriter(
            path,
            fps,
            size,
            audio_from=audio_from,
            audio_start=audio_start,
            codec=encoding.codec,
            crf=encoding.crf,
            encoder=encoding.encoder,
            metadata=metadata,
        )
    if path.suffix.lower() in ANIMATED_PICTURES:
        return ANIMATED_PICTURES[path.suffix.lower()](
            path,
            fps,
            size,
            crf=encoding.crf,
            loop=encoding.loop,
            ping_pong=encoding.ping_pong,
            metadata=metadata,
        )
    return FrameFolderWriter(path, fps, size, metadata=metadata)


def check_output(
    path: str | os.PathLike[str],
    encoding: Encoding | None = None,
    fps: Fraction | None = None,
    sound: str | os.PathLike[str] | None = None,
) -> None:
    """All that can be said before any input is read; ``fps`` and ``sound`` where they were asked for.

    Raises:
        UsageError: as ``open_output``, or sound for what is silent.
        UnreadableInputError: there is no sound in ``sound``.
    """
    path, encoding = Path(path), encoding or Encoding()
    suffix = path.suffix.lower()
    if suffix not in ANIMATED_PICTURES and (encoding.loop or encoding.ping_pong):
        option = f"--loop {encoding.loop}" if encoding.loop else "--ping-pong"
        raise UsageError(f"{option}: {path} does not play by itself; write .gif or .webp")
    if suffix in CONTAINERS:
        choose_codec(path, encoding.codec, encoding.crf, encoding.encoder)
        check_writable(path)
    else:
        kind = _silent_kind(path)
        check_encoder(encoding.encoder)
        if encoding.encoder == "nvenc":
            raise UsageError(f"--encoder nvenc: {kind} is no video; leave it out, or write .mp4 or .mkv")
        if encoding.codec is not None:
            raise UsageError(f"--codec {encoding.codec}: {kind} has none to choose; write .mp4 or .mkv")
        if sound is not None:
            raise UsageError(f"--audio {sound}: {kind} is silent; write .mp4, .mov, .mkv or .webm")
        if suffix in ANIMATED_PICTURES:
            ANIMATED_PICTURES[suffix].check(path, fps, encoding.crf, encoding.loop)
            check_writable(path)
        else:
            if encoding.crf is not None:
                raise UsageError(f"--crf {encoding.crf}: {kind} is lossless; leave it out")
            FrameFolderWriter.check(path)
    if sound is not None:
        _check_sound(Path(sound))


def playable_rate(path: str | os.PathLike[str], fps: Fraction) -> Fraction:
    """The rate to write ``path`` at: ``fps``, or a whole fraction of it where the format plays no faster."""
    writer = ANIMATED_PICTURES.get(Path(path).suffix.lower())
    return fps if writer is None else fps / max(1, math.ceil(fps / writer.max_fps))


def _silent_kind(path: Path) -> str:
    """What ``path`` is, for messages."""
    if path.suffix.lower() in ANIMATED_PICTURES:
        return f"a {path.suffix} file"
    if EXTENSION.fullmatch(path.suffix.strip()) and not path.is_dir():
        raise UsageError(
            f"cannot write {path}: name it .mp4, .mov, .mkv, .webm, .gif or .webp, or give a folder's name "
            "(no dot) for PNGs"
        )
    return "a folder of PNGs"


def _check_sound(path: Path) -> None:
    if probe(path, "sound").audio is None:
        raise UnreadableInputError(f"cannot take the sound of {path}: there is none in it; name another file")
