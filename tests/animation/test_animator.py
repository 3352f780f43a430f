"""The Python API on a network whose output is known: the photo, moved as a whole."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceanim_cli import Animator
from faceanim_cli.animation.image_batches import detail_side
from faceanim_cli.animation.networks import Detected
from faceanim_cli.errors import NoFaceError, UsageError, WeightsError
from faceanim_cli.faces import Box, crop_image, detector
from faceanim_cli.motion.motion_batch import frame_count
from faceanim_models import FaceSuperResolver, KeypointDetector

SIZE = 64  # of the tiny network


@pytest.fixture
def marked_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detects a green dot: ten keypoints on a small circle around it."""

    def forward(self: KeypointDetector, images: torch.Tensor, kept: object = None) -> torch.Tensor:
        green = (images[:, 1] - images[:, 0] - images[:, 2]).clamp_min(0) + 1e-9
        green = green / green.sum((1, 2), keepdim=True)
        axis = torch.linspace(-1, 1, images.shape[-1])
        centre = torch.stack(((green.sum(1) * axis).sum(1), (green.sum(2) * axis).sum(1)), -1)
        angle = torch.arange(10) * 0.6283
        return centre[:, None] + 0.3 * torch.stack((angle.cos(), angle.sin()), -1)

    monkeypatch.setattr(KeypointDetector, "forward", forward)


def dotted(x: int, y: int, size: int = SIZE) -> np.ndarray:
    """A black frame with a green dot, 3 pixels wide, at (x, y)."""
    frame = np.zeros((size, size, 3), np.uint8)
    frame[y - 1 : y + 2, x - 1 : x + 2, 1] = 255
    return frame


def dot_of(frame: np.ndarray) -> tuple[float, float]:
    """Where the green dot's centre is, (x, y)."""
    green = frame[..., 1].astype(float)
    y, x = np.indices(green.shape)
    return float((x * green).sum() / green.sum()), float((y * green).sum() / green.sum())


def animator(weights: Path, **options: object) -> Animator:
    return Animator(weights, device="cpu", precision="fp32", **{"sr": False, "mark": None, **options})


def test_a_still_driver_gives_the_photo_back(rigid_weights_file: Path, astronaut: np.ndarray) -> None:
    photo = np.ascontiguousarray(astronaut[:SIZE, 180 : 180 + SIZE])
    animate = animator(rigid_weights_file)
    animate.set_photo(photo, crop=None)
    (result,) = animate.animate([photo])
    assert result.dtype == np.uint8
    assert np.abs(result.astype(int) - photo).max() <= 1  # same colours in the same order, same pixels


def test_whole_frames_need_no_face_detection(
    rigid_weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV 5 has no Viola-Jones: what is framed already is animated all the same."""

    def absent(file: str) -> None:
        raise UsageError(f"no {file}")

    monkeypatch.setattr(detector, "_load_cascade", absent)
    animate = animator(rigid_weights_file)
    animate.set_photo(dotted(30, 32), crop=None)
    (result,) = animate.animate([dotted(30, 32)], crop=None)
    assert dot_of(result) == pytest.approx((30, 32), abs=0.5)
    with pytest.raises(UsageError, match=r"no haarcascade"):
        animate.set_photo(dotted(30, 32))


@pytest.mark.usefixtures("marked_points")
@pytest.mark.parametrize(("dx", "dy"), [(8, 0), (0, 8), (-5, 3)])
def test_absolute_motion_puts_the_photo_where_the_driver_is(
    rigid_weights_file: Path, dx: int, dy: int
) -> None:
    animate = animator(rigid_weights_file, relative=False)
    animate.set_photo(dotted(30, 32), crop=None)
    (result,) = animate.animate([dotted(30 + dx, 32 + dy)])
    assert dot_of(result) == pytest.approx((30 + dx, 32 + dy), abs=0.3)


@pytest.mark.usefixtures("marked_points")
def test_relative_motion_counts_from_the_drivers_first_frame(rigid_weights_file: Path) -> None:
    animate = animator(rigid_weights_file)
    animate.set_photo(dotted(30, 32), crop=None)
    results = list(animate.animate([dotted(40, 20), dotted(46, 20), dotted(40, 29)]))
    assert [dot_of(r) for r in results] == [
        pytest.approx(at, abs=0.3) for at in ((30, 32), (36, 32), (30, 41))
    ]


@pytest.mark.usefixtures("marked_points")
def test_each_clip_starts_anew(rigid_weights_file: Path) -> None:
    animate = animator(rigid_weights_file)
    animate.set_photo(dotted(30, 32), crop=None)
    list(animate.animate([dotted(40, 20)]))
    (result,) = animate.animate([dotted(20, 50)])
    assert dot_of(result) == pytest.approx((30, 32), abs=0.3)


@pytest.mark.usefixtures("marked_points")
@pytest.mark.parametrize("batch", [3, 8])
def test_frames_without_a_face_hold_the_last_motion(
    rigid_weights_file: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """As the command does; keypoints of black frames lie in the middle, and are half as sure."""
    black, detections = np.zeros((SIZE, SIZE, 3), np.uint8), Animator.detections

    def told(self: Animator, frames: list[np.ndarray], crop: object = "auto") -> Iterator[Detected]:
        sharp = [10.0 if frame.any() else 5.0 for frame in frames]
        for found in detections(self, frames, crop):
            count = frame_count(found.motion)
            yield found._replace(sharpness=torch.tensor(sharp[:count]))
            del sharp[:count]

    monkeypatch.setattr(Animator, "detections", told)
    animate = animator(rigid_weights_file, batch=batch)
    animate.set_photo(dotted(30, 32), crop=None)
    frames = [black, dotted(40, 20), dotted(46, 20), black, black, dotted(40, 29), black]
    moves = [dot_of(result) for result in animate.animate(frames)]
    held = [(30, 32), (30, 32), (36, 32), (36, 32), (36, 32), (30, 41), (30, 41)]
    assert moves == [pytest.approx(at, abs=0.3) for at in held]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_one_frame_out_for_each_frame_in(rigid_weights_file: Path, count: int) -> None:
    animate = animator(rigid_weights_file, batch=4)
    animate.set_photo(dotted(30, 32), crop=None)
    assert len(list(animate.animate(dotted(30, 32) for _ in range(count)))) == count


def test_frames_are_taken_as_they_are_needed(rigid_weights_file: Path) -> None:
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield dotted(30, 32)

    animate = animator(rigid_weights_file, batch=4)
    animate.set_photo(dotted(30, 32), crop=None)
    frames = animate.animate(endless())
    assert taken == 0
    for _ in range(5):
        next(frames)
    assert taken == 8


def test_a_crop_by_hand_is_what_the_networks_see(rigid_weights_file: Path, astronaut: np.ndarray) -> None:
    animate = animator(rigid_weights_file)
    animate.set_photo(astronaut, crop=(150, 20, 128, 128))
    assert animate.photo_crop == Box(150, 20, 128, 128)
    (result,) = animate.animate([astronaut], crop=(150, 20, 128, 128))
    wanted = crop_image(astronaut, Box(150, 20, 128, 128), SIZE)
    assert np.abs(result.astype(int) - wanted).max() <= 1


def test_the_face_is_found_in_photo_and_driver(rigid_weights_file: Path, astronaut: np.ndarray) -> None:
    animate = animator(rigid_weights_file)
    animate.set_photo(astronaut)
    crop = animate.photo_crop
    assert crop is not None
    for x, y in ((190, 100), (260, 100), (190, 170), (260, 170)):  # eyes and mouth corners lie within
        assert crop.x < x < crop.x + crop.w
        assert crop.y < y < crop.y + crop.h
    (result,) = animate.animate([astronaut])
    wanted = crop_image(astronaut, crop, SIZE)
    assert np.abs(result.astype(int) - wanted).mean() < 3  # the clip's crop may lie a pixel apart


def test_no_face_says_so(rigid_weights_file: Path) -> None:
    grey = np.full((200, 200, 3), 127, np.uint8)
    animate = animator(rigid_weights_file)
    with pytest.raises(NoFaceError, match=r"holiday\.jpg.*--crop"):
        animate.set_photo(grey, name="holiday.jpg")
    animate.set_photo(grey, crop=(0, 0, 200, 200))
    with pytest.raises(NoFaceError):
        list(animate.animate([grey]))


@pytest.mark.parametrize("size", [32, 64, 100])
def test_the_result_has_the_size_asked_for(rigid_weights_file: Path, size: int) -> None:
    animate = animator(rigid_weights_file, size=size)
    animate.set_photo(dotted(30, 32), crop=None)
    (result,) = animate.animate([dotted(30, 32)])
    assert result.shape == (size, size, 3)
    assert animate.size == size


def test_misuse_is_named(rigid_weights_file: Path, tmp_path: Path) -> None:
    animate = animator(rigid_weights_file)
    with pytest.raises(UsageError, match="set_photo"):
        animate.animate([])
    with pytest.raises(ValueError, match="uint8"):
        animate.set_photo(np.zeros((64, 64, 3), np.float32), crop=None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="pixels"):
        animator(rigid_weights_file, size=7)
    with pytest.raises(UsageError, match="floppy"):
        Animator(rigid_weights_file, device="floppy")
    with pytest.raises(UsageError, match="fp8"):
        Animator(rigid_weights_file, precision="fp8")
    with pytest.raises(WeightsError, match="none"):
        Animator(tmp_path / "none.safetensors")


@pytest.mark.parametrize("size", [128, 200])
def test_a_large_photo_keeps_its_own_detail(
    rigid_weights_file: Path, astronaut: np.ndarray, size: int
) -> None:
    """The networks see 64 pixels of its face, and the driver stands still."""
    box = (96.0, 0.0, 256.0, 256.0)
    animate = animator(rigid_weights_file, sr=None, size=size)
    animate.set_photo(astronaut, crop=box)
    driver = crop_image(astronaut, Box(*box), SIZE)
    (result,) = animate.animate([driver], crop=None)
    wanted = crop_image(astronaut, Box(*box), size).astype(int)
    assert result.shape == (size, size, 3)
    inner = slice(8, -8)
    assert np.abs(result[inner, inner] - wanted[inner, inner]).mean() < 3
    enlarged = cv2.resize(driver, (size, size), interpolation=cv2.INTER_CUBIC).astype(int)
    assert np.abs(enlarged[inner, inner] - wanted[inner, inner]).mean() > 5


def test_super_resolution_is_for_small_photos_or_for_who_asks(
    rigid_weights_file: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    forward = FaceSuperResolver.forward

    def counted(self: FaceSuperResolver, frames: torch.Tensor) -> torch.Tensor:
        asked.append(len(frames))
        return forward(self, frames)

    monkeypatch.setattr(FaceSuperResolver, "forward", counted)
    for sr, side, times in ((None, 256, 0), (None, 80, 1), (True, 256, 1), (False, 80, 0)):
        asked.clear()
        animate = animator(rigid_weights_file, sr=sr)
        animate.set_photo(astronaut, crop=(96.0, 0.0, side, side))
        (result,) = animate.animate([astronaut[:SIZE, :SIZE]], crop=None)
        assert (len(asked), result.shape[0]) == (times, SIZE if sr is False else 2 * SIZE)


@pytest.mark.parametrize(
    ("shown", "size", "side"),
    [
        (512, 512, 512),
        (384, 512, 512),
        (383, 512, None),  # super-resolution makes more of it
        (300, 300, 300),
        (299, 300, None),
        (2000, 256, None),  # the networks see all of it
        (700, 1024, 1024),
        (700, None, 700),
        (3000, None, 1024),
        (256, None, None),
    ],
)
def test_how_large_the_photo_s_detail_is_shown(shown: int, size: int | None, side: int | None) -> None:
    assert detail_side(shown, size, 256) == side


@pytest.mark.parametrize(("size", "doubled"), [(None, True), (SIZE + 1, True), (SIZE, False), (40, False)])
def test_results_no_larger_than_the_networks_frames_are_not_doubled_first(
    rigid_weights_file: Path, size: int | None, doubled: bool
) -> None:
    assert ("sr" in animator(rigid_weights_file, sr=None, size=size).stages) == doubled
    assert "sr" in animator(rigid_weights_file, sr=True, size=size).stages  # unless one asks
