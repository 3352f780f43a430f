"""Pasting back: what stays, what fades where, and that no seam shows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceanim_cli.errors import UsageError
from faceanim_cli.faces import Box, Patch, crop_image, edge_distance, motion_reach, seam_mask
from faceanim_cli.faces.compositing import REACH, SEAM

SIZE = (230, 170)


def smooth_image():
    noise = np.random.default_rng(1).random((6, 8, 3))
    ys, xs = np.linspace(0, 4.999, SIZE[1]), np.linspace(0, 6.999, SIZE[0])
    y, x = ys.astype(int), xs.astype(int)
    fy, fx = (ys - y)[:, None, None], (xs - x)[None, :, None]
    rows = noise[y] * (1 - fy) + noise[y + 1] * fy
    return np.rint(255 * (rows[:, x] * (1 - fx) + rows[:, x + 1] * fx)).astype(np.uint8)


def distance(crop, others=()):
    return edge_distance(crop, SIZE, crop.scaled(0.5), others)


def paste(image, face_frame, crop, others=()):
    result = image.copy()
    Patch(image, crop, distance(crop, others)).paste(result, face_frame)
    return result


@pytest.mark.parametrize("crop", [Box(40, 30, 100, 100), Box(0, 70, 100, 100), Box(-40, -60, 300, 300)])
def test_an_unmoved_crop_gives_the_photo_back(crop):
    image = smooth_image()
    assert np.abs(paste(image, crop_image(image, crop, int(crop.w)), crop).astype(int) - image).max() <= 1
    for size in (64, 256):
        error = np.abs(paste(image, crop_image(image, crop, size), crop).astype(int) - image)
        assert error.mean() < 1
        assert error.max() < 25


def test_the_photo_outside_the_crop_is_untouched_and_the_edge_is_soft():
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    crop = Box(40, 30, 100, 100)
    face = np.zeros((64, 64, 3), np.uint8)
    face[8:56, 8:56] = 200  # another picture, but the same at the border
    result = paste(image, face, crop)
    outside = np.ones(image.shape[:2], bool)
    outside[30:130, 40:140] = False
    assert not result[outside].any()
    assert (result[50:110, 60:120] == 200).all()
    mask = seam_mask(distance(crop))
    assert mask[50, 50] == 1
    assert 0 < mask[50, 0] < 0.1
    assert (np.diff(mask[50, :50]) >= 0).all()
    assert np.abs(np.diff(mask[50])).max() < 0.4  # no step in the fading


def test_does_not_fade_where_the_photo_ends():
    image = np.zeros((100, 100, 3), np.uint8)
    face = np.full((64, 64, 3), 200, np.uint8)
    for crop in (Box(0, 0, 100, 100), Box(-20, -20, 140, 140)):
        d = edge_distance(crop, (100, 100), crop.scaled(0.5), ())
        assert (motion_reach(d) == 1).all()
        result = image.copy()
        Patch(image, crop, d).paste(result, face)
        assert (result == 200).all()


def test_where_the_picture_fades_nothing_moves():
    for crop in (Box(40, 30, 100, 100), Box(0, 70, 100, 100)):
        d = distance(crop, [Box(150, 60, 60, 60)])
        mask, reach = seam_mask(d), motion_reach(d)
        assert (reach[mask < 1] == 0).all()
        assert (reach[d >= SEAM + REACH] == 1).all()
        assert reach[50, 50] == 1


def test_a_neighbour_keeps_its_half():
    crop, other = Box(40, 30, 100, 100), Box(115, 55, 50, 50)  # two faces of 50 pixels, centres 50 apart
    d = distance(crop, [other])
    xs = np.arange(100) + 40.5
    assert (d[50, xs > 115] < 0).all()  # half-way between 90 and 140
    assert (seam_mask(d)[50, xs > 115] == 0).all()
    assert (seam_mask(d)[50, xs < 108] == 1)[20:].all()
    theirs = edge_distance(Box(90, 30, 100, 100), SIZE, other, [crop.scaled(0.5)])
    ours = seam_mask(d)[:, 50:]
    assert not (ours * seam_mask(theirs)[:, :50]).any()  # no pixel is painted by both


def test_a_large_face_keeps_more_of_the_space_between():
    d = edge_distance(Box(0, 0, 160, 160), SIZE, Box(20, 20, 100, 100), [Box(150, 50, 25, 25)])
    border = int(np.argmax(d[65] < 0))
    assert border - 70 == pytest.approx(4 * (162.5 - border), abs=8)  # from 70 to 162.5 as 100 to 25


@pytest.mark.parametrize("tint", [(9, -6, 4), (-15, -15, -15)])
def test_a_colour_cast_of_the_networks_is_taken_away(tint):
    image = (smooth_image() // 2 + 60).astype(np.uint8)
    crop = Box(40, 30, 100, 100)
    cast = (crop_image(image, crop, 100).astype(int) + tint).astype(np.uint8)
    error = paste(image, cast, crop).astype(int) - image
    assert np.abs(error).max() <= 2


def test_moved_contents_do_not_pass_for_a_colour_cast():
    image = (smooth_image() // 2 + 60).astype(np.uint8)
    crop = Box(40, 30, 100, 100)
    face = crop_image(image, crop, 100)
    face[25:75, 25:75] = 255
    result = paste(image, face, crop).astype(int)
    assert np.abs(result[56:104, 66:114] - 255).max() <= 2
    assert np.abs(result[30:50, 40:140] - image[30:50, 40:140]).max() <= 2


def test_pasting_leaves_the_photo_as_it_is():
    image = smooth_image()
    before = image.copy()
    paste(image, np.zeros((64, 64, 3), np.uint8), Box(40, 30, 100, 100))
    assert np.array_equal(image, before)


@settings(max_examples=30, deadline=None)
@given(st.integers(-60, 200), st.integers(-60, 150), st.integers(1, 260))
def test_any_crop_that_touches_the_photo_works(x, y, side):
    image, crop = smooth_image(), Box(x, y, side, side)
    if x + side <= 0 or y + side <= 0:
        with pytest.raises(UsageError):
            Patch(image, crop, distance(crop))
        return
    assert np.abs(paste(image, crop_image(image, crop, side), crop).astype(int) - image).max() <= 1
