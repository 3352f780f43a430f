"""Metrics of landmarks: their distance, head angles, and expressions, by keypoints anchored to them; and what
slopes of expressions are measured by, on all 68 landmarks.

The first docstring line of a metric says unit, direction, range and paper; reports show it.
"""

from collections.abc import Mapping

import numpy as np

from faceanim_cli.errors import FaceanimError
from faceanim_cli.evaluation.frames import Batch
from faceanim_cli.motion.head_model import BROWS, EYES, HEAD, MOUTH, Anchors
from faceanim_cli.pictures import Points

# The landmarks that tell the pose: eye corners, nose, and the mouth's corners a little.
POSE_LANDMARKS = frozenset({36, 39, 42, 45, 27, 28, 29, 30, 31, 33, 35, 48, 54})
MOUTH_WEIGHT = 0.1  # mouth corners move with expressions: they count little
FEWEST_POINTS = 5
BONE = frozenset({*range(27, 36), 36, 39, 42, 45})
NAN = float("nan")

# By measure, the least standard deviation over a clip's frames: a driver that moves less tells nothing.
MEASURES: Mapping[str, float] = {
    "mouth_open": 0.03,  # inner lips, in distances of the outer eye corners
    "mouth_width": 0.02,  # mouth corners, likewise
    "lids": 0.04,  # opening of the eyes, in eye widths
    "brows": 0.01,  # height over the outer eye corners, in distances of these
    "gaze_x": 0.03,  # iris, from the middle between an eye's corners, in eye widths
    "gaze_y": 0.02,
    "yaw": 0.02,  # share of the jaw's width on one side of the nose tip
    "pitch": 0.01,  # share of the nose's bridge in the way from its root to the chin
    "roll": 0.03,  # radians
}
LANDMARKS, IRISES = 68, (68, 69)  # of the picture's left and right eye, where the detector gives them
DRIVER = "driver_"


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


def slopes(batch: Batch) -> dict[str, list[float]]:
    """Slope of the result's mouth, lids, brows, gaze and head on the driver's: 1 is full following (ours).

    Returns:
        By measure, the result's and the driver's value of each frame, NaN where there is no face: by landmark
        files where both have them, else by the detector, which must not be under test.

    Raises:
        FaceanimError: neither is there.
    """
    if batch.results.landmarks is not None and batch.driving.landmarks is not None:
        results, driving = map(expression_measures, (batch.results.landmarks, batch.driving.landmarks))
    elif batch.networks.landmarks is not None and batch.networks.landmarks.independent:
        results, driving = map(expression_measures, (batch.results.detected, batch.driving.detected))
        results[~batch.results.has_face] = np.nan
    else:
        raise FaceanimError("slopes need landmark files of both the prediction and the truth")
    return {
        **dict(zip(MEASURES, results.T.tolist(), strict=True)),
        **dict(zip(map(DRIVER.__add__, MEASURES), driving.T.tolist(), strict=True)),
    }


@np.errstate(divide="ignore", invalid="ignore")  # points that coincide are no face: NaN
def expression_measures(points: Points) -> Points:
    """``MEASURES`` (N, 9) of faces (N, 68, 2) or, with irises, (N, 70, 2), in pixels; else gaze is NaN."""
    p = points.astype(np.float64)

    def distance(i: int, j: int) -> Points:
        return np.asarray(np.linalg.norm(p[:, i] - p[:, j], axis=-1))

    eyes = distance(36, 45)
    across = (p[:, 45] - p[:, 36]) / eyes[:, None]
    up = np.stack([across[:, 1], -across[:, 0]], axis=-1)
    lids = [
        (distance(a, d) + distance(b, c)) / 2 / distance(*corners)
        for (a, b, c, d), corners in (((37, 38, 40, 41), (36, 39)), ((43, 44, 46, 47), (42, 45)))
    ]
    brows = [((p[:, brow] - p[:, corner]) * up).sum(-1) / eyes for brow, corner in ((19, 36), (24, 45))]
    gaze = [np.full((len(p), 2), np.nan)]
    if points.shape[1] > LANDMARKS:
        gaze = []
        for iris, i, j in ((IRISES[0], 36, 39), (IRISES[1], 42, 45)):
            offset = (p[:, iris] - (p[:, i] + p[:, j]) / 2) / distance(i, j)[:, None]
            gaze.append(np.stack([(offset * across).sum(-1), (offset * up).sum(-1)], axis=-1))
    columns = (
        *(distance(62, 66) / eyes, distance(48, 54) / eyes, np.mean(lids, 0), np.mean(brows, 0)),
        *np.mean(gaze, axis=0).T,
        *(distance(30, i) / (distance(30, i) + distance(30, j)) for i, j in ((0, 16), (27, 8))),
        np.arctan2(across[:, 1], across[:, 0]),
    )
    return np.stack(columns, axis=-1)


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
