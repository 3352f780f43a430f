"""Whether this machine's GPU encodes: found by trying, since driver, card and ffmpeg all have a say."""

from functools import lru_cache

from faceanim_cli.media.ffmpeg import last_words, run

TRIAL_FRAMES = 3


def cuda_is_there() -> bool:
    """Whether torch sees a CUDA device. Whoever animates has loaded torch already."""
    import torch  # noqa: PLC0415

    return torch.cuda.is_available()


@lru_cache(maxsize=32)
def trial_fault(ffmpeg: str, arguments: tuple[str, ...], pixels: str, size: tuple[int, int]) -> str | None:
    """What keeps ffmpeg from encoding so, in its own words; None if it does.

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
