"""Video codecs: their ffmpeg arguments, and the containers that take them."""

import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from faceanim_cli.errors import UsageError
from faceanim_cli.media.ffmpeg import find_ffmpeg, last_words, run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Codec:
    """How ffmpeg is asked for one codec."""

    encoder: str
    crf: int | None = None
    """The default quality, about visually lossless in each codec's own scale; None where there is none."""
    worst_crf: int = 51
    pixels: str = "yuv420p"
    options: tuple[str, ...] = ()
    lossless: tuple[str, ...] = ()
    """Options that make crf 0 lossless, where the number alone does not."""
    scale: tuple[str, ...] = ("-crf",)
    """What the quality's number follows."""
    rgb: bool = False
    """Keeps RGB as it is; the others get limited-range BT.709."""

    def arguments(self, crf: int | None) -> list[str]:
        """ffmpeg's output options; ``crf`` None is the default."""
        quality = self.crf if crf is None else crf
        arguments = ["-c:v", self.encoder, *self.options]
        if quality == 0 and self.lossless:
            return [*arguments, *self.lossless]
        return arguments if quality is None else [*arguments, *self.scale, str(quality)]


CODECS = {
    # veryfast takes two fifths of the time of medium, x264's default; at crf 17 it gives as many bytes
    "h264": Codec("libx264", 17, options=("-preset", "veryfast")),
    "hevc": Codec(
        "libx265",
        20,
        options=("-x265-params", "log-level=error"),
        lossless=("-x265-params", "log-level=error:lossless=1"),
    ),
    # -b:v 0 makes crf a quality and not a cap; at these speeds encoding keeps up with the networks
    "vp9": Codec(
        "libvpx-vp9",
        24,
        worst_crf=63,
        options=("-b:v", "0", "-row-mt", "1", "-cpu-used", "4"),
        lossless=("-lossless", "1"),
    ),
    "av1": Codec(
        "libsvtav1", 24, worst_crf=63, options=("-preset", "8"), lossless=("-svtav1-params", "lossless=1")
    ),
    "prores": Codec("prores_ks", pixels="yuv422p10le", options=("-profile:v", "hq", "-vendor", "apl0")),
    "ffv1": Codec("ffv1", pixels="bgr0", rgb=True),  # lossless
}
# The same codecs made by an NVIDIA GPU. -cq is their crf, on the same scale; -b:v 0 keeps ffmpeg's default of
# 2 Mbit/s from capping it. Not AV1: its -cq is not SVT-AV1's crf, and few cards have it.
_CQ = ("-rc", "vbr", "-b:v", "0", "-cq")
NVENC = {
    "h264": Codec("h264_nvenc", 18, options=("-preset", "p5"), lossless=("-tune", "lossless"), scale=_CQ),
    "hevc": Codec("hevc_nvenc", 20, options=("-preset", "p5"), lossless=("-tune", "lossless"), scale=_CQ),
}
ENCODERS = ("auto", "software", "nvenc")
TRIAL_SIZE = (256, 256)  # where the video's own is not known yet
TRIAL_FRAMES = 3

ALIASES = {"h265": "hevc", "x264": "h264", "x265": "hevc", "avc": "h264"}

# By suffix, the codecs that players of such files understand; the first is the default.
CONTAINERS = {
    ".mp4": ("h264", "hevc", "av1", "vp9"),
    ".m4v": ("h264", "hevc"),
    ".mov": ("h264", "hevc", "prores"),
    ".mkv": ("h264", "hevc", "av1", "vp9", "prores", "ffv1"),
    ".webm": ("vp9", "av1"),
}
# ffmpeg's names of them: guessed from a file's name, "100%d.mp4" would be a numbered series of pictures.
MUXERS = {".mp4": "mp4", ".m4v": "ipod", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
MP4_FAMILY = frozenset({".mp4", ".m4v", ".mov"})


def check_encoder(name: str) -> None:
    """Refuse an ``--encoder`` that does not exist.

    Raises:
        UsageError: it is none of ``ENCODERS``.
    """
    if name not in ENCODERS:
        raise UsageError(f"--encoder {name}: unknown; use {', '.join(ENCODERS)}")


def choose_codec(
    path: Path,
    name: str | None = None,
    crf: int | None = None,
    encoder: str = "software",
    size: tuple[int, int] | None = None,
) -> Codec:
    """The codec called ``name`` for the file ``path``; None is the default of its container.

    Args:
        path: the video's name.
        name: h264, hevc, vp9, av1, prores or ffv1.
        crf: quality, from 0 (lossless).
        encoder: software; nvenc, an NVIDIA GPU's; or auto, which is nvenc where that is there and works.
        size: (width, height) of the video, pixels; None where it is not known yet, and auto not decided.

    Raises:
        UsageError: an unknown codec, container or encoder, those that do not go together, a ``crf`` beyond
            the codec's range, or an ffmpeg or a GPU that lacks the encoder; the line names what there is.
    """
    check_encoder(encoder)
    taken = CONTAINERS.get(path.suffix.lower())
    if taken is None:
        raise UsageError(f"cannot write {path}: name it {', '.join(CONTAINERS)}")
    asked = taken[0] if name is None else ALIASES.get(name.lower(), name.lower())
    if asked not in CODECS:
        raise UsageError(f"--codec {name}: unknown; a {path.suffix} file takes {', '.join(taken)}")
    if asked not in taken:
        holders = ", ".join(suffix for suffix, codecs in CONTAINERS.items() if asked in codecs)
        raise UsageError(
            f"--codec {name}: a {path.suffix} file takes {', '.join(taken)}; {name} goes into {holders}"
        )
    codec = CODECS[asked]
    if crf is not None and codec.crf is None:
        raise UsageError(f"--crf {crf}: {asked} has no such quality; leave it out")
    if crf is not None and not 0 <= crf <= codec.worst_crf:
        raise UsageError(f"--crf {crf}: {asked} has 0 (lossless) to {codec.worst_crf}")
    if encoder == "nvenc":
        fault = _nvenc_fault(asked, crf, size or TRIAL_SIZE)
        if fault is not None:
            raise UsageError(f"--encoder nvenc: {fault}; leave it out for the software encoder")
        return NVENC[asked]
    if encoder == "auto" and size is not None and asked in NVENC and _cuda_is_there():
        fault = _nvenc_fault(asked, crf, size)
        if fault is None:
            return NVENC[asked]
        logger.info("no NVENC: %s", fault)
    if codec.encoder not in encoders(find_ffmpeg()):
        there = [other for other in taken if CODECS[other].encoder in encoders(find_ffmpeg())]
        raise UsageError(
            f"this ffmpeg has no {codec.encoder} and cannot write {asked}; "
            + (f"use --codec {', '.join(there)}, or " if there else "")
            + "pip install imageio-ffmpeg and unset IMAGEIO_FFMPEG_EXE"
        )
    return codec


def _nvenc_fault(codec: str, crf: int | None, size: tuple[int, int]) -> str | None:
    """Why NVENC cannot encode so; None if it can."""
    if codec not in NVENC:
        return f"it writes {' and '.join(NVENC)}, not {codec}"
    ffmpeg, fast = find_ffmpeg(), NVENC[codec]
    if fast.encoder not in encoders(ffmpeg):
        return f"this ffmpeg has no {fast.encoder}"
    fault = _trial_fault(ffmpeg, tuple(fast.arguments(crf)), fast.pixels, size)
    return None if fault is None else f"{fast.encoder} does not work here ({fault})"


def _cuda_is_there() -> bool:
    """Whether torch sees a CUDA device. Whoever animates has loaded torch already."""
    import torch  # noqa: PLC0415

    return torch.cuda.is_available()


@lru_cache(maxsize=32)
def _trial_fault(ffmpeg: str, arguments: tuple[str, ...], pixels: str, size: tuple[int, int]) -> str | None:
    """What keeps ffmpeg from encoding so, in its own words; None if it does.

    Found by trying, since driver, card and ffmpeg all have a say.

    Args:
        ffmpeg: path of the ffmpeg that is in use.
        arguments: the encoder and its options, those of the video itself: not every card has a lossless mode.
        pixels: ffmpeg's name of the pixel format.
        size: (width, height), pixels: NVENC has a least and a largest one, which differ from card to card.
    """
    del ffmpeg  # the key of the cache: run() finds the same one
    width, height = (side + side % 2 for side in size)  # as FramePipe pads
    picture = ["-f", "lavfi", "-i", f"color=gray:size={width}x{height}:rate=25"]
    encoding = ["-frames:v", str(TRIAL_FRAMES), "-pix_fmt", pixels, *arguments]
    code, _, err = run(["-loglevel", "error", *picture, *encoding, "-f", "null", "-"])
    if code == 0:
        return None
    return last_words(err, 100).split("; ")[0] or f"ffmpeg ended with {code}"  # the first line is the cause


@lru_cache(maxsize=4)
def encoders(ffmpeg: str) -> frozenset[str]:
    """Names of all video and sound encoders of the ffmpeg at that path."""
    del ffmpeg  # the key of the cache: run() finds the same one
    _, out, _ = run(["-encoders"])
    return frozenset(re.findall(r"^ [VAS][A-Z.]{5} (\S+)", out, re.MULTILINE))
