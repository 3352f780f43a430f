"""A driver's frames on their way to the networks: framed shot by shot, held where there is no face."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from faceanim_cli.animation.driver_search import DriverSearch
from faceanim_cli.animation.networks import Detected
from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.animation.video_driver import VideoDriver
from faceanim_cli.faces import Framing, crop_image
from faceanim_cli.media import VideoReader, VideoWriter, open_video
from faceanim_models import Keypoints

SIDE = 64


def detect(frames: Iterable[np.ndarray], crop: None) -> Iterator[Detected]:
    """Keypoints that tell how bright a frame is, three frames at a time; black frames are not sharp."""
    batch = []
    for frame in [*frames, None]:
        if frame is not None:
            assert frame.shape == (SIDE, SIDE, 3)
            batch.append(float(frame.mean()))
        if batch and (frame is None or len(batch) == 3):
            levels = torch.tensor(batch)
            yield Detected(Keypoints(levels[:, None, None].expand(-1, 1, 2)), 1.0 + (levels > 20))
            batch = []


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[..., VideoDriver]]:
    opened = []

    def make(frames: list[np.ndarray], crop: object = "auto", detector: object = detect) -> VideoDriver:
        path = tmp_path / "driver.mkv"
        with VideoWriter(path, Fraction(25), frames[0].shape[1::-1], codec="ffv1") as writer:
            for frame in frames:
                writer.write(frame)
        search = DriverSearch(lambda turn: open_video(path, turn=turn), crop)
        opened.append(VideoDriver(search, detector, SIDE))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def motion(driver: VideoDriver) -> tuple[list[int], np.ndarray]:
    """Shot and brightness of each frame."""
    shots, levels = [], []
    with Pipeline() as pipeline:
        driver.find_face(pipeline)
        driver.candidates(None)
        for shot, keypoints in driver.motion(pipeline, lambda *_: None):
            shots += [shot] * len(keypoints.points)
            levels += keypoints.points[:, 0, 0].tolist()
    return shots, np.array(levels)


@pytest.fixture
def shown(astronaut: np.ndarray) -> list[np.ndarray]:
    """A face that gets darker frame by frame."""
    face = astronaut[:256, 90:346]
    return [np.ascontiguousarray((face * (1 - 0.01 * i)).astype(np.uint8)) for i in range(20)]


@pytest.mark.parametrize(
    ("black", "told"),
    [([], ""), ([0, 1, 2, 3], "0-3"), ([7], "7"), ([6, 7, 8, 9], "6-9"), ([18, 19], "18-19")],
)
def test_where_there_is_no_face_the_last_motion_is_held(
    driver: Callable[..., VideoDriver], shown: list[np.ndarray], black: list[int], told: str
) -> None:
    frames = [np.zeros_like(frame) if i in black else frame for i, frame in enumerate(shown)]
    source = driver(frames)
    shots, levels = motion(source)
    assert str(source.faceless) == told
    assert shots == [0] * 20
    assert np.all(levels > 20)
    present = [i for i in range(20) if i not in black]
    assert np.all(np.diff(levels[present]) < 0)  # each frame has its own
    for i in black:
        earlier = [j for j in present if j < i]
        assert levels[i] == (
            levels[earlier[-1]] if earlier else pytest.approx(levels[present].max(), rel=0.1)
        )


def test_each_shot_is_framed_by_itself_and_the_cut_is_said(
    driver: Callable[..., VideoDriver], astronaut: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    face = astronaut[:256, 90:346]
    left, right = (np.full((256, 640, 3), level, np.uint8) for level in (60, 140))
    left[:, :256], right[:, 384:] = face, face[:, ::-1]
    source = driver([left] * 12 + [right] * 12)
    seen: list[np.ndarray] = []

    def looked_at(frames: Iterable[np.ndarray], crop: None) -> Iterator[Detected]:
        for frame in frames:
            seen.append(frame)
            yield Detected(Keypoints(torch.zeros(1, 1, 2)))

    source._detect = looked_at
    shots, _ = motion(source)
    assert shots == [0] * 12 + [1] * 12
    assert source.starts == [0, 12]
    assert "cut at frame 12; each shot is framed by itself" in caplog.text
    for frame, shot, picture in zip([left] * 12 + [right] * 12, shots, seen[-24:], strict=True):
        assert np.array_equal(picture, crop_image(frame, source.crops[shot], SIDE))
    assert source.crops[0].x + source.crops[0].w <= 256
    assert source.crops[1].x >= 384


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_video_on_its_side_is_turned(
    driver: Callable[..., VideoDriver], shown: list[np.ndarray], turn: int, caplog: pytest.LogCaptureFixture
) -> None:
    source = driver([np.ascontiguousarray(np.rot90(frame, turn)) for frame in shown[:9]])
    with Pipeline() as pipeline:
        source.find_face(pipeline)
    assert f"it is turned by {90 * turn} degrees" in caplog.text
    assert np.array_equal(source.first_frame(), shown[0])


def test_a_found_crop_can_be_nearer_or_beside(
    driver: Callable[..., VideoDriver], shown: list[np.ndarray]
) -> None:
    usual, moved = driver(shown[:3]), None
    with Pipeline() as pipeline:
        usual.find_face(pipeline)
        moved = driver(shown[:3], Framing(2.0, (0.25, -0.1)))
        moved.find_face(pipeline)
    a, b = usual.crops[0], moved.crops[0]
    assert b.w == round(a.w / 2)
    assert (b.cx - a.cx, b.cy - a.cy) == pytest.approx((0.25 * b.w, -0.1 * b.w), abs=1)


def test_no_more_than_the_crop_of_a_frame_is_decoded(
    driver: Callable[..., VideoDriver], shown: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = driver(shown, (40, 20, 101, 99))
    asked: list[object] = []
    right = VideoReader.frames
    monkeypatch.setattr(
        VideoReader, "frames", lambda self, crop=None, **rest: asked.append(crop) or right(self, crop, **rest)
    )
    with Pipeline() as pipeline:
        levels = [k.points[:, 0, 0] for _, k in source.motion(pipeline, lambda *_: None)]
    assert asked == [(40, 19, 101, 101)]
    wanted = [crop_image(frame, source.crops[0], SIDE).mean() for frame in shown]
    assert torch.cat(levels).numpy() == pytest.approx(np.array(wanted), abs=0.01)


def test_weights_whose_keypoints_tell_nothing_hold_whole_shots_only(
    driver: Callable[..., VideoDriver], shown: list[np.ndarray]
) -> None:
    def silent(*arguments: object, **rest: object) -> Iterator[Detected]:
        return (found._replace(sharpness=None) for found in detect(*arguments, **rest))

    black = np.zeros_like(shown[0])
    source = driver([black] * 10 + shown, detector=silent)
    motion(source)
    assert str(source.faceless) == "0-9"
