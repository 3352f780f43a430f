"""LivePortrait's motion against the authors' own, region by region, and what lies between the regions."""

import math
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceanim_cli.motion.best_frame import closest_frame
from faceanim_cli.motion.limits import OutOfRange
from faceanim_cli.motion.liveportrait_transfer import EYES, LIPS, LivePortraitTransfer, scaled_rotations
from faceanim_cli.motion.motion_batch import part_of
from faceanim_cli.motion.retargeting import Retargeting
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.weights.liveportrait import import_liveportrait
from faceanim_models.liveportrait.motion_extractor import HeadMotion, rotation_matrix

REFERENCE = Path(__file__).parents[2].parent / "shared" / "liveportrait" / "reference"

free = partial(MotionSettings, clamp=False)  # as the authors, who hold nothing back
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
    return part_of(motion, slice(1))


@needs_reference
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize(
    ("region", "settings"),
    [("", {}), ("_only_exp", {"pose": 0.0}), ("_only_pose", {"expression": 0.0})],
)
def test_regions_are_the_authors(motion, relative, region, settings):
    source, driving = motion
    wanted = np.load(REFERENCE / "motion.npz")[f"{'relative' if relative else 'absolute'}{region}"]
    transfer = LivePortraitTransfer(source, first(driving), free(relative=relative, **settings))
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
    settings = free(pose=0.0, **{other: 0.0})
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
        LivePortraitTransfer(source, first(driving), free(pose=0.0, expression=e)).follow(driving)
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


def heads(yaw, size=1.2, right=0.0, lips=0.0):
    """One frame for each angle in degrees, with the same face; a driver knows no canonical keypoints."""
    yaw, size, right, lips = torch.broadcast_tensors(
        *(torch.tensor(values, dtype=torch.float32) for values in (yaw, size, right, lips))
    )
    zero = torch.zeros_like(yaw)
    expression = torch.zeros(len(yaw), 21, 3)
    expression[:, 19, 1] = lips
    return HeadMotion(
        rotation_matrix(zero, yaw, zero), expression, size[:, None], torch.stack((right, zero, zero), 1)
    )


def photo():
    canonical = torch.randn(1, 21, 3, generator=torch.Generator().manual_seed(0))
    return heads([0.0])._replace(canonical=canonical)


def test_a_head_that_turns_too_far_slows_down_and_is_noted():
    driving, beyond = heads([0.0, 30.0, 60.0, 90.0]), OutOfRange()
    seen = LivePortraitTransfer(photo(), first(driving)).follow(driving, 10, beyond)
    assert str(beyond) == "12-13 (head turned)"
    free_ = LivePortraitTransfer(photo(), first(driving), free()).follow(driving)
    assert torch.equal(seen[:2], free_[:2])  # within the limit nothing changes
    # 45 degrees, then 22.5 tanh((60 - 45) / 22.5) more.
    wanted = heads([45 + 22.5 * math.tanh(15 / 22.5), 45 + 22.5 * math.tanh(45 / 22.5)])
    canonical = photo().canonical
    torch.testing.assert_close(seen[2:], 1.2 * (canonical @ wanted.rotation), rtol=0, atol=1e-5)


def test_heads_that_come_too_near_or_leave_are_held_back():
    driving, beyond = heads([0.0] * 3, [1.2, 1.2 * 3, 1.2], [0.0, 0.0, 2.0]), OutOfRange()
    seen = LivePortraitTransfer(photo(), first(driving)).follow(driving, 0, beyond)
    assert str(beyond) == "1 (head nearer or farther), 2 (head moved away)"
    size = torch.linalg.norm(seen - seen.mean(1, keepdim=True), dim=(1, 2))
    assert 1.5 < float(size[1] / size[0]) < 1.5**1.5
    assert 0.5 < float(seen[2, 0, 0] - seen[0, 0, 0]) < 0.75


def test_a_steadied_driver_jitters_less_and_its_rotations_stay_rotations():
    jitter = torch.randn(40, generator=torch.Generator().manual_seed(0))
    driving = heads((0.3 * jitter).tolist(), lips=(0.0005 * jitter).tolist())
    moved = []
    for smooth in (0.0, 1.0):
        follow = Retargeting(photo(), (), MotionSettings(smooth=smooth))
        moved.append(torch.cat([follow(part_of(driving, slice(i, i + 8))).points for i in range(0, 40, 8)]))
    plain, steady = (points.diff(dim=0).abs().mean() for points in moved)
    assert steady < 0.5 * plain
    spread = [torch.cdist(points, points) for points in moved]
    rest = [k for k in range(21) if k != 19]
    torch.testing.assert_close(spread[1][:, rest][..., rest], spread[0][:, rest][..., rest])


def test_motion_counts_from_the_frame_whose_pose_and_lips_are_the_photos():
    driving = heads([-20.0, 10.0, 0.0, 0.0], lips=[0.0, 0.0, 0.03, 0.001])
    assert closest_frame(photo(), driving, ()) == 3
    turned = photo()._replace(rotation=heads([-18.0]).rotation)
    assert closest_frame(turned, driving, ()) == 0


def test_shapes_of_faces_do_not_count_when_frames_are_compared():
    """Expression's entries that carry identity are another face's, not another expression."""
    driving = heads([5.0, 0.0])
    driving.expression[:, 7] = 1.0
    assert closest_frame(photo(), driving, ()) == 1


def test_what_mends_is_asked_last():
    driving = heads([0.0, 10.0])
    plain = Retargeting(photo(), (), MotionSettings())(driving).points
    seen = Retargeting(photo(), (), MotionSettings(), mend=lambda points: points + 1)(driving).points
    torch.testing.assert_close(seen, plain + 1)
