"""Crops: where they lie, that pixels and points agree, and the way back."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanim_cli.errors import UsageError
from faceanim_cli.faces import framing
from faceanim_cli.faces.framing import (
    FRAME_SCALE,
    Box,
    Framing,
    clip_crop,
    crop_image,
    crop_transform,
    frame_crop,
    inverse_crop_transform,
    square_crop,
    transform_points,
)

sizes = st.tuples(st.integers(40, 700), st.integers(40, 700))


@st.composite
def image_and_face(draw):
    """An image's size and a face box inside it."""
    width, height = draw(sizes)
    side = draw(st.floats(8, min(width, height)))
    x = draw(st.floats(0, 1)) * (width - side)
    y = draw(st.floats(0, 1)) * (height - side)
    return (width, height), Box(x, y, side, side)


def holds(outer: Box, inner: Box) -> bool:
    return (
        outer.x <= inner.x + 1
        and outer.y <= inner.y + 1
        and outer.x + outer.w >= inner.x + inner.w - 1
        and outer.y + outer.h >= inner.y + inner.h - 1
    )


def dots(width, height, places, radius=2):
    """A black picture with soft white dots at the given points, (x, y) of pixel centres."""
    ys, xs = np.mgrid[:height, :width]
    picture = np.zeros((height, width))
    for x, y in places:
        picture += np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * radius**2))
    return np.repeat(np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def centroid(picture):
    weights = picture[..., 0].astype(float)
    ys, xs = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.array([(weights * xs).sum(), (weights * ys).sum()]) / weights.sum()


class TestBox:
    def test_scaling_keeps_the_centre(self):
        box = Box(10, 20, 30, 40)
        bigger = box.scaled(1.5)
        assert (box.cx, box.cy, box.area, box.side) == (25, 40, 1200, 40)
        assert (bigger.cx, bigger.cy, bigger.w, bigger.h) == (25, 40, 45, 60)


@pytest.fixture
def two_faces_wide(monkeypatch):
    """Numbers that are easy to follow, whatever the framing of the shipped model."""
    monkeypatch.setattr(framing, "FRAME_SCALE", 2.0)


@pytest.mark.usefixtures("two_faces_wide")
class TestWhereTheCropLies:
    def test_is_square_around_the_face(self):
        assert frame_crop(Box(200, 100, 90, 90), (640, 480)) == Box(155, 55, 180, 180)

    def test_moves_into_the_image(self):
        assert frame_crop(Box(0, 10, 90, 90), (640, 480)) == Box(0, 0, 180, 180)
        assert frame_crop(Box(540, 380, 90, 90), (640, 480)) == Box(460, 300, 180, 180)

    def test_shrinks_to_the_largest_square_that_fits(self):
        assert frame_crop(Box(50, 40, 110, 110), (300, 200)) == Box(5, 0, 200, 200)

    def test_reaches_over_the_edge_rather_than_cut_the_chin(self):
        # 1.25 face sides are 225 pixels, 25 more than the image is high: 12 above and 13 below it.
        assert frame_crop(Box(20, 10, 180, 180), (300, 200)) == Box(0, -12, 225, 225)

    def test_of_a_clip_follows_the_median_not_the_mean(self):
        faces = [Box(200, 100, 90, 90)] * 5 + [Box(210, 100, 90, 90)]
        assert clip_crop(faces, (640, 480), scale=2.0).x == 155


class TestFrameCrop:
    @settings(deadline=None)
    @given(image_and_face())
    def test_holds_the_face_in_a_whole_pixel_square(self, case):
        (width, height), face = case
        crop = frame_crop(face, (width, height))
        assert crop.w == crop.h
        assert all(value == int(value) for value in (crop.x, crop.y, crop.w))
        assert holds(crop, face)
        assert crop.w >= 1.25 * face.side - 1
        assert crop.w <= FRAME_SCALE * face.side + 1
        if crop.w <= min(width, height):
            assert holds(Box(0, 0, width, height), crop)

    @pytest.mark.parametrize("box", [Box(5, 5, 0, 9), Box(100, 5, 9, 9), Box(-20, 5, 10, 10)])
    def test_refuses_an_empty_or_outlying_box(self, box):
        with pytest.raises(UsageError, match="x,y,w,h"):
            frame_crop(box, (100, 80))


class TestClipCrop:
    def test_of_a_still_face_is_its_frame_crop(self):
        face = Box(200, 100, 90, 90)
        assert clip_crop([face] * 5, (640, 480)) == frame_crop(face, (640, 480))

    def test_grows_for_a_face_that_moves_far(self):
        faces = [Box(x, 200, 90, 90) for x in range(100, 400, 20)]
        crop = clip_crop(faces, (640, 480))
        assert all(holds(crop, face.scaled(1.3)) for face in faces)
        assert crop.w < 440

    def test_needs_a_box(self):
        with pytest.raises(UsageError):
            clip_crop([], (640, 480))

    @settings(deadline=None)
    @given(sizes, st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=8))
    def test_holds_every_box(self, image_size, places):
        width, height = image_size
        faces = []
        for u, v, s in places:
            side = 8 + s * (min(width, height) - 8)
            faces.append(Box(u * (width - side), v * (height - side), side, side))
        crop = clip_crop(faces, image_size)
        assert crop.w == crop.h == int(crop.w)
        assert all(holds(crop, face) for face in faces)
        if crop.w <= min(width, height):
            assert holds(Box(0, 0, width, height), crop)


def test_a_crop_by_hand_becomes_a_square_inside_the_image():
    assert square_crop(Box(10, 20, 100, 60), (300, 200)) == Box(10, 0, 100, 100)
    with pytest.raises(UsageError):
        square_crop(Box(400, 20, 100, 60), (300, 200))


class TestCropGeometry:
    @pytest.mark.parametrize("size", [64, 100, 150, 256])
    @pytest.mark.parametrize("crop", [Box(30, 60, 100, 100), Box(-30, 40, 100, 100)])
    @pytest.mark.parametrize("place", [(47.0, 120.5), (60.25, 77.0)])
    def test_a_dot_lies_where_the_transform_says(self, crop, size, place):
        expected = transform_points(crop_transform(crop, size), np.array(place))
        seen = centroid(crop_image(dots(160, 190, [place], radius=3), crop, size))
        # A swapped axis or a flip is off by tens of pixels, a wrong half-pixel rule by 0.2 and more.
        assert seen == pytest.approx(expected, abs=0.06)

    @settings(deadline=None)
    @given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 999), st.integers(1, 999))
    def test_points_come_back(self, x, y, side, size):
        crop = Box(x, y, side, side)
        points = np.array([[[-3.0, 7.5], [100.25, -40.0]], [[0.0, 0.0], [12.0, 5.0]]])
        there = transform_points(crop_transform(crop, size), points)
        back = transform_points(inverse_crop_transform(crop, size), there)
        assert there.shape == points.shape
        assert back == pytest.approx(points, abs=1e-6)

    def test_crop_at_its_own_size_is_a_slice(self):
        image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
        crop = Box(20, 10, 40, 40)
        assert np.array_equal(crop_image(image, crop, 40), image[10:50, 20:60])

    def test_repeats_the_edge_outside_the_image(self):
        image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
        cropped = crop_image(image, Box(-10, -5, 60, 60), 60)
        assert np.array_equal(cropped[5:45, 10:60], image)
        assert np.array_equal(cropped[5:45, 0], image[:, 0])
        assert np.array_equal(cropped[-1, 10:60], image[-1])

    def test_refuses_what_is_no_whole_pixel_square(self):
        image = np.zeros((40, 50, 3), np.uint8)
        for crop in (Box(1.5, 0, 20, 20), Box(0, 0, 20, 10)):
            with pytest.raises(ValueError, match="whole-pixel square"):
                crop_image(image, crop, 16)
        with pytest.raises(UsageError):
            crop_image(image, Box(60, 0, 20, 20), 16)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (Box(0, 0, math.inf, 10), "numbers"),
        (Box(0, 0, 10, math.nan), "numbers"),
        (Box(-math.inf, 0, 10, 10), "numbers"),
        (Box(0, 0, -5, 10), "empty"),
        (Box(0, 0, 0, 10), "empty"),
        (Box(640, 0, 10, 10), "outside"),
        (Box(-20, 0, 20, 20), "outside"),
        (Box(0, 0, 40_000, 40_000), "3 times as large"),
        (Box(-20_000, -20_000, 40_000, 40_000), "3 times as large"),
    ],
)
def test_crops_that_cannot_be_are_refused_before_memory_is_taken(box: Box, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        square_crop(box, (640, 480))
    if said != "numbers":
        with pytest.raises(UsageError, match=said):  # where the size was not known before
            crop_image(np.zeros((480, 640, 3), np.uint8), Box(box.x, box.y, box.w, box.w), 64)


@pytest.mark.parametrize(
    ("zoom", "shift"), [(0.1, (0, 0)), (math.nan, (0, 0)), (9, (0, 0)), (1, (1.5, 0)), (1, (0, math.nan))]
)
def test_framings_out_of_range_are_refused(zoom: float, shift: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="give"):
        Framing(zoom, shift)


def test_a_framing_is_nearer_and_beside() -> None:
    crop = Framing(1.25, (0.5, -0.25)).around(Box(200, 100, 100, 100), (640, 480))
    assert crop == Box(250, 90, 80, 80)
    with pytest.raises(UsageError, match="outside"):
        Framing(1.0, (1.0, 0.0)).around(Box(540, 100, 100, 100), (640, 480))
