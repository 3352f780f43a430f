"""Which sound comes under a result: no channel of many is lost, of several tracks the default is taken."""

from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.media import VideoWriter
from tests.media.conftest import ffmpeg, grey_ramp, samples

PICTURE = ("-f", "lavfi", "-i", "color=red:s=32x32:d=0.5")


def hertz_under(source: Path, output: Path) -> float:
    """The loudest tone of the sound that ``source`` gives a result, and that it is heard at all."""
    with VideoWriter(output, 25, (16, 16), audio_from=source) as writer:
        for frame in grey_ramp(12, 16, 16):
            writer.write(frame)
    heard = samples(output)[2400:21600].astype(float)  # 0.4 s from 0.05 s on
    assert np.abs(heard).max() > 300
    return float(np.argmax(np.abs(np.fft.rfft(heard)))) / 0.4


@pytest.mark.parametrize(
    ("flags", "hertz"), [(("0", "default"), 300), (("0", "0"), 1000), (("default", "0"), 1000)]
)
def test_the_default_track_is_taken(tmp_path: Path, flags: tuple[str, str], hertz: int) -> None:
    tracks = ("-f", "lavfi", "-i", "sine=1000:d=0.5", "-f", "lavfi", "-i", "sine=300:d=0.5")
    maps = ("-map", "0", "-map", "1", "-map", "2", "-c:a", "aac")
    dispositions = ("-disposition:a:0", flags[0], "-disposition:a:1", flags[1])
    ffmpeg(*PICTURE, *tracks, *maps, *dispositions, str(tmp_path / "a.mkv"))
    assert hertz_under(tmp_path / "a.mkv", tmp_path / "out.mp4") == pytest.approx(hertz, abs=5)


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
@pytest.mark.parametrize(("count", "sounding"), [(16, 0), (16, 15), (10, 3), (24, 20), (6, 2), (8, 7)])
def test_many_channels_are_mixed_down_and_none_is_lost(
    tmp_path: Path, suffix: str, count: int, sounding: int
) -> None:
    channels = "|".join("0.9*sin(2*PI*400*t)" if n == sounding else "0" for n in range(count))
    source = tmp_path / "many.wav"
    ffmpeg("-f", "lavfi", "-i", f"aevalsrc='{channels}':d=0.6", "-c:a", "pcm_s16le", str(source))
    assert hertz_under(source, tmp_path / f"out.{suffix}") == pytest.approx(400, abs=5)
