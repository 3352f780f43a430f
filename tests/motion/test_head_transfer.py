"""Steering against heads that were turned, shifted and made to speak by hand."""

import numpy as np
import pytest
import torch

from faceanim_cli.data.landmarks import DENSE_ANCHORS, PAPER_ANCHORS, anchored_keypoints
from faceanim_cli.errors import UsageError
from faceanim_cli.evaluation.landmark_metrics import head_angles
from faceanim_cli.motion.head_model import HEAD
from faceanim_cli.motion.head_transfer import HeadTransfer
from faceanim_cli.motion.limits import OutOfRange
from faceanim_cli.motion.retargeting import Retargeting
from faceanim_cli.motion.settings import FAITHFUL, MotionSettings
from faceanim_models import Keypoints

MOUTH = [k for k, group in enumerate(DENSE_ANCHORS) if min(group) >= 48 or group == (8,)]
LIDS = [k for k, group in enumerate(DENSE_ANCHORS) if group in ((37, 38), (40, 41), (43, 44), (46, 47))]
BROWS = [k for k, group in enumerate(DENSE_ANCHORS) if 17 <= min(group) <= 26]
BONE = [k for k in range(29) if k not in MOUTH + LIDS + BROWS]


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def speaking(opening: float = 0.0, blink: float = 0.0, raised: float = 0.0) -> np.ndarray:
    """The mean head (68, 3) with its lower lip and chin down, its lids together and its brows up."""
    head = HEAD.copy()
    head[[8, 57, 65, 66, 67], 1] += opening
    head[[37, 38, 43, 44], 1] += blink / 2
    head[[40, 41, 46, 47], 1] -= blink / 2
    head[17:27, 1] -= raised
    return head


def seen(
    head: np.ndarray, turn: np.ndarray, scale: float = 0.3, at: tuple[float, float] = (0.0, -0.1)
) -> np.ndarray:
    """Keypoints (29, 2) of a head (68, 3) in weak perspective."""
    return anchored_keypoints((head @ turn.T)[:, :2] * scale + at, DENSE_ANCHORS)


def follow(
    source: np.ndarray, reference: np.ndarray, driving: np.ndarray, settings: MotionSettings = FAITHFUL
) -> np.ndarray:
    return HeadTransfer(source, reference, DENSE_ANCHORS, settings).follow(driving[None])[0]


WIDE = speaking() * (1.05, 0.93, 1.0)  # the photo's person has another head
PHOTO = seen(WIDE, rotation(5, 3, -8), 0.4, (0.1, 0.0))
REST = seen(speaking(), rotation())


def test_a_driver_that_has_not_moved_leaves_the_photo_as_it_is() -> None:
    np.testing.assert_allclose(follow(PHOTO, REST, REST), PHOTO, atol=1e-9)


def test_counted_from_the_photo_itself_motion_is_absolute() -> None:
    driving = seen(speaking(0.2, 0.02), rotation(25, -10, 12), 0.35, (0.2, 0.1))
    np.testing.assert_allclose(follow(PHOTO, PHOTO, driving), driving, atol=1e-9)


@pytest.mark.parametrize("turn", [(25, 0, 0), (0, 12, 0), (0, 0, -20), (15, -8, 10)])
def test_the_photos_own_head_turns_as_the_drivers(turn: tuple[float, float, float]) -> None:
    moved = follow(PHOTO, REST, seen(speaking(), rotation(*turn), 0.33, (0.06, -0.1)))
    # The driver starts at the front: the photo's head turns by the same rotation, in the picture's axes.
    wanted = seen(WIDE, rotation(*turn) @ rotation(5, 3, -8), 0.44)
    # Where it lies: the centre of the bone shifts by the driver's shift, in face sizes.
    np.testing.assert_allclose(moved - moved[BONE].mean(0), wanted - wanted[BONE].mean(0), atol=0.012)


@pytest.mark.parametrize("turn", [(0, 0, 0), (25, 0, 0), (0, 12, 0), (10, -8, 15)])
def test_without_pose_the_head_stays_and_the_mouth_opens(turn: tuple[float, float, float]) -> None:
    driving = seen(speaking(0.2, 0.03, 0.1), rotation(*turn), 0.36, (0.2, 0.1))
    moved = follow(REST, REST, driving, MotionSettings(pose=0))
    own = seen(speaking(0.2, 0.03, 0.1), rotation())
    head = np.linalg.norm(moved - REST, axis=1)[BONE].max()
    assert head < 0.02 * np.linalg.norm(driving - REST, axis=1)[BONE].max() + 1e-9
    np.testing.assert_allclose(moved, own, atol=0.1 * 0.2 * 0.3)  # a tenth of the mouth's opening


@pytest.mark.parametrize("turn", [(25, 0, 0), (0, 12, 0), (10, -8, 15)])
def test_without_expression_the_head_turns_and_the_mouth_stays_shut(turn: tuple[float, float, float]) -> None:
    driving = seen(speaking(0.2, 0.03, 0.1), rotation(*turn), 0.36, (0.2, 0.1))
    moved = follow(REST, REST, driving, MotionSettings(expression=0))
    np.testing.assert_allclose(moved, seen(speaking(), rotation(*turn), 0.36, (0.2, 0.1)), atol=0.006)
    assert head_angles(moved, DENSE_ANCHORS) == pytest.approx(turn, abs=1.5)


@pytest.mark.parametrize(
    ("settings", "moves"),
    [
        (MotionSettings(mouth=0), LIDS + BROWS),
        (MotionSettings(eyes=0), MOUTH + BROWS),
        (MotionSettings(mouth=0, eyes=0), BROWS),
        (MotionSettings(expression=0), []),
    ],
)
def test_regions_are_stilled_one_by_one(settings: MotionSettings, moves: list[int]) -> None:
    driving = seen(speaking(0.15, 0.02, 0.1), rotation())
    with_it = follow(REST, REST, driving)
    without = follow(REST, REST, driving, settings)
    stilled = [k for k in range(29) if k not in moves]
    np.testing.assert_allclose(without[stilled], REST[stilled], atol=2e-3)
    np.testing.assert_allclose(without[moves], with_it[moves], atol=1e-9)


def test_multipliers_scale_and_multiply() -> None:
    driving = seen(speaking(0.1), rotation())
    lip = DENSE_ANCHORS.index((66,))
    plain = follow(REST, REST, driving)[lip, 1] - REST[lip, 1]
    for settings, factor in (
        (MotionSettings(mouth=2), 2),
        (MotionSettings(expression=0.5), 0.5),
        (MotionSettings(expression=0.5, mouth=2), 1),
        (MotionSettings(eyes=0), 1),
    ):
        moved = follow(REST, REST, driving, settings)[lip, 1] - REST[lip, 1]
        assert moved == pytest.approx(factor * plain, rel=1e-6)


@pytest.mark.parametrize(("relative", "factor"), [(True, 1.1), (False, 1.0)])
def test_relative_motion_asks_the_networks_for_more_of_the_mouth(relative: bool, factor: float) -> None:
    lip = DENSE_ANCHORS.index((66,))
    photo, driving = (
        Keypoints(torch.from_numpy(points)[None]) for points in (REST, seen(speaking(0.05), rotation()))
    )
    retargeting = Retargeting(photo, DENSE_ANCHORS, MotionSettings(relative=relative), reference=photo)
    moved = retargeting(driving).points[0, lip, 1] - photo.points[0, lip, 1]
    asked = driving.points[0, lip, 1] - photo.points[0, lip, 1]
    assert float(moved / asked) == pytest.approx(factor, rel=0.02)


def test_half_the_pose_is_half_the_turn() -> None:
    driving = seen(speaking(), rotation(24, 0, 0))
    assert head_angles(follow(REST, REST, driving, MotionSettings(pose=0.5)), DENSE_ANCHORS)[
        0
    ] == pytest.approx(12, abs=0.7)


UPPER_LIP, LOWER_LIP = DENSE_ANCHORS.index((62,)), DENSE_ANCHORS.index((66,))
UPPER_LID, LOWER_LID = DENSE_ANCHORS.index((37, 38)), DENSE_ANCHORS.index((40, 41))
SHUT = speaking(-0.089)


def lip_gap(points: np.ndarray) -> float:
    """Between the inner lips, in distances of the outer eye corners."""
    return float(points[LOWER_LIP, 1] - points[UPPER_LIP, 1]) / 0.3


def test_lips_do_not_pass_each_other() -> None:
    """The driver's lips are a little apart in the reference frame, the photo's are not; he closes them."""
    apart, shut = seen(speaking(-0.06), rotation()), seen(SHUT, rotation())
    assert lip_gap(follow(shut, apart, shut)) < -0.02  # what would be
    assert lip_gap(follow(shut, apart, shut, MotionSettings())) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("opening", [0.0, 0.05, 0.1, 0.2, 0.25])
def test_a_driver_who_begins_with_an_open_mouth_moves_one_that_is_shut(opening: float) -> None:
    """He talks on, and so does the photo, whose mouth was never as far open."""
    begun, now = seen(speaking(0.15 - 0.089), rotation()), seen(speaking(opening - 0.089), rotation())
    moved = follow(seen(SHUT, rotation()), begun, now, MotionSettings())
    assert lip_gap(moved) == pytest.approx(max(0.0, opening - 0.03), abs=0.012)
    chin = DENSE_ANCHORS.index((8,))
    assert (moved[chin, 1] > seen(SHUT, rotation())[chin, 1] + 0.01) == (opening > 0.1)


def test_a_mouth_that_is_open_already_opens_further_from_there() -> None:
    shut, now = seen(SHUT, rotation()), seen(speaking(0.1 - 0.089), rotation())
    smiling = seen(speaking(0.15 - 0.089), rotation())
    assert lip_gap(follow(smiling, shut, shut, MotionSettings())) == pytest.approx(0.15, abs=1e-6)
    assert lip_gap(follow(smiling, shut, now, MotionSettings())) == pytest.approx(0.25, abs=0.01)


def eyes(gap: float) -> np.ndarray:
    """The mean head's keypoints with so much between the lids, in distances of the outer eye corners."""
    usual = HEAD[[40, 41], 1].mean() - HEAD[[37, 38], 1].mean()
    return seen(speaking(blink=usual - gap), rotation())


def lid_gap(points: np.ndarray) -> float:
    return float(points[LOWER_LID, 1] - points[UPPER_LID, 1]) / 0.3


@pytest.mark.parametrize(("photo", "driver"), [(0.065, 0.085), (0.105, 0.08), (0.09, 0.09)])
def test_lids_are_shut_where_the_drivers_are_however_far_either_opens_them(
    photo: float, driver: float
) -> None:
    """Lids with 0.012 between them, in the distance of the outer eye corners, are shut."""

    def gap(now: float) -> float:
        return lid_gap(follow(eyes(photo), eyes(driver), eyes(now)))

    assert gap(driver) == pytest.approx(photo, abs=1e-6)
    assert gap(0.012) == pytest.approx(0.012, abs=2e-3)
    assert gap((driver + 0.012) / 2) == pytest.approx((photo + 0.012) / 2, abs=2e-3)
    further = 0.02 * min(1, (driver - 0.012) / (photo - 0.012))  # wide eyes have less room
    assert gap(driver + 0.02) == pytest.approx(photo + further, abs=2e-3)


@pytest.mark.parametrize("settings", [FAITHFUL, MotionSettings()])
def test_a_driver_who_begins_in_a_blink_does_not_open_the_photos_eyes_wide(settings: MotionSettings) -> None:
    photo, begun = eyes(0.09), eyes(0.012)
    assert lid_gap(follow(photo, begun, eyes(0.012), settings)) < 0.015  # still shut
    assert lid_gap(follow(photo, begun, eyes(0.09), settings)) < 0.09 + 0.02  # not 0.168


def test_eyes_open_as_wide_as_they_have_been_seen_to_at_most() -> None:
    """99 of 100 training frames have 0.124 or less between the lids."""
    startled = follow(eyes(0.09), eyes(0.09), eyes(0.2), MotionSettings())
    assert 0.124 < lid_gap(startled) < 1.5 * 0.124
    assert lid_gap(follow(eyes(0.09), eyes(0.09), eyes(0.2))) == pytest.approx(0.2, abs=2e-3)
    wide = eyes(0.15)  # a photo whose eyes are open wider may keep them so
    assert lid_gap(follow(wide, eyes(0.13), eyes(0.13), MotionSettings())) == pytest.approx(0.15, abs=2e-3)


def test_a_turn_beyond_the_trained_range_slows_down_and_is_noted() -> None:
    transfer, beyond = HeadTransfer(REST, REST, DENSE_ANCHORS), OutOfRange()
    yaws = np.arange(0, 84, 4)
    driving = np.stack([seen(speaking(), rotation(yaw)) for yaw in yaws])
    moved = np.concatenate([transfer.follow(driving[:9], 0, beyond), transfer.follow(driving[9:], 9, beyond)])
    angles = head_angles(moved, DENSE_ANCHORS)[:, 0]
    inside = yaws <= 32
    np.testing.assert_allclose(moved[inside], driving[inside], atol=1e-6)
    assert (np.diff(angles) > -0.2).all()  # it never turns back
    assert angles.max() < 55
    assert str(beyond).startswith("9-20 (head turned)")


@pytest.mark.parametrize("at", [(0.9, 0.0), (-0.7, 0.7)])
def test_a_head_that_leaves_its_place_is_held_back(at: tuple[float, float]) -> None:
    moved = follow(REST, REST, REST + at, MotionSettings())
    shift = moved[BONE].mean(0) - REST[BONE].mean(0)
    assert np.linalg.norm(shift) < 0.9 * 1.5 * 0.3 + 1e-6
    assert np.allclose(shift / np.linalg.norm(shift), np.array(at) / np.linalg.norm(at), atol=1e-3)


WITH_PUPILS = (*DENSE_ANCHORS, (68,), (69,))


def looking(right: float, turn: np.ndarray | None = None) -> np.ndarray:
    """Keypoints (31, 2) of the mean head, its pupils moved by ``right`` eye widths."""
    head = HEAD.copy()
    head[[68, 69], 0] += right * (HEAD[39, 0] - HEAD[36, 0])
    return anchored_keypoints((head @ (rotation() if turn is None else turn).T)[:, :2] * 0.3, WITH_PUPILS)


@pytest.mark.parametrize(("settings", "share"), [({}, 1.0), ({"gaze": 0.0}, 0.0), ({"gaze": 2.0}, 2.0)])
def test_the_gaze_follows_as_far_as_it_is_told(settings: dict[str, float], share: float) -> None:
    transfer = HeadTransfer(looking(0), looking(0), WITH_PUPILS, MotionSettings(**settings))
    turned = rotation(10)
    seen_now = transfer.follow(looking(0.1, turned)[None])[0]
    wanted = looking(0.1 * share, turned)
    np.testing.assert_allclose(seen_now, wanted, atol=2e-3)


def test_pupils_stay_between_the_corners_of_their_eyes() -> None:
    moved = HeadTransfer(looking(0), looking(0), WITH_PUPILS).follow(looking(0.6)[None])[0]
    left, right = moved[0], moved[1]  # 36, 39
    assert left[0] < moved[29, 0] < right[0] - 0.15 * (right[0] - left[0])


def test_weights_without_pupils_have_no_gaze_to_steer() -> None:
    with pytest.raises(UsageError, match="--gaze: these weights have no keypoints on the pupils"):
        HeadTransfer(REST, REST, DENSE_ANCHORS, MotionSettings(gaze=0))


@pytest.mark.parametrize("anchors", [(), ((30,), (8,), (48,), (54,))])
def test_keypoints_that_know_no_head_cannot_be_steered(anchors: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(UsageError, match=r"--pose, --mouth.*anchored"):
        HeadTransfer(REST, REST, anchors, MotionSettings(pose=0, mouth=2))


def test_the_papers_ten_have_no_lids_to_steer_but_a_head() -> None:
    points = anchored_keypoints(HEAD[:, :2] * 0.3, PAPER_ANCHORS)
    with pytest.raises(UsageError, match="lids"):
        HeadTransfer(points, points, PAPER_ANCHORS, MotionSettings(eyes=0))
    turned = anchored_keypoints((HEAD @ rotation(15).T)[:, :2] * 0.3, PAPER_ANCHORS)
    stilled = HeadTransfer(points, points, PAPER_ANCHORS, MotionSettings(pose=0)).follow(turned[None])[0]
    assert np.abs(stilled - points).max() < 0.2 * np.abs(turned - points).max()


@pytest.mark.parametrize("value", [-0.1, 2.5, float("nan")])
def test_a_multiplier_out_of_range_is_named(value: float) -> None:
    with pytest.raises(UsageError, match="--mouth"):
        MotionSettings(mouth=value)
