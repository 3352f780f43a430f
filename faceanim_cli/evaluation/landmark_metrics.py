"""Metrics of landmarks: their distance, head angles, and expressions, by keypoints anchored to them.

The first docstring line of a metric says unit, direction, range and paper; reports show it.
"""

import numpy as np

from faceanim_cli.evaluation.batch import Batch
from faceanim_cli.motion.head_model import BROWS, EYES, HEAD, MOUTH, Anchors
from faceanim_cli.pictures import Points

# The landmarks that tell the pose: eye corners, nose, and the mouth's corners a little.
POSE_LANDMARKS = frozenset({36, 39, 42, 45, 27, 28, 29, 30, 31, 33, 35, 48, 54})
MOUTH_WEIGHT = 0.1  # mouth corners move with expressions: they count little
FEWEST_POINTS = 5
BONE = frozenset({*range(27, 36), 36, 39, 42, 45})


NAN = float("nan")


def akd(batch: Batch) -> dict[str, list[float]]:
    """Mean distance of landmarks: pixels, lower is better, from 0 (Siarohin 2019: mean |dx|, |dy|)."""
    distance = np.linalg.norm(batch.results.keypoints - batch.driving.keypoints, axis=-1)
    known = np.isfinite(distance)  # landmark files may lack some, such as pupils
    with np.errstate(invalid="ignore"):
        mean = np.where(known, distance, 0).sum(-1) / known.sum(-1)
    return {"akd": np.where(batch.results.has_face, mean, NAN).tolist()}


def akd_miss(batch: Batch) -> dict[str, list[float]]:
    """Share of frames without a Viola-Jones face, which akd leaves out: lower is better, 0 to 1 (ours)."""
    known = np.isfinite(batch.driving.keypoints).any((1, 2))
    return {"akd_miss": np.where(known, ~batch.results.has_face, NAN).tolist()}


def pose(batch: Batch) -> dict[str, list[float]]:
    """Mean error of head angles since the first frame: degrees, lower is better (cf. APD, Pang 2023)."""
    anchors = batch.networks.anchors
    results, source, driving, reference = (
        head_angles(frames.keypoints, anchors)
        for frames in (batch.results, batch.source, batch.driving, batch.reference)
    )
    return {"pose": np.abs((results - source) - (driving - reference)).mean(-1).tolist()}


def expression(batch: Batch) -> dict[str, list[float]]:
    """Mean error of brows, lids, lips since the first frame: % of eye distance, lower is better (ours)."""
    anchors = batch.networks.anchors
    if not expression_points(anchors):
        return {"expression": [NAN] * len(batch.results.pictures)}
    moved = expression_change(batch.results.keypoints, batch.source.keypoints[0], anchors)
    wanted = expression_change(batch.driving.keypoints, batch.reference.keypoints[0], anchors)
    return {"expression": (100 * np.linalg.norm(moved - wanted, axis=-1).mean(-1)).tolist()}


def pose_points(anchors: Anchors) -> tuple[list[int], Points, Points]:
    """Which keypoints tell the pose, where they lie on ``HEAD`` (P, 3), and their weights (P,)."""
    chosen, places, weights = [], [], []
    for k, group in enumerate(anchors):
        known = [HEAD[i] for i in group if i in POSE_LANDMARKS]
        # An eye's lids have no place of their own: their mean with the corners lies between the corners.
        if known and (set(group) <= POSE_LANDMARKS or {36, 39} <= set(group) or {42, 45} <= set(group)):
            chosen.append(k)
            places.append(np.mean(known, axis=0))
            weights.append(MOUTH_WEIGHT if set(group) <= MOUTH else 1.0)
    return chosen, np.array(places).reshape(-1, 3), np.array(weights)


def head_angles(keypoints: Points, anchors: Anchors) -> Points:
    """Yaw, pitch and roll in degrees, (..., 3), of keypoints (..., K, 2) in any square pixels.

    Weak perspective: the affine map from ``HEAD`` to the picture with the least squared error, made a scaled
    rotation. Positive: turned to the picture's right, nodding down, tilted clockwise. NaN for NaN, and for
    anchors that hold too few points of the head.
    """
    chosen, places, weights = pose_points(anchors)
    shape = (*keypoints.shape[:-2], 3)
    if len(chosen) < FEWEST_POINTS:
        return np.full(shape, np.nan)
    w = (weights / weights.sum())[:, None]
    seen = keypoints[..., chosen, :].reshape(-1, len(chosen), 2).astype(np.float64)
    centred = seen - (w * seen).sum(-2, keepdims=True)
    head = places - (w * places).sum(0)
    solver = np.linalg.pinv(np.sqrt(w) * head)  # (3, P)
    angles = np.full((len(seen), 3), np.nan)
    for i, points in enumerate(centred):
        if np.isfinite(points).all():
            u, _, vt = np.linalg.svd((solver @ (np.sqrt(w) * points)).T, full_matrices=False)
            angles[i] = _angles(u @ vt)
    return angles.reshape(shape)


def expression_change(keypoints: Points, reference: Points, anchors: Anchors) -> Points:
    """How brows, lids and mouth have moved since ``reference`` (K, 2), in eye distances: (..., E, 2).

    The head's own motion is taken out: the similarity that carries the reference's eye corners and nose onto
    the frame's. ``keypoints`` is (..., K, 2), in the reference's unit. NaN where keypoints coincide, and for
    anchors without eyes.
    """
    bone = [k for k, group in enumerate(anchors) if _on_bone(group)]
    points = keypoints[..., 0] + 1j * keypoints[..., 1]
    base = reference[..., 0] + 1j * reference[..., 1]
    centre, base_centre = points[..., bone].mean(-1, keepdims=True), base[..., bone].mean(-1, keepdims=True)
    offsets = base[..., bone] - base_centre
    turn = ((points[..., bone] - centre) * offsets.conj()).sum(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = turn / np.square(np.abs(offsets)).sum(-1, keepdims=True)
        back = (points - centre) / turn + base_centre  # the frame's keypoints, seen with the reference's pose
        change = (back - base)[..., expression_points(anchors)] / eye_distance(reference, anchors)
    return np.stack((change.real, change.imag), axis=-1)


def expression_points(anchors: Anchors) -> list[int]:
    """The keypoints that expressions move: on brows, lids and mouth."""
    moving = EYES | MOUTH | BROWS
    return [k for k, group in enumerate(anchors) if set(group) <= moving and not _on_bone(group)]


def eye_distance(keypoints: Points, anchors: Anchors) -> float:
    """Distance of the eyes' outer corners, or of the eyes where these are all there is; NaN without eyes."""
    eyes = [next((k for k, group in enumerate(anchors) if corner in group), None) for corner in (36, 45)]
    if None in eyes:
        return float("nan")
    return float(np.hypot(*(keypoints[eyes[1]] - keypoints[eyes[0]])))


def _on_bone(group: tuple[int, ...]) -> bool:
    """Whether a keypoint stays in place when the face moves: eye corners, nose, and eyes as a whole."""
    return set(group) <= BONE or {36, 39} <= set(group) or {42, 45} <= set(group)


def _angles(rows: Points) -> Points:
    """(2, 3), the first two rows of a rotation ``roll @ pitch @ yaw``, to its angles in degrees."""
    depth = np.cross(rows[0], rows[1])
    yaw = np.arctan2(-depth[0], depth[2])
    pitch = np.arcsin(np.clip(-depth[1], -1, 1))
    roll = np.arctan2(-rows[0, 1], rows[1, 1])
    return np.asarray(np.degrees(np.array([yaw, pitch, roll])))
