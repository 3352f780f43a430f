"""The motion library: nod, shake and smile-and-blink, made by formulas from the average head.

They are nobody's, start and end at rest, and suit all weights whose keypoints are anchored to landmarks.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from faceanim_cli.errors import UsageError
from faceanim_cli.motion.head_model import HEAD, Anchors, anchor_means
from faceanim_cli.motion.head_transfer import has_pose
from faceanim_cli.motion.motion_file import Motion
from faceanim_cli.pictures import Points

FPS = Fraction(25)
FRAMES = 75  # three seconds
SIZE = 0.4  # distance of the outer eye corners in the crop
NECK = np.array([0.0, 1.2, -0.9])  # what heads turn about, on the head

SMILE = {48: 1.0, 60: 1.0, 49: 0.5, 59: 0.5, 54: 1.0, 64: 1.0, 53: 0.5, 55: 0.5}  # share of a corner's way
CORNER_OUT, CORNER_UP = 0.06, 0.07
UPPER_LIDS, LOWER_LIDS = (37, 38, 43, 44), (41, 40, 47, 46)
LID_SHARE = 0.75  # of the way between the lids that the upper one goes
BLINKS = (18, 55)  # frames in which the eyes are closed


def library_motion(name: str, anchors: Anchors) -> Motion:
    """The keypoints (75, K, 2) of a motion of the library, 25 frames per second.

    Raises:
        UsageError: keypoints that are not anchored to landmarks.
    """
    if not has_pose(anchors):
        raise UsageError(
            f"{name}: needs weights whose keypoints are anchored to landmarks, as the shipped ones"
        )
    heads = LIBRARY[name](np.linspace(0.0, 1.0, FRAMES))
    points = anchor_means(heads[..., :2] * SIZE, anchors)
    return Motion({"points": points.astype(np.float32)}, FPS, anchors, reference=0)


def _nod(time: Points) -> Points:
    return _turned((1, 0, 0), np.radians(11) * np.sin(4 * np.pi * time) * _rest_to_rest(time))


def _shake(time: Points) -> Points:
    return _turned((0, 1, 0), np.radians(17) * np.sin(6 * np.pi * time) * _rest_to_rest(time))


def _smile_and_blink(time: Points) -> Points:
    heads = np.repeat(HEAD[None], len(time), axis=0)
    smile = _rest_to_rest(time)
    for landmark, share in SMILE.items():
        heads[:, landmark, 0] += np.sign(HEAD[landmark, 0]) * CORNER_OUT * share * smile
        heads[:, landmark, 1] -= CORNER_UP * share * smile
    frame = time * (FRAMES - 1)
    closed = sum(np.exp(-(((frame - blink) / 2.0) ** 2)) for blink in BLINKS)
    for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        way = (HEAD[lower, 1] - HEAD[upper, 1]) * closed
        heads[:, upper, 1] += LID_SHARE * way
        heads[:, lower, 1] -= (1 - LID_SHARE) * way
    return heads


def _turned(axis: tuple[float, float, float], angles: Points) -> Points:
    turns = np.stack([cv2.Rodrigues(np.array(axis) * angle)[0] for angle in angles])
    return np.asarray((HEAD - NECK) @ np.swapaxes(turns, -1, -2) + NECK)


def _rest_to_rest(time: Points) -> Points:
    """0 at both ends, without a jerk, and 1 between."""
    return np.asarray(np.sin(np.pi * np.clip(np.minimum(time, 1 - time) * 4, 0, 1) / 2) ** 2)


LIBRARY: dict[str, Callable[[Points], Points]] = {
    "nod": _nod,
    "shake": _shake,
    "smile-and-blink": _smile_and_blink,
}


def is_library_motion(driver: Path) -> bool:
    """Whether a driver is a motion of the library: one of its names, and no file is called so."""
    return str(driver) in LIBRARY and not driver.exists()
