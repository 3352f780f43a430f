"""How much a face's expression and its gaze differ between two frames, by their landmarks."""

import numpy as np

from faceanim_cli.data.landmarks import NUM_LANDMARKS, PUPILS
from faceanim_cli.motion.head_model import BROWS, EYES, HEAD, MOUTH, bone_weights, fit_pose
from faceanim_cli.pictures import Points

EYE_CORNERS = ((36, 39), (42, 45))  # from the picture's left to its right
MOVED = sorted(EYES | MOUTH | BROWS)
WEIGHTS = bone_weights(tuple((i,) for i in range(NUM_LANDMARKS)))
WEIGHTS = WEIGHTS / WEIGHTS.sum()
PLACES = HEAD[:NUM_LANDMARKS] - WEIGHTS @ HEAD[:NUM_LANDMARKS]


def expression_motion(first: Points, second: Points) -> Points:
    """Mean difference (N,) of brows, eyes and mouth that no motion of the head explains, in eye distances.

    The head's pose is taken out of both frames: the scaled rotation in three dimensions that carries an
    average head's bone onto the face's. A similarity in the picture's plane would explain shifts, zooms and
    tilts just as well, but take a head that turns for an expression.

    Args:
        first, second: (N, 68 or more, 2), finite among the 68, in any unit.
    """
    return np.asarray(np.linalg.norm(_expression(first) - _expression(second), axis=-1).mean(-1))


def gaze_motion(first: Points, second: Points) -> Points:
    """How far pupils have moved within their eyes (N,), in eye widths; NaN where no pupil is known twice.

    Args:
        first, second: (N, 80, 2), in any unit; of 68 landmarks nothing is known.
    """
    moved = np.abs(_gaze(first) - _gaze(second))  # (N, 2)
    known = np.isfinite(moved)
    count = known.sum(-1)
    return np.where(count > 0, np.where(known, moved, 0).sum(-1) / np.maximum(count, 1), np.nan)


def _expression(landmarks: Points) -> Points:
    """Where brows, eyes and mouth are beside their average places, (N, M, 2), in eye distances.

    As if the head were seen from the front, but that what its turn hides stays hidden.
    """
    face = landmarks[:, :NUM_LANDMARKS].astype(np.float64)
    pose = fit_pose(face, PLACES, WEIGHTS)
    rest = (face - pose.project(PLACES))[:, MOVED]
    return np.asarray(rest @ pose.rotation[:, :2, :2] / pose.scale[:, None, None])


def _gaze(landmarks: Points) -> Points:
    """Places of the pupils as complex numbers (N, 2): along the eye from its middle, and down."""
    if landmarks.shape[1] <= max(PUPILS):
        return np.full((len(landmarks), len(PUPILS)), np.nan + 0j)
    points = landmarks[..., 0] + 1j * landmarks[..., 1]
    places = []
    for pupil, (left, right) in zip(PUPILS, EYE_CORNERS, strict=True):
        along = points[:, right] - points[:, left]
        with np.errstate(divide="ignore", invalid="ignore"):  # an eye without width tells nothing
            places.append((points[:, pupil] - (points[:, left] + points[:, right]) / 2) / along)
    return np.stack(places, axis=-1)
