from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media import open_video, write_photo


def fill(folder: Path, count: int) -> None:
    folder.mkdir()
    for n in range(count):
        write_photo(folder / f"frame{n}.png", np.full((3, 5, 3), n, np.uint8))


def test_frames_come_in_natural_order(tmp_path: Path) -> None:
    fill(tmp_path / "clip", 12)
    (tmp_path / "clip" / "notes.txt").write_text("no frame")
    (tmp_path / "clip" / "._frame0.png").write_bytes(b"macOS leaves these")
    with open_video(tmp_path / "clip") as clip:
        assert (clip.width, clip.height, clip.fps, clip.has_audio) == (5, 3, 25, False)
        assert clip.frame_count_estimate == 12
        assert [int(frame[0, 0, 0]) for frame in clip] == list(range(12))
        assert [(n, int(frame[0, 0, 0])) for n, frame in clip.sample(5)] == [(0, 0), (5, 5), (10, 10)]


def test_the_rate_is_the_callers(tmp_path: Path) -> None:
    fill(tmp_path / "clip", 3)
    clip = open_video(tmp_path / "clip", fps=Fraction(30000, 1001))
    assert clip.fps == Fraction(30000, 1001)
    assert clip.duration == pytest.approx(0.1001)


def test_bad_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableInputError, match="holds no"):
        open_video(tmp_path / "empty")
    fill(tmp_path / "clip", 2)
    write_photo(tmp_path / "clip" / "frame2.png", np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(UnreadableInputError, match="5x4 instead of 5x3"):
        list(open_video(tmp_path / "clip"))
