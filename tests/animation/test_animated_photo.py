"""What a result shows: the crop, the whole photo with one face animated or all, and what stands beside it."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli import Animator
from faceanim_cli.animation.animated_photo import AnimatedPhoto
from faceanim_cli.animation.job import animate_file
from faceanim_cli.animation.result import RenderSettings
from faceanim_cli.errors import NoFaceError, UsageError
from faceanim_cli.faces import Box, crop_image, find_faces, frame_crop
from faceanim_cli.faces.compositing import SEAM
from faceanim_cli.media import VideoReader, open_video, read_photo, write_photo

MakeDriver = Callable[..., Path]
SIZE = 64  # of the tiny network


@pytest.fixture(scope="module")
def animator(rigid_weights_file: Path) -> Animator:
    return Animator(rigid_weights_file, device="cpu", precision="fp32", sr=False, mark=None)


@pytest.fixture(scope="module")
def group(astronaut: np.ndarray) -> np.ndarray:
    """Two people, uint8 (256, 560, 3); the one on the right is the larger by a half."""
    small = np.asarray(crop_image(astronaut, Box(96, 0, 256, 256), 170))
    picture = np.full((256, 560, 3), 60, np.uint8)
    picture[60:230, 20:190] = small
    picture[:, 250:510] = astronaut[:256, 90:350, ::-1]
    return picture


def moving(astronaut: np.ndarray) -> list[np.ndarray]:
    """Driving frames, 256 pixels wide, in which the head moves 24 pixels to the right."""
    return [np.ascontiguousarray(astronaut[:256, 60 - i : 316 - i]) for i in (0, 12, 24)]


def play(animator: Animator, animated: AnimatedPhoto, frames: list[np.ndarray]) -> list[np.ndarray]:
    side = min(frames[0].shape[:2])
    crop = Box(0, 0, side, side)
    results = animated.animate(animator.detect(frames, crop), [None for _ in animated.faces])
    panels = [animated.driver_panel(frame, crop) for frame in frames]
    return [animated.compose(*both) for both in zip(results, panels, strict=True)]


def changed(result: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Where two pictures differ visibly, bool (H, W)."""
    return np.abs(result.astype(int) - photo).max(2) > 12


def test_pasted_back_only_the_crop_changes(animator: Animator, astronaut: np.ndarray) -> None:
    animated = AnimatedPhoto(animator, astronaut, "auto", RenderSettings(paste_back=True))
    assert animated.size((256, 256)) == (512, 512)
    crop = animated.faces[0].crop
    assert crop is not None
    inside = np.zeros((512, 512), bool)
    inside[int(crop.y) : int(crop.y + crop.h), int(crop.x) : int(crop.x + crop.w)] = True
    for number, result in enumerate(play(animator, animated, moving(astronaut))):
        assert np.array_equal(result[~inside], astronaut[~inside])
        if number:  # and in there the head moves
            eyes = inside.copy()
            eyes[: int(crop.cy - 40)], eyes[int(crop.cy) :] = False, False
            assert changed(result, astronaut)[eyes].mean() > 0.2


def test_the_head_moves_and_the_border_of_the_crop_stands(animator: Animator, astronaut: np.ndarray) -> None:
    animated = AnimatedPhoto(animator, astronaut, "auto", RenderSettings(paste_back=True))
    crop = animated.faces[0].crop
    assert crop is not None
    still, _, moved = play(animator, animated, moving(astronaut))
    difference = np.abs(still.astype(int) - moved).max(2)
    side = int(crop.w)
    patch = difference[int(crop.y) : int(crop.y) + side, int(crop.x) : int(crop.x) + side]
    rim = int(SEAM * side)  # the photo fades in; no moved pixel may show there
    assert patch[:, :rim].max() <= 3
    assert patch[:, -rim:].max() <= 3
    assert patch[side // 3 : side // 2, side // 3 : -side // 3].mean() > 10


@pytest.mark.parametrize(("number", "place"), [(1, 105), (2, 395), (None, 395)])
def test_faces_are_counted_from_the_left_and_the_largest_is_the_default(
    animator: Animator, group: np.ndarray, number: int | None, place: int
) -> None:
    animated = AnimatedPhoto(animator, group, "auto", RenderSettings(face=number))
    assert animated.faces[0].crop is not None
    assert animated.faces[0].crop.cx == pytest.approx(place, abs=40)


def test_a_face_that_is_not_there_is_said_with_how_many_are(animator: Animator, group: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"--face 3: team\.jpg has 2 faces"):
        AnimatedPhoto(animator, group, "auto", RenderSettings(face=3), "team.jpg")
    with pytest.raises(NoFaceError, match=r"wall\.jpg: no face"):
        AnimatedPhoto(
            animator, np.full((200, 200, 3), 99, np.uint8), "auto", RenderSettings(all_faces=True), "wall.jpg"
        )


def test_all_faces_move_each_in_its_own_place(
    animator: Animator, group: np.ndarray, astronaut: np.ndarray
) -> None:
    _, (left, right) = find_faces(group, "group")
    _, _, moved = play(
        animator, AnimatedPhoto(animator, group, "auto", RenderSettings(all_faces=True)), moving(astronaut)
    )
    alone = [
        play(
            animator,
            AnimatedPhoto(animator, group, "auto", RenderSettings(paste_back=True, face=n)),
            moving(astronaut),
        )[2]
        for n in (1, 2)
    ]
    for face, one in zip((left, right), alone, strict=True):
        place = slice(int(face.y), int(face.y + face.h)), slice(int(face.x), int(face.x + face.w))
        assert changed(moved, group)[place].mean() > 0.15
        assert np.array_equal(moved[place], one[place])  # as when it is the only one
    assert not changed(alone[0], group)[:, 250:].any()
    assert not changed(alone[1], group)[:, :190].any()


def test_a_crop_by_hand_is_meant_in_the_photos_own_pixels(animator: Animator, astronaut: np.ndarray) -> None:
    animated = AnimatedPhoto(
        animator, astronaut, (120, 20, 200, 200), RenderSettings(paste_back=True, longest_side=256)
    )
    assert animated.size((256, 256)) == (256, 256)
    assert animated.faces[0].crop == Box(60, 10, 100, 100)


@pytest.mark.parametrize("render", [RenderSettings(face=1), RenderSettings(all_faces=True)])
def test_a_crop_and_a_number_contradict_each_other(
    animator: Animator, astronaut: np.ndarray, render: RenderSettings
) -> None:
    with pytest.raises(UsageError, match="crop"):
        AnimatedPhoto(animator, astronaut, (120, 20, 200, 200), render)


def test_a_photo_taken_whole_is_not_pasted(animator: Animator, astronaut: np.ndarray) -> None:
    with pytest.raises(UsageError, match="whole"):
        AnimatedPhoto(animator, astronaut, None, RenderSettings(paste_back=True))


@pytest.mark.parametrize(
    ("side", "size", "told"), [(None, (2560, 1280), "--size 3000"), (3000, (3000, 1500), "")]
)
def test_a_large_photo_becomes_a_video_that_plays(
    animator: Animator, caplog: pytest.LogCaptureFixture, side: int | None, size: tuple[int, int], told: str
) -> None:
    photo = np.full((1500, 3000, 3), 90, np.uint8)
    render = RenderSettings(paste_back=True, longest_side=side)
    assert AnimatedPhoto(animator, photo, (100, 100, 800, 800), render).size((1, 1)) == size
    assert told in caplog.text
    assert bool(told) == bool(caplog.text)


@pytest.mark.parametrize(
    ("crop", "advice"), [((0, 0, 512, 512), ""), ((180, 70, 90, 90), "larger"), ((0, 0, 900, 900), "smaller")]
)
def test_a_crop_that_frames_the_face_badly_is_remarked_on(
    animator: Animator,
    astronaut: np.ndarray,
    caplog: pytest.LogCaptureFixture,
    crop: tuple[int, int, int, int],
    advice: str,
) -> None:
    photo = np.pad(astronaut, ((0, 400), (0, 400), (0, 0)), constant_values=90)
    AnimatedPhoto(animator, photo, crop, RenderSettings())
    assert advice in caplog.text
    assert bool(advice) == bool(caplog.text)


def test_side_by_side_shows_photo_driver_and_result(animator: Animator, astronaut: np.ndarray) -> None:
    frames = moving(astronaut)
    animated = AnimatedPhoto(animator, astronaut, "auto", RenderSettings(side_by_side=True))
    results = play(animator, animated, frames)
    assert animated.size((256, 256)) == (3 * SIZE, SIZE)
    crop = frame_crop(find_faces(astronaut, "photo")[1][0], (512, 512))
    for frame, result in zip(frames, results, strict=True):
        assert np.array_equal(result[:, :SIZE], crop_image(astronaut, crop, SIZE))
        assert np.array_equal(result[:, SIZE : 2 * SIZE], crop_image(frame, Box(0, 0, 256, 256), SIZE))
    assert np.abs(results[0][:, 2 * SIZE :].astype(int) - results[0][:, :SIZE]).max() <= 1  # at rest
    assert changed(results[2][:, 2 * SIZE :], results[2][:, :SIZE]).mean() > 0.2


def test_side_by_side_of_a_whole_photo_shows_the_whole_driver(
    animator: Animator, astronaut: np.ndarray
) -> None:
    frames = [np.ascontiguousarray(astronaut[:250, 20:320]) for _ in range(2)]  # 300 x 250
    animated = AnimatedPhoto(
        animator, astronaut[:400], "auto", RenderSettings(paste_back=True, side_by_side=True)
    )
    result = play(animator, animated, frames)[0]
    assert animated.size((300, 250)) == (512 + 480 + 512, 400)
    assert result.shape == (400, 1504, 3)
    assert np.array_equal(result[:, :512], astronaut[:400])
    middle = result[:, 512:992].astype(int)
    assert np.abs(middle[::8, ::8][:30, :40] - frames[0][::5, ::5][:30, :40]).mean() < 12


class TestFiles:
    @pytest.fixture
    def photo(self, tmp_path: Path, astronaut: np.ndarray) -> Path:
        path = tmp_path / "photo.png"
        write_photo(path, astronaut[:301, :403])
        return path

    def test_every_frame_meets_its_driving_frame(
        self, animator: Animator, photo: Path, make_driver: MakeDriver, tmp_path: Path
    ) -> None:
        driver, out = make_driver(frames=21), tmp_path / "frames"
        render = RenderSettings(side_by_side=True)
        animate_file(animator, photo, driver, out, render=render, driver_crop=(0, 0, 256, 256))
        beside = [frame[:, SIZE : 2 * SIZE] for frame in open_video(out)]
        wanted = [crop_image(frame, Box(0, 0, 256, 256), SIZE) for frame in VideoReader(driver)]
        assert np.array_equal(beside, wanted)

    def test_an_odd_photo_in_a_video_keeps_its_size_but_for_a_pixel(
        self, animator: Animator, photo: Path, make_driver: MakeDriver, tmp_path: Path
    ) -> None:
        out = tmp_path / "out.mp4"
        animate_file(animator, photo, make_driver(frames=2), out, render=RenderSettings(paste_back=True))
        video = VideoReader(out)
        assert abs(video.width - 403) <= 1
        assert abs(video.height - 301) <= 1
        assert video.fps == Fraction(25)

    def test_what_the_networks_see_is_shown(
        self, animator: Animator, photo: Path, make_driver: MakeDriver, tmp_path: Path, astronaut: np.ndarray
    ) -> None:
        shown = tmp_path / "crop.png"
        animate_file(
            animator,
            photo,
            make_driver(frames=2),
            tmp_path / "out.mp4",
            photo_crop=(100, 20, 200, 200),
            driver_crop=(32, 0, 256, 256),
            show_crop=shown,
        )
        picture = read_photo(shown)
        assert picture.shape == (SIZE, 2 * SIZE, 3)
        assert np.array_equal(picture[:, :SIZE], crop_image(astronaut, Box(100, 20, 200, 200), SIZE))
        driver = crop_image(np.ascontiguousarray(astronaut[:256, 102:358]), Box(0, 0, 256, 256), SIZE)
        assert np.abs(picture[:, SIZE:].astype(int) - driver).mean() < 4  # encoded in between


def test_a_face_in_its_photo_is_as_sharp_as_it(rigid_weights_file: Path, astronaut: np.ndarray) -> None:
    """The networks see 64 pixels of a crop that has 170."""
    animator = Animator(rigid_weights_file, device="cpu", precision="fp32", mark=None)
    animated = AnimatedPhoto(animator, astronaut, "auto", RenderSettings(paste_back=True))
    frame = crop_image(astronaut, animated.faces[0].crop, SIZE)
    (result,) = play(animator, animated, [frame])
    assert np.abs(result.astype(int) - astronaut).mean() < 0.5
    assert np.abs(result.astype(int) - astronaut).max() < 60
