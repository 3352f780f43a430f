"""A photo before a camera: what is shown for each frame, with the weights that ship."""

import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.live import live_photo
from faceanim_cli.live.live_photo import LiveFrame, LivePhoto, LivePicture
from faceanim_cli.media import VideoReader, write_photo

DRIVER = Path(__file__).parents[2] / "examples" / "driver.mp4"


@pytest.fixture
def live(tmp_path: Path, astronaut: np.ndarray) -> LivePhoto:
    write_photo(tmp_path / "photo.png", np.ascontiguousarray(astronaut[:256, 96:352]))
    return AnimationOptions(device="cpu", precision="fp32", sr=False, size=64).live_photo(
        tmp_path / "photo.png"
    )


@pytest.fixture(scope="module")
def head() -> Callable[[int], np.ndarray]:
    """Frames of the driver of the examples: uint8 (H, W, 3), by number."""
    frames = list(VideoReader(DRIVER))
    return lambda number: frames[number]


def show(live: LivePhoto, *images: np.ndarray) -> list[LivePicture]:
    return list(live.pictures(LiveFrame(image, number) for number, image in enumerate(images)))


def apart(one: LivePicture, other: LivePicture) -> float:
    return float(np.abs(one.picture.astype(int) - other.picture).mean())


def seen(image: np.ndarray, x: int, y: int = 0, side: int = 480) -> np.ndarray:
    """A frame of a camera with the head in it, moved right by ``x`` pixels and down by ``y``."""
    width, height = image.shape[1], image.shape[0]
    frame = np.full((side, side * 4 // 3, 3), image[0, 0], np.uint8)
    frame[y : y + height, x : x + width] = image[: side - y, : side * 4 // 3 - x]
    return frame


@pytest.mark.parametrize("ahead", [0, 1])
def test_one_picture_for_each_frame_which_moves_as_it_does(
    live: LivePhoto, head: Callable[[int], np.ndarray], ahead: int
) -> None:
    """Also where a batch is begun before the last one is waited for, as on a GPU."""
    live._animator._inference.copies.ahead = ahead
    rest, same, moved = show(live, head(0), head(0), head(40))
    assert [live.frame.number for live in (rest, same, moved)] == [0, 1, 2]
    assert rest.picture.shape == (64, 64, 3) == (*live.size[::-1], 3)
    assert apart(rest, same) < 1
    assert apart(rest, moved) > 3
    assert not (rest.held or same.held or moved.held)


def test_it_waits_for_a_face_and_holds_the_last_motion(
    live: LivePhoto, head: Callable[[int], np.ndarray]
) -> None:
    blank = np.full_like(head(0), 90)
    before, _, moved, held, back = show(live, blank, head(0), head(40), blank, head(40))
    assert before.held and before.crop is None
    assert np.abs(before.picture.astype(int) - live._animated.photo_panel).mean() == 0  # the photo itself
    assert held.held and apart(moved, held) < 1
    assert not back.held and apart(moved, back) < 1


def test_recentring_makes_a_pose_the_resting_one(live: LivePhoto, head: Callable[[int], np.ndarray]) -> None:
    def frames() -> Iterator[LiveFrame]:
        for number in (0, 40):
            yield LiveFrame(head(number))
        live.recentre()
        yield LiveFrame(head(40))  # was under way
        yield LiveFrame(head(40))

    rest, moved, _, anew = live.pictures(frames())
    assert apart(rest, anew) < 0.4 * apart(rest, moved)


def test_a_face_that_leaves_its_frame_is_framed_anew(
    live: LivePhoto, head: Callable[[int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_photo, "LOOK_EVERY_S", 0.0)
    near, far = seen(head(0), 0), seen(head(0), 180, 60)

    pictures = live.pictures(LiveFrame(image) for image in chain([near], repeat(far, 500)))
    first = next(pictures)
    last = next(picture for picture in pictures if picture.crop != first.crop)
    pictures.close()
    assert first.crop is not None and last.crop is not None
    assert last.crop.cx - first.crop.cx == pytest.approx(180, abs=25)
    assert last.crop.cy - first.crop.cy == pytest.approx(60, abs=25)
    assert not last.held


def test_the_lookout_notices_that_somebody_has_gone(
    monkeypatch: pytest.MonkeyPatch, head: Callable[[int], np.ndarray]
) -> None:
    monkeypatch.setattr(live_photo, "LOOK_EVERY_S", 0.0)
    face = live_photo.FaceDetector().detect(head(0))[0]

    with live_photo._Lookout() as lookout:

        def look(image: np.ndarray, until: Callable[[], bool]) -> None:
            end = time.monotonic() + 30
            while not until():
                assert time.monotonic() < end
                lookout.show(image)
                time.sleep(0.01)

        lookout.begin()
        look(head(0), lambda: lookout._box is not None)
        assert not lookout.lost(face.scaled(1.75), face)
        look(np.zeros_like(head(0)), lambda: lookout.lost(face.scaled(1.75), face))
        lookout.begin()
        assert not lookout.lost(face.scaled(1.75), face)
