"""Excerpts, crops, turns and scans of files and of folders of frames: exactly those of the whole."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from faceanim_cli.errors import UsageError
from faceanim_cli.media import open_video
from tests.media.conftest import H264, LOSSLESS, ffmpeg, grey_ramp, tone

MakeClip = Callable[..., Path]


def numbered(count: int, height: int = 40, width: int = 56) -> np.ndarray:
    """Frames of noise, each with its number in the corner's red."""
    frames = np.random.default_rng(1).integers(0, 256, (count, height, width, 3), np.uint8)
    frames[:, :8, :8] = 5 * np.arange(count, dtype=np.uint8)[:, None, None, None]
    return frames


@pytest.fixture(params=["mkv", "avi", "folder"])
def clip(request: Any, make_clip: MakeClip, tmp_path: Path) -> tuple[Path, np.ndarray]:
    frames = numbered(26)
    if request.param != "folder":
        return make_clip(frames, f"clip.{request.param}", codec=LOSSLESS), frames
    (tmp_path / "clip").mkdir()
    for n, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "clip" / f"{n}.png")
    return tmp_path / "clip", frames


@pytest.mark.parametrize(
    ("start", "duration", "first", "stop"),
    [(0.4, None, 10, 26), (0, 0.2, 0, 5), (0.4, 0.2, 10, 15), (0.41, 0.01, 10, 11), (0.8, 9, 20, 26)],
)
def test_an_excerpt(clip: Any, start: float, duration: float | None, first: int, stop: int) -> None:
    path, frames = clip
    with open_video(path, start=start, duration=duration) as video:
        assert video.frame_count_estimate == pytest.approx(stop - first, abs=1)
        np.testing.assert_array_equal(list(video), frames[first:stop])
        taken = list(video.sample(25 / 4))
        assert [index for index, _ in taken] == list(range(0, stop - first, 4))
        np.testing.assert_array_equal([frame for _, frame in taken], frames[first:stop:4])


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_turns_and_crops(clip: Any, turn: int) -> None:
    path, frames = clip
    whole = np.rot90(frames[:3], -turn, axes=(1, 2))
    with open_video(path, duration=0.12, turn=turn) as video:
        assert (video.height, video.width) == whole.shape[1:3]
        np.testing.assert_array_equal(list(video), whole)
        for x, y, width, height in [(0, 0, 9, 5), (3, 17, 31, 8), (whole.shape[2] - 1, 0, 1, whole.shape[1])]:
            part = list(video.frames((x, y, width, height)))
            np.testing.assert_array_equal(part, whole[:, y : y + height, x : x + width])
        with pytest.raises(ValueError, match="leaves the frame"):
            video.frames((30, 0, video.width, 5))


def test_a_scan_is_every_frame_small_and_grey(clip: Any) -> None:
    path, frames = clip
    small = list(open_video(path, turn=1).scan(28))
    assert len(small) == 26
    assert small[0].shape == (28, 20)
    assert small[0].dtype == np.uint8
    luma = (frames @ (0.299, 0.587, 0.114)).reshape(26, 20, 2, 28, 2).mean((2, 4))  # BT.601, halves averaged
    np.testing.assert_allclose(np.stack(small), np.rot90(luma, -1, axes=(1, 2)), atol=6)
    assert next(open_video(path).scan(1000)).shape == (40, 56)


def test_a_start_beyond_the_end_is_told(clip: Any) -> None:
    path, _ = clip
    with pytest.raises(UsageError, match="beyond its end") as caught:
        open_video(path, start=7)
    assert str(path) in str(caught.value)


def test_a_crop_of_subsampled_chroma_is_a_crop_of_the_whole(make_clip: MakeClip) -> None:
    path = make_clip(numbered(3, 66, 98), "a.mp4", codec=(*H264, "-crf", "5"))
    with open_video(path) as video:
        whole = np.stack(list(video))
        for x, y, width, height in [(1, 1, 17, 21), (35, 27, 30, 30), (41, 33, 57, 33)]:
            part = np.stack(list(video.frames((x, y, width, height))))
            np.testing.assert_array_equal(part, whole[:, y : y + height, x : x + width])


@pytest.mark.parametrize("fps", [None, Fraction(30), Fraction(10)])
@pytest.mark.parametrize("sound", [False, True])
def test_seeking_far_into_a_file_gives_the_same_frames(
    make_clip: MakeClip, fps: Fraction | None, sound: bool
) -> None:
    frames = grey_ramp(28).repeat(5, 0)  # 140 frames: nearly 5 s, and far over SEEK_MARGIN
    extra = (*H264, "-bf", "2", "-g", "50", *(("-c:a", "aac", "-shortest") if sound else ()))
    path = make_clip(
        frames, "a.mp4", fps="30000/1001", codec=extra, sound=tone(5) if sound else (), extra=("-crf", "5")
    )
    whole = [round(float(frame.mean())) for frame in open_video(path, fps)]
    with open_video(path, fps, start=3.3, duration=0.8) as video:
        first = round(Fraction(3.3) * video.fps)
        count = round(Fraction(0.8) * video.fps)
        assert [round(float(frame.mean())) for frame in video] == whole[first : first + count]


def test_only_the_crop_is_kept(make_clip: MakeClip, tmp_path: Path) -> None:
    path = tmp_path / "large.mkv"
    ffmpeg("-f", "lavfi", "-i", "color=gray:s=2000x2000:d=0.2", *H264, str(path))
    frame = next(open_video(path).frames((900, 900, 64, 64)))
    assert frame.shape == (64, 64, 3)
    assert frame.base is None  # no view that keeps 12 MB alive
    np.testing.assert_allclose(frame[30, 30], (128, 128, 128), atol=2)
