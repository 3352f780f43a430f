"""Best-frame search: the driver's frame whose pose and expression are closest to the photo's.

Relative motion counts from that frame. Two faces are compared, so shapes must not count: for keypoints
anchored to landmarks, it is how far the head would have to turn, and how differently lips and lids are open.
Free keypoints are compared after centring and scaling, as first-order-model's ``--find_best_frame`` does.
"""

import numpy as np

from faceanim_cli.motion.head_model import HEAD, Anchors, anchor_means, bone_weights, fit_pose
from faceanim_cli.motion.head_transfer import INNER_LIPS, LIDS, gaps, has_pose
from faceanim_cli.pictures import Points

# Differences that count alike.
TURN = np.radians(10.0)
LIP_GAP = 0.08  # in distances of the outer eye corners
LID_GAP = 0.04


def closest_frame(source: Points, candidates: Points, anchors: Anchors) -> int:
    """Which of the candidates (N, K, 2) is closest to the photo's (K, 2)."""
    points = np.concatenate((source[None], candidates)).astype(np.float64)
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
            gap = np.linalg.norm(points[:, lower] - points[:, upper], axis=-1).mean(-1) / pose.scale
            features.append(gap[:, None] / unit)
    return np.concatenate(features, axis=1)


def _normalised(points: Points) -> Points:
    centred = points - points.mean(1, keepdims=True)
    size = np.sqrt(np.square(centred).mean((1, 2), keepdims=True))
    return np.asarray((centred / np.maximum(size, 1e-6)).reshape(len(points), -1))
