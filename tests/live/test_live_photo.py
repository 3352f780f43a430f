"""A photo before a camera: what is shown for each frame, with the weights that ship."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
import torch

from faceanim_cli.animation.animated_photo import AnimatedPhoto, prepared_photo
from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.result import RenderSettings
from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.live import live_photo
from faceanim_cli.live.live_photo import LiveFrame, LivePhoto, LivePicture
from faceanim_cli.media import VideoReader, write_photo
from faceanim_models.fused_convolutions import FusedConvolution, can_fuse

DRIVER = Path(__file__).parents[2] / "examples" / "driver.mp4"


@pytest.fixture(scope="module")
def animated(
    tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray
) -> tuple[Animator, AnimatedPhoto]:
    photo = tmp_path_factory.mktemp("live") / "photo.png"
    write_photo(photo, np.ascontiguousarray(astronaut[:256, 96:352]))
    options = AnimationOptions(device="cpu", precision="fp32", sr=False, size=64, batch_size=1)
    animator = options.animator()
    return animator, prepared_photo(animator, photo, "auto", options.render_settings())


@pytest.fixture(params=[2])
def live(animated: tuple[Animator, AnimatedPhoto], request: pytest.FixtureRequest) -> LivePhoto:
    """By default with two CPU threads: on those, frames are worked on side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    photo = LivePhoto(*animated)
    assert torch.get_num_threads() == request.param  # others keep their CPU threads
    torch.set_num_threads(before)
    return photo


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


def test_one_picture_for_each_frame_which_moves_as_it_does(
    live: LivePhoto, head: Callable[[int], np.ndarray]
) -> None:
    rest, same, moved = show(live, head(0), head(0), head(40))
    assert [live.frame.number for live in (rest, same, moved)] == [0, 1, 2]
    assert rest.picture.shape == (64, 64, 3) == (*live.size[::-1], 3)
    assert apart(rest, same) < 1
    assert apart(rest, moved) > 3
    assert not (rest.held or same.held or moved.held)


@pytest.mark.parametrize("live", [1, 2], indirect=True)
def test_frames_side_by_side_give_what_frames_one_by_one_do(
    live: LivePhoto, head: Callable[[int], np.ndarray]
) -> None:
    images = [head(number) for number in range(0, 100, 20)]
    pictures = show(live, *images)
    api, crop = live._animator, pictures[0].crop
    wanted = live._animated.animate(api.detect(images, crop), [None])
    assert api.watermark is not None
    for result, picture in zip(wanted, pictures, strict=True):
        assert np.array_equal(api.watermark.embed(live._animated.compose(result)), picture.picture)


@pytest.mark.parametrize(("live", "frames"), [(1, 1), (2, 2)], indirect=["live"])
def test_no_frame_is_taken_before_there_is_a_thread_for_it(
    live: LivePhoto, head: Callable[[int], np.ndarray], frames: int
) -> None:
    """Who shows pictures slowly gets new ones all the same, not a queue of old ones."""
    asked: list[int] = []

    def camera() -> Iterator[LiveFrame]:
        for number in range(6):
            asked.append(number)
            yield LiveFrame(head(number), number)

    under_way = []
    pictures = live.pictures(camera())
    for picture in pictures:
        live._threads.submit(int).result()  # all the time that is needed to do too much
        under_way.append(len(asked) - picture.frame.number)
    assert max(under_way) in (frames, frames + 1)  # the one that is shown is not under way any more


@pytest.mark.parametrize("live", [1, 2], indirect=True)
def test_it_can_be_ended_while_all_threads_wait(live: LivePhoto, head: Callable[[int], np.ndarray]) -> None:
    pictures = live.pictures(LiveFrame(head(0)) for _ in repeat(0))
    next(pictures)
    time.sleep(0.5)  # now there is a picture for each thread, and nobody takes them
    ending = threading.Thread(target=pictures.close, daemon=True)
    ending.start()
    ending.join(30)
    assert not ending.is_alive()


def test_everything_is_warm_before_the_first_frame(rigid_weights_file: Path, astronaut: np.ndarray) -> None:
    """Half precision has been compared, and weights are packed for fused convolutions."""
    animator = Animator(rigid_weights_file, "cpu", "bf16", sr=False, batch=1)
    inference = animator._inference
    animated = AnimatedPhoto(animator, astronaut, "auto", RenderSettings())
    assert inference.must_compare("keypoints") and inference.must_compare("pictures")
    live = LivePhoto(animator, animated)
    assert not inference.must_compare("keypoints") and not inference.must_compare("pictures")
    fused = [m for m in inference.networks.model.modules() if isinstance(m, FusedConvolution)]
    assert bool(fused) == can_fuse(inference.networks.dtype)
    assert all(module._packed is not None for module in fused)
    assert live._threads.submit(torch.get_num_threads).result() == 1


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
