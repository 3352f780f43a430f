"""Best-frame search: the driver's frame whose pose and expression are closest to the photo's.

Relative motion counts from that frame. Two faces are compared, so shapes must not count: for keypoints
anchored to landmarks, it is how far the head would have to turn, and how differently lips and lids are open.
Free keypoints are compared after centring and scaling, as first-order-model's ``--find_best_frame`` does;
of LivePortrait's motion, rotations and what of the expression carries no identity.
"""

import numpy as np
import torch

from faceanim_cli.motion.head_model import HEAD, Anchors, anchor_means, bone_weights, fit_pose
from faceanim_cli.motion.head_transfer import INNER_LIPS, LIDS, gaps, gaze_along, has_pose, pupils_in_eyes
from faceanim_cli.motion.liveportrait_transfer import absolute_entries
from faceanim_cli.motion.motion_batch import MotionBatch, join_motion
from faceanim_cli.pictures import Points
from faceanim_models import HeadMotion

# Differences that count alike.
TURN = np.radians(10.0)
LIP_GAP = 0.08  # in distances of the outer eye corners
LID_GAP = 0.025  # people's differ by 0.016 in the median; a blink is 0.07
GAZE = 0.1  # of the eye's width along it
OFFSETS = 0.02  # of LivePortrait's keypoints, in head sizes: a mouth that opens, an eye that closes


def closest_frame(source: MotionBatch, candidates: MotionBatch, anchors: Anchors) -> int:
    """Which of the candidates (N) is closest to the photo's (1)."""
    both = join_motion([source, candidates])
    if isinstance(both, HeadMotion):
        expression = both.expression * absolute_entries(both.expression) / OFFSETS
        parts = (both.rotation.flatten(1) / (np.sqrt(2) * TURN), expression.flatten(1))
        features: Points = torch.cat(parts, dim=1).double().cpu().numpy()
    else:
        points = both.points.double().cpu().numpy()
        features = _features(points, anchors) if has_pose(anchors) else _normalised(points)
    return int(np.argmin(np.square(features[1:] - features[0]).sum(-1)))


def _features(points: Points, anchors: Anchors) -> Points:
    """Pose and openings as numbers whose squared differences add up, (N, F)."""
    weights = bone_weights(anchors)
    weights = weights / weights.sum()
    head = anchor_means(HEAD, anchors)
    pose = fit_pose(points, head - weights @ head, weights)
    # |R - S|^2 = 8 sin^2(angle / 2), about twice the squared angle.
    features = [pose.rotation.reshape(len(points), 9) / (np.sqrt(2) * TURN)]
    for (partners, least), unit in ((INNER_LIPS, LIP_GAP), (LIDS, LID_GAP)):
        pairs = gaps(anchors, partners, least, head)
        if pairs:
            upper, lower = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            gap = np.linalg.norm(points[:, lower] - points[:, upper], axis=-1) / pose.scale[:, None]
            features.append(gap / (unit * np.sqrt(len(pairs))))
    pupils = pupils_in_eyes(anchors)
    if pupils:
        features.append(gaze_along(points, pupils)[:, None] / GAZE)
    return np.concatenate(features, axis=1)


def _normalised(points: Points) -> Points:
    centred = points - points.mean(1, keepdims=True)
    size = np.sqrt(np.square(centred).mean((1, 2), keepdims=True))
    return np.asarray((centred / np.maximum(size, 1e-6)).reshape(len(points), -1))
