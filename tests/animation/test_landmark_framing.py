"""LivePortrait's framing against its authors' crops of the same landmarks."""

from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.animation.landmark_framer import DRIVER_FRAMING, PHOTO_FRAMING
from faceanim_cli.faces import Box

CROPS = Path(__file__).parents[2].parent / "shared" / "liveportrait" / "reference" / "crops.npz"

needs_reference = pytest.mark.skipif(not CROPS.is_file(), reason="the reference crops are not here")


@needs_reference
@pytest.mark.parametrize("face", [0, 1, 2])
def test_photos_are_framed_as_the_authors_do(face):
    crops = np.load(CROPS)
    scale, _, left = crops["source_to_crop_upright"][face][0]  # of a point to a crop of 512
    top = crops["source_to_crop_upright"][face][1, 2]
    seen = PHOTO_FRAMING.around(crops["landmarks68"][face].astype(np.float64))
    assert seen.w == seen.h == pytest.approx(512 / scale, rel=1e-4)
    # Their corner is a point; a box's corner is half a pixel before the point of the same place.
    assert (seen.x, seen.y) == pytest.approx((-left / scale + 0.5, -top / scale + 0.5), abs=0.02)


@needs_reference
@pytest.mark.parametrize("face", [0, 1, 2])
def test_drivers_are_framed_as_the_authors_do(face):
    crops = np.load(CROPS)
    seen = DRIVER_FRAMING.around(crops["landmarks68"][face].astype(np.float64))
    wanted = crops["driver_boxes"][face] + 0.5
    assert (seen.x, seen.y, seen.x + seen.w, seen.y + seen.h) == pytest.approx(tuple(wanted), abs=0.02)


def test_a_face_and_its_mirror_image_have_mirrored_frames():
    rng = np.random.default_rng(0)
    landmarks = rng.uniform(100, 200, (68, 2))
    landmarks[[36, 39, 42, 45]] = [[120, 120], [140, 122], [160, 124], [180, 126]]
    landmarks[[48, 54]] = [[130, 180], [165, 184]]
    mirrored = np.column_stack((299 - landmarks[:, 0], landmarks[:, 1]))
    plain, other = PHOTO_FRAMING.around(landmarks), PHOTO_FRAMING.around(mirrored)
    assert other.x == pytest.approx(300 - plain.x - plain.w)
    assert (other.y, other.w) == pytest.approx((plain.y, plain.w))


def test_a_box_alone_is_framed_about_alike():
    seen = PHOTO_FRAMING.around_box(Box(100, 100, 100, 100))
    assert (seen.x, seen.y, seen.w, seen.h) == pytest.approx((55.5, 46.7, 189.0, 189.0))
