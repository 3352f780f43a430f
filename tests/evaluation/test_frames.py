"""Frames as they are scored: steps, sizes, framing, and landmarks that stay on the face."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from faceanim_cli.data.data_folder import ClipFile
from faceanim_cli.errors import NoFaceError, UnreadableInputError
from faceanim_cli.evaluation.file_pairs import FilePair
from faceanim_cli.evaluation.frames import ArrayClip, FramedClip, open_clip, resized

Folder = Callable[..., Path]


def clip(path: Path, landmarks: Path | None = None) -> ClipFile:
    return ClipFile(path.stem, path, path.stem, landmarks)


@pytest.mark.parametrize(("every", "indices"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (10, [0])])
def test_every_nth_frame(
    frame_folder: Folder, noise: Callable[..., np.ndarray], every: int, indices: list[int]
) -> None:
    frames = noise(5)
    got = list(FramedClip(clip(frame_folder("c", frames)), 48, "none").frames(every))
    assert [int(frame.label) for frame in got] == indices
    assert all(np.array_equal(frame.image, frames[int(frame.label)]) for frame in got)


def test_every_nth_frame_of_a_video(video: Callable[..., Path]) -> None:
    frames = np.stack([np.full((32, 32, 3), 20 * i, np.uint8) for i in range(12)])
    got = list(FramedClip(clip(video("v.mp4", frames)), 32, "none").frames(5))
    assert [(int(frame.label), round(int(frame.image[0, 0, 0]) / 20)) for frame in got] == [
        (0, 0),
        (5, 5),
        (10, 10),
    ]


def test_whole_frames_and_their_landmarks_are_resized_alike(tmp_path: Path, frame_folder: Folder) -> None:
    frame = np.zeros((40, 80, 3), np.uint8)
    frame[20:22, 40:44] = 255
    points = np.full((1, 68, 2), np.nan)
    points[0, 30] = (41.5, 20.5)  # the middle of the white spot
    np.save(tmp_path / "points.npy", points)
    (got,) = FramedClip(clip(frame_folder("c", frame[None]), tmp_path / "points.npy"), 20, "none").frames()
    y, x = np.argwhere(got.image[..., 0] > 0).mean(0)
    assert got.landmarks is not None
    assert got.landmarks[30] == pytest.approx((x, y))
    assert np.isnan(got.landmarks[0]).all()


def test_the_face_is_framed_and_landmarks_follow(
    tmp_path: Path, frame_folder: Folder, astronaut: np.ndarray
) -> None:
    marked = astronaut.copy()
    marked[100:104, 214:218] = (0, 255, 0)
    points = np.full((1, 68, 2), (215.5, 101.5))
    points[0, 1:] += np.random.default_rng(0).uniform(-40, 40, (67, 2))  # all in one place are no face
    np.save(tmp_path / "points.npy", points)
    framed = FramedClip(clip(frame_folder("c", marked[None]), tmp_path / "points.npy"), 128)
    (got,) = framed.frames()
    assert framed.box is not None
    assert framed.box.w < 300
    green = (got.image[..., 1].astype(int) - got.image[..., 0]).clip(0)
    y, x = np.argwhere(green > 150).mean(0)
    assert got.landmarks is not None
    assert got.landmarks[0] == pytest.approx((x, y), abs=0.5)


def test_landmarks_of_anamorphic_clips_lie_on_the_face(tmp_path: Path, video: Callable[..., Path]) -> None:
    frames = np.zeros((2, 48, 48, 3), np.uint8)
    frames[:, 20:24, 30:34] = 255  # stored; shown twice as wide
    points = np.repeat(np.random.default_rng(0).uniform(8, 40, (1, 68, 2)), 2, axis=0)
    points[:, 30] = (31.5, 21.5)
    np.save(tmp_path / "points.npy", points)
    square, wide = video("square.mp4", frames), tmp_path / "wide.mp4"
    aspect = ("-c", "copy", "-bsf:v", "h264_metadata=sample_aspect_ratio=2/1")
    subprocess.run(
        [get_ffmpeg_exe(), "-v", "error", "-i", str(square), *aspect, str(wide)], check=True, timeout=60
    )
    (got, _) = FramedClip(clip(wide, tmp_path / "points.npy"), 96, "none").frames()
    y, x = np.argwhere(got.image[..., 0] > 128).mean(0)
    assert got.landmarks is not None
    assert got.landmarks[30] == pytest.approx((x, y), abs=0.6)
    pair = FilePair("wide", square, wide, 96, (tmp_path / "points.npy", tmp_path / "points.npy"))
    frame = next(pair.open().frames)
    assert frame.landmarks is not None and frame.predicted_landmarks is not None
    assert frame.landmarks[30] == pytest.approx((x, y), abs=0.6)
    assert frame.predicted_landmarks[30] == pytest.approx((x, y), abs=0.6)


def test_fewer_landmarks_than_frames_are_nan(tmp_path: Path, frame_folder: Folder, noise: Folder) -> None:
    np.save(tmp_path / "points.npy", np.zeros((1, 68, 2)))
    framed = FramedClip(clip(frame_folder("c", noise(2)), tmp_path / "points.npy"), 48, "none")
    _, second = framed.frames()
    assert second.landmarks is not None
    assert np.isnan(second.landmarks).all()


def test_no_face_is_an_error_that_names_the_clip(frame_folder: Folder) -> None:
    with pytest.raises(NoFaceError, match="wall"):
        FramedClip(clip(frame_folder("wall", np.full((3, 64, 64, 3), 99, np.uint8))), 48)


def test_damaged_landmarks_are_named(tmp_path: Path, frame_folder: Folder, noise: Folder) -> None:
    folder = frame_folder("c", noise(1))
    for content in (np.zeros((1, 5, 2)), None):
        path = tmp_path / "points.npy"
        path.write_bytes(b"no array") if content is None else np.save(path, content)
        with pytest.raises(UnreadableInputError, match=r"points\.npy"):
            FramedClip(clip(folder, path), 48, "none")


def test_arrays_are_clips(tmp_path: Path, noise: Callable[..., np.ndarray]) -> None:
    frames = noise(4, 20, 30)
    np.save(tmp_path / "a.npy", frames)
    np.save(tmp_path / "f.npy", frames / 255)
    whole, floats = open_clip(tmp_path / "a.npy"), open_clip(tmp_path / "f.npy")
    assert (whole.width, whole.height, whole.frame_count_estimate) == (30, 20, 4)
    assert np.array_equal(np.stack(list(whole)), frames)
    assert next(iter(floats)).dtype == np.float32
    assert [index for index, _ in whole.sample(25 / 3)] == [0, 3]
    for bad in (np.zeros((2, 4, 4)), np.zeros((2, 4, 4, 3), np.int32)):
        np.save(tmp_path / "bad.npy", bad)
        with pytest.raises(UnreadableInputError, match=r"bad\.npy"):
            ArrayClip(tmp_path / "bad.npy")


def test_resizing_keeps_what_fits_and_the_range_of_floats() -> None:
    picture = np.zeros((10, 10, 3), np.float32)
    picture[5:] = 1
    assert resized(picture, (10, 10)) is picture
    larger = resized(picture, (25, 25))
    assert larger.shape == (25, 25, 3)
    assert 0 <= larger.min() <= larger.max() <= 1
