"""GIFs and animated WebPs: every frame for as long as it lasts, there and back, as often as asked."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from faceanim_cli.media import Encoding
from tests.media.conftest import RATE, TAGS, colourful, count_up, number_of, write


@pytest.mark.parametrize("name", ["o.gif", "o.webp"])
@pytest.mark.parametrize(("count", "fps"), [(1, RATE), (5, RATE), (31, Fraction(30000, 1001))])
def test_moving_pictures_hold_every_frame_and_last_as_long(
    tmp_path: Path, name: str, count: int, fps: Fraction
) -> None:
    frames = colourful(count, 51, 111)  # odd sizes stay as they are
    path = write(tmp_path / name, frames, fps, metadata=TAGS)
    with Image.open(path) as picture:
        if count > 1:
            assert picture.info["loop"] == 0  # for ever
        shown = [
            (np.array(f.convert("RGB")), f.info.get("duration", 0)) for f in ImageSequence.Iterator(picture)
        ]
    assert len(shown) == count
    decoded = np.array([pixels for pixels, _ in shown])
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 6
    if count > 1:
        assert sum(milliseconds for _, milliseconds in shown) == pytest.approx(1000 * count / fps, abs=11)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["o.gif", "o.webp"])
@pytest.mark.parametrize(("count", "fps"), [(1, RATE), (2, RATE), (5, RATE), (100, Fraction("12.34"))])
def test_ping_pong_comes_back_without_a_stop_at_the_ends(
    tmp_path: Path, name: str, count: int, fps: Fraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = 3 if count < 10 else 40  # frames at once
    monkeypatch.setattr("faceanim_cli.media.animated_pictures.CHUNK_BYTES", few * 35 * 51 * 3)
    path = write(tmp_path / name, count_up(count), fps, encoding=Encoding(ping_pong=True), metadata=TAGS)
    with Image.open(path) as picture:
        pages = [
            (number_of(np.array(page.convert("RGB"))), page.info.get("duration", 0))
            for page in ImageSequence.Iterator(picture)
        ]
    assert [number for number, _ in pages] == [*range(count), *range(count - 2, 0, -1)]
    if count > 1:
        assert sum(duration for _, duration in pages) == pytest.approx(1000 * len(pages) / fps, abs=11)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("plays", "gif", "webp"), [(0, 0, 0), (1, None, 1), (3, 2, 3), (65535, 65534, 65535)]
)
def test_how_often_it_plays(tmp_path: Path, plays: int, gif: int | None, webp: int) -> None:
    """A GIF counts the repetitions after the first time (none at all for once), a WebP the times."""
    for name, expected in (("o.gif", gif), ("o.webp", webp)):
        with Image.open(write(tmp_path / name, colourful(2), encoding=Encoding(loop=plays))) as picture:
            assert picture.info.get("loop") == expected


@pytest.mark.skipif(sys.platform == "win32", reason="counts memory as POSIX does")
def test_a_long_gif_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    script = """
import resource, sys
from fractions import Fraction
import numpy as np
from faceanim_cli.media import Encoding, open_output
with open_output(sys.argv[1], Fraction(25), (512, 512), encoding=Encoding(ping_pong=True)) as writer:
    for i in range(int(sys.argv[2])):
        writer.write(np.full((512, 512, 3), i, np.uint8))
print(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""
    short, long = (
        int(subprocess.check_output([sys.executable, "-c", script, tmp_path / "o.gif", str(count)]))
        for count in (40, 120)
    )
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, kilobytes
    assert (long - short) * unit < 20e6  # eighty frames are 63 MB


def test_what_stands_still_in_a_gif_does_not_flicker(tmp_path: Path) -> None:
    with Image.open(write(tmp_path / "o.gif", colourful(8))) as picture:
        shown = np.array([np.array(f.convert("RGB")) for f in ImageSequence.Iterator(picture)])
    assert not np.ptp(shown[:, 40:].astype(int), axis=0).any()
