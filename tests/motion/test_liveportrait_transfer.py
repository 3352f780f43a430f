"""LivePortrait's motion against the authors' own, region by region, and what lies between the regions."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceanim_cli.motion.liveportrait_transfer import EYES, LIPS, LivePortraitTransfer, scaled_rotations
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.weights.liveportrait import import_liveportrait
from faceanim_models.liveportrait.motion_extractor import HeadMotion, rotation_matrix

REFERENCE = Path(__file__).parents[2].parent / "shared" / "liveportrait" / "reference"

needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference outputs are not here")


@pytest.fixture(scope="module")
def motion():
    """Of the photo, and of four driving frames, as the reference's own network sees them."""
    model = import_liveportrait(sorted((REFERENCE / "liveportrait").glob("*/*.pth")))
    names = ("source", *(f"driving_{i}" for i in range(4)))
    frames = [cv2.imread(str(REFERENCE / f"{name}.png"))[..., ::-1] for name in names]
    with torch.inference_mode():
        seen = model.motion(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255)
    return HeadMotion(*(t[:1] for t in seen)), HeadMotion(*(t[1:] for t in seen))


def first(motion):
    return HeadMotion(*(t[:1] for t in motion))


@needs_reference
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize(
    ("region", "settings"),
    [("", {}), ("_only_exp", {"pose": 0.0}), ("_only_pose", {"expression": 0.0})],
)
def test_regions_are_the_authors(motion, relative, region, settings):
    source, driving = motion
    wanted = np.load(REFERENCE / "motion.npz")[f"{'relative' if relative else 'absolute'}{region}"]
    transfer = LivePortraitTransfer(source, first(driving), MotionSettings(relative=relative, **settings))
    np.testing.assert_allclose(transfer.follow(driving), wanted, atol=1e-4)


@needs_reference
@pytest.mark.parametrize(("region", "keypoints", "other"), [("lip", LIPS, "mouth"), ("eyes", EYES, "eyes")])
def test_lips_and_eyes_are_the_authors_keypoints(motion, region, keypoints, other):
    """Without the region's share, its keypoints do what the authors' ``pose`` region has them do: nothing."""
    source, driving = motion
    reference = np.load(REFERENCE / "motion.npz")
    wanted = reference["relative_only_exp"].copy()
    still = reference["keypoints_source"]
    alone = reference[f"relative_only_{region}"]
    moved = np.abs(alone - still).max((0, 2)) > 1e-6
    assert tuple(np.flatnonzero(moved)) == keypoints
    wanted[:, list(keypoints)] = still[:, list(keypoints)]
    settings = MotionSettings(pose=0.0, **{other: 0.0})
    seen = LivePortraitTransfer(source, first(driving), settings).follow(driving)
    np.testing.assert_allclose(seen, wanted, atol=1e-4)


@needs_reference
def test_the_reference_frame_leaves_the_photo_as_it_is(motion):
    source, driving = motion
    seen = LivePortraitTransfer(source, first(driving)).follow(first(driving))
    torch.testing.assert_close(seen, source.keypoints())


@needs_reference
def test_half_an_expression_is_half_way(motion):
    source, driving = motion
    none, half, whole = (
        LivePortraitTransfer(source, first(driving), MotionSettings(pose=0.0, expression=e)).follow(driving)
        for e in (0.0, 0.5, 1.0)
    )
    torch.testing.assert_close(half, (none + whole) / 2)


def test_half_a_turn_is_half_the_angle():
    zero, angle = torch.tensor([0.0]), torch.tensor([40.0])
    turned = rotation_matrix(angle, zero, zero)
    torch.testing.assert_close(scaled_rotations(turned, 0.5), rotation_matrix(angle / 2, zero, zero))
    torch.testing.assert_close(scaled_rotations(turned, 0.0), torch.eye(3)[None])
    assert math.isclose(
        float(scaled_rotations(turned, 2.0)[0, 1, 1]), math.cos(math.radians(80)), abs_tol=1e-6
    )
