"""Motion transfer of anchored keypoints, with head pose and expression apart.

The driver's keypoints are explained by a head in three dimensions (``head_model``), given the driver's own
shape: what a turned, shifted or nearer head explains is *pose*, what is left of lips, lids and brows is
*expression*. The photo's head, of its own shape, is then put into the driver's pose, counted from its own,
and takes on the driver's expression, each times its multiplier.

Against a similarity of the plane this keeps a turning head out of the expression. On clips in which heads
turn it leaves a sixth of the motion of eye corners, nose and jaw unexplained that a similarity leaves, and
two fifths of the mouth's motion that goes with the head's angles.
"""

import cv2
import numpy as np

from faceanim_cli.errors import UsageError
from faceanim_cli.motion import limits
from faceanim_cli.motion.head_model import (
    BROWS,
    EYES,
    HEAD,
    LOWER_JAW,
    MOUTH,
    MOUTH_OPENING,
    PUPILS,
    Anchors,
    HeadPose,
    anchor_means,
    bone_weights,
    fit_pose,
    on_bone,
)
from faceanim_cli.motion.limits import OutOfRange, held_back, shortened
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.pictures import Flags, Points

FEWEST_BONE = 3  # keypoints that a pose in three dimensions takes
FLATTEST = 0.5  # foreshortening of a turned face that expressions are made up for, at most (60 degrees)
INNER_LIPS = ({61: 67, 62: 66, 63: 65}, 0.0)  # upper to lower, and how near they come, in eye distances
LIDS = ({37: 41, 38: 40, 43: 47, 44: 46}, 0.012)  # what keypoints of closed eyes have between them
EYE_CORNERS = {68: (36, 39), 69: (42, 45)}  # of each pupil, from the picture's left to its right
# What the shipped weights are asked for so that another person's photo moves as much as the driver does: one
# over the share of what was asked for that a face mesh sees in their results, of what it sees in true frames
# (``models/README.md``).
AMPLIFIED = {"mouth": 1.1, "eyes": 1.1, "gaze": 1.3, "brows": 1.2}
# Eye distances: what one person's lips are open beyond another's without opening them, or eyes less.
AT_REST = 0.03
LID_RATIO = 0.4, 2.5  # how much less or more than the driver's lids the photo's close, at most
NEAREST_CORNER = 0.18  # share of the eye's width that a pupil keeps from its corners


class HeadTransfer:
    """What stays the same for a photo and a driver.

    Args:
        source: keypoints of the photo, (K, 2) in [-1, 1].
        reference: keypoints of the driver's reference frame, (K, 2): its pose and expression stand for the
            photo's. The photo's own keypoints make motion absolute.
        anchors: which landmarks (0-67) each keypoint is the mean of.
        settings: multipliers, in what sizes motion is measured, and whether to hold back what is beyond the
            trained range.
        amplified: what the networks take on too little of, mouth, lids and pupils, is asked for more.

    Raises:
        UsageError: steering that these keypoints do not allow.
    """

    def __init__(
        self,
        source: Points,
        reference: Points,
        anchors: Anchors,
        settings: MotionSettings | None = None,
        amplified: bool = False,
    ) -> None:
        self.settings = settings or MotionSettings()
        check_steering("animation", anchors, self.settings)
        self.weights = bone_weights(anchors)
        self.weights = self.weights / self.weights.sum()
        self.head = anchor_means(HEAD, anchors)
        self.head = self.head - self.weights @ self.head
        self.pose, self.shape = self._own_shape(source)
        self.reference_pose, self.reference_shape = self._own_shape(reference)
        sizes = float(self.pose.scale[0] / self.reference_pose.scale[0])
        self.ratio = sizes if self.settings.adapt_scale else 1.0
        # Expressions count in head sizes; in frame sizes a small head moves its mouth as far as a large one.
        self.expression_size = self.ratio * float(self.reference_pose.scale[0] / self.pose.scale[0])
        shares = [multiplier(group, self.settings) for group in anchors]
        if amplified:
            shares = [
                share * AMPLIFIED.get(region(group), 1.0)
                for share, group in zip(shares, anchors, strict=True)
            ]
        self.multipliers = np.array(shares)[:, None]
        self.lips = gaps(anchors, *INNER_LIPS, self.shape)
        self.lids = gaps(anchors, *LIDS, self.shape)
        self._close_reference(anchors)
        self._open_reference(anchors)
        self.lid_ratios = self._lid_ratios(anchors)
        self.pupils = pupils_in_eyes(anchors)

    def follow(self, driving: Points, first_frame: int = 0, beyond: OutOfRange | None = None) -> Points:
        """Keypoints (N, K, 2) for the photo's person to follow the driver's ``driving`` (N, K, 2).

        Args:
            driving: of N frames in order, finite.
            first_frame: number of the first.
            beyond: where frames beyond the trained range are noted.
        """
        points = driving.astype(np.float64)
        pose = fit_pose(points, self.reference_shape, self.weights)
        local = self._expression(points, pose) * self.multipliers * self.expression_size
        self._scale_lids(local)
        beyond = OutOfRange() if beyond is None else beyond
        moved, over = self._pose(pose)
        if self.settings.clamp:
            local, over["mouth"] = self._plausible(local)
        for reason, frames in over.items():
            beyond.note(reason, first_frame, frames)
        in_plane = np.swapaxes(moved.rotation[:, :2, :2], -1, -2)
        return np.asarray(moved.project(self.shape) + moved.scale[:, None, None] * (local @ in_plane))

    def _own_shape(self, keypoints: Points) -> tuple[HeadPose, Points]:
        """The pose in one frame (K, 2), and the average head reshaped to lie exactly there."""
        points = keypoints[None].astype(np.float64)
        pose = fit_pose(points, self.head, self.weights)
        offsets = (points - pose.project(self.head))[0]
        return pose, self.head + offsets @ pose.rotation[0, :2] / pose.scale[0]

    def _close_reference(self, anchors: Anchors) -> None:
        """Close the reference's mouth about as far as the photo's is: what it is open beyond that is motion.

        Else a driver who begins with an open mouth would close the photo's beyond shut, and nothing of his
        speech were seen in it.
        """
        there = gaps(anchors, *INNER_LIPS, self.reference_shape)
        if not there:
            return
        opened, own = (float(np.mean([gap for _, _, gap, _ in lips])) for lips in (there, self.lips))
        excess = max(0.0, opened - own / self.expression_size - AT_REST)
        self.reference_shape[:, :2] -= excess * anchor_means(MOUTH_OPENING, anchors)

    def _open_reference(self, anchors: Anchors) -> None:
        """Open the reference's eyes about as far as the photo's: what they are shut beyond that is motion.

        Else a driver who begins in a blink would open the photo's eyes wide with his next look.
        """
        there = gaps(anchors, *LIDS, self.reference_shape)
        for (upper, lower, gap, _), (_, _, own, _) in zip(there, self.lids, strict=True):
            excess = max(0.0, own / self.expression_size - gap - AT_REST)
            self.reference_shape[upper, 1] -= excess / 2
            self.reference_shape[lower, 1] += excess / 2

    def _lid_ratios(self, anchors: Anchors) -> list[float]:
        """How far each of ``lids`` closes for the driver's: shut where his are, from however wide."""
        ratios = []
        for (_, _, own, _), (_, _, there, _) in zip(
            self.lids, gaps(anchors, *LIDS, self.reference_shape), strict=True
        ):
            shut = LIDS[1]
            open_there = there * self.expression_size - shut
            ratios.append(float(np.clip((own - shut) / max(open_there, 1e-6), *LID_RATIO)))
        return ratios

    def _scale_lids(self, local: Points) -> None:
        """Closing lids of ``local`` (N, K, 2) scaled by ``lid_ratios``, in place.

        Eyes that are opened more than the reference's already open the less; others as far as the driver's.
        """
        for (upper, lower, _, _), ratio in zip(self.lids, self.lid_ratios, strict=True):
            opening = local[:, lower, 1] - local[:, upper, 1]
            change = opening * (np.where(opening < 0, ratio, min(1.0, 1 / ratio)) - 1) / 2
            local[:, lower, 1] += change
            local[:, upper, 1] -= change

    def _expression(self, points: Points, pose: HeadPose) -> Points:
        """What the pose does not explain, in the plane of the face and eye distances, (N, K, 2)."""
        # u diag(1, cos) vt: the face's plane as it is seen. The cosine's floor keeps a profile's noise small.
        u, s, vt = np.linalg.svd(pose.rotation[:, :2, :2])
        back = np.swapaxes(vt, -1, -2) / np.maximum(s, FLATTEST)[:, None] @ np.swapaxes(u, -1, -2)
        offsets = (points - pose.project(self.reference_shape)) / pose.scale[:, None, None]
        return np.asarray(offsets @ np.swapaxes(back, -1, -2))

    def _pose(self, driving: HeadPose) -> tuple[HeadPose, dict[str, Flags]]:
        """The photo's head moved as the driver's has since the reference, and which frames went too far."""
        share, rest, own = self.settings.pose, self.reference_pose, self.pose
        turns: Points = share * np.stack([rotation_vector(r @ rest.rotation[0].T) for r in driving.rotation])
        growth: Points = share * np.log(driving.scale / rest.scale)[:, None]
        # In distances of the photo's eye corners.
        shift = (driving.centre - rest.centre) * (share * self.ratio / own.scale)
        over: dict[str, Flags] = {}
        if self.settings.clamp:
            turns, over["turn"] = shortened(turns, limits.TURN)
            growth, over["growth"] = shortened(growth, limits.GROWTH)
            shift, over["shift"] = shortened(shift, limits.SHIFT)
        rotation = np.stack([cv2.Rodrigues(turn)[0] for turn in turns]) @ own.rotation[0]
        return HeadPose(rotation, own.scale * np.exp(growth[:, 0]), own.centre + shift * own.scale), over

    def _plausible(self, local: Points) -> tuple[Points, Flags]:
        """Lips and lids that do not pass each other nor open too wide, pupils that stay in the eye; and which
        frames opened their lips so."""
        wide = within_limit(local, self.lips, limits.MOUTH_GAP)
        within_limit(local, self.lids, limits.LID_GAP)
        for pupil, left, right in self.pupils:
            place = self.shape[:, 0] + local[:, :, 0]  # x of all keypoints in the plane of the face
            margin = NEAREST_CORNER * (place[:, right] - place[:, left])
            # Where the photo's own gaze is farther out than that, it may stay there.
            own = self.shape[pupil, 0]
            least = np.minimum(place[:, left] + margin, own)
            most = np.maximum(place[:, right] - margin, own)
            local[:, pupil, 0] = np.clip(place[:, pupil], least, most) - self.shape[pupil, 0]
        return local, wide


def multiplier(group: tuple[int, ...], settings: MotionSettings) -> float:
    """What a keypoint's motion in the face is multiplied by; on bone it is pose that the model missed."""
    moved = region(group)
    if moved == "bone":
        return settings.pose
    shares = {"mouth": settings.mouth, "gaze": settings.gaze, "eyes": settings.eyes}
    return settings.expression * shares.get(moved, 1.0)


def region(group: tuple[int, ...]) -> str:
    """What the mean of these landmarks moves with: bone, mouth, gaze, eyes, brows or other."""
    if on_bone(group):
        return "bone"
    parts = {"mouth": MOUTH | LOWER_JAW, "gaze": frozenset(PUPILS), "eyes": EYES, "brows": BROWS}
    return next((name for name, landmarks in parts.items() if set(group) <= landmarks), "other")


def gaps(
    anchors: Anchors, partners: dict[int, int], least: float, shape: Points
) -> list[tuple[int, int, float, float]]:
    """Upper and lower keypoint, the photo's own gap between them, and the least that may be left of it."""
    found = []
    for upper, group in enumerate(anchors):
        below = {partners.get(landmark) for landmark in group}
        for lower, other in enumerate(anchors):
            if below == set(other):
                own = float(shape[lower, 1] - shape[upper, 1])
                found.append((upper, lower, own, min(own, least)))
    return found


def within_limit(local: Points, pairs: list[tuple[int, int, float, float]], limit: float) -> Flags:
    """Hold ``gaps`` of ``local`` (N, K, 2) between their least and a limit, in place.

    Where the photo's own gap is wider than that, it may stay so.

    Returns:
        Which frames had a wider one, (N,).
    """
    wider: Flags = np.zeros(len(local), np.bool_)
    for upper, lower, own, least in pairs:
        gap = own + local[:, lower, 1] - local[:, upper, 1]
        most = max(limit, own)
        wider |= gap > most
        wanted = np.maximum(gap, least)
        wanted = held_back(np.maximum(wanted, 0), most) + np.minimum(wanted, 0)
        local[:, lower, 1] += (wanted - gap) / 2
        local[:, upper, 1] -= (wanted - gap) / 2
    return wider


def pupils_in_eyes(anchors: Anchors) -> list[tuple[int, int, int]]:
    """Each pupil among the keypoints, and the corners of its eye, left and right in the picture."""
    return [
        (anchors.index((pupil,)), anchors.index((left,)), anchors.index((right,)))
        for pupil, (left, right) in EYE_CORNERS.items()
        if {(pupil,), (left,), (right,)} <= set(anchors)
    ]


def gaze_along(points: Points, pupils: list[tuple[int, int, int]]) -> Points:
    """Where ``pupils_in_eyes`` of (N, K, 2) look: along the eye from its middle, in eye widths, (N,)."""
    pupil, left, right = (points[:, list(places)] for places in zip(*pupils, strict=True))
    along = right - left
    offset = pupil - (left + right) / 2
    return np.asarray(((offset * along).sum(-1) / (along * along).sum(-1)).mean(-1))


def rotation_vector(rotation: Points) -> Points:
    """(3, 3) to (3,): the axis, as long as the angle in radians."""
    return np.asarray(cv2.Rodrigues(rotation)[0][:, 0])


def check_steering(network: str, anchors: Anchors, settings: MotionSettings) -> None:
    """Whether these weights allow what is asked for.

    Args:
        network: of the weights, as checkpoints call it.
        anchors: of their keypoints, if they have any.
        settings: what is asked for.

    Raises:
        UsageError: multipliers for free keypoints, or for a part of the face that has none.
    """
    if network == "liveportrait":
        if settings.gaze != 1:
            raise UsageError("--gaze: LivePortrait's weights move pupils and lids together; use --eyes")
        if not settings.adapt_scale:
            raise UsageError("--no-adapt-scale: LivePortrait's weights measure motion in head sizes only")
        if settings.close_lips and not settings.relative:
            raise UsageError("--close-lips is for relative motion: leave out it or --absolute")
        return
    for option, given in (("--no-stitching", not settings.stitching), ("--close-lips", settings.close_lips)):
        if given:
            raise UsageError(f"{option}: only LivePortrait's weights know it; leave it out")
    if not settings.steered:
        return
    options = ", ".join(f"--{name}" for name in settings.steered)
    if not has_pose(anchors):
        raise UsageError(
            f"{options}: needs weights whose keypoints are anchored to facial landmarks, as the shipped ones "
            "are; these move freely"
        )
    places = {"mouth": "on the lips", "eyes": "on the lids", "gaze": "on the pupils"}
    for name in set(settings.steered) & places.keys():
        if name not in map(region, anchors):
            raise UsageError(
                f"--{name}: these weights have no keypoints {places[name]}; use the shipped ones"
            )


def has_pose(anchors: Anchors) -> bool:
    """Whether keypoints tell where a head is in three dimensions."""
    return sum(on_bone(group) for group in anchors) >= FEWEST_BONE
