"""What the 68 facial landmarks mean, and the keypoints anchored to them.

Order of the 68 points (indices 0-67): 0-16 jaw, 17-26 brows, 27-35 nose, 36-47 eyes, 48-67 mouth; 36 and
48 on the picture's left.
"""

from pathlib import Path
from typing import TypeAlias

import numpy as np

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.motion import head_model
from faceanim_cli.pictures import Floats, Points

Anchors: TypeAlias = head_model.Anchors

NUM_LANDMARKS = 68
LANDMARKS_FOLDER = "landmarks"  # in a data folder, with <clip>.npy

# The paper's ten (§3.1): eyes, brows, nose tip, mouth corners, lips, chin.
PAPER_ANCHORS: Anchors = (
    (36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47),
    (17, 18, 19, 20, 21), (22, 23, 24, 25, 26),
    (30,), (48,), (54,), (51,), (57,), (8,),
)  # fmt: skip

# The shipped model's: upper and lower lids apart, so that an eye can close, inner lips apart from the outer,
# brows in three parts, and the jaw up to the ears, which shows how far the head is turned.
DENSE_ANCHORS: Anchors = (
    (36,), (39,), (42,), (45,),  # eye corners
    (37, 38), (40, 41), (43, 44), (46, 47),  # lids: upper, lower; upper, lower
    (17, 18), (19,), (21,), (22,), (24,), (25, 26),  # brows
    (27, 28), (30,), (31,), (35,),  # nose: bridge, tip, wings
    (48,), (54,), (51,), (57,), (62,), (66,),  # mouth: corners, outer lips, inner lips
    (8,), (4,), (12,), (1,), (15,),  # chin and jaw
)  # fmt: skip

# Landmark i of a face is landmark MIRROR[i] of the same face in a mirror.
MIRROR: tuple[int, ...] = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
    64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip

EYES = head_model.EYES
MOUTH = head_model.MOUTH


def read_landmarks(path: Path) -> Floats:
    """Landmarks (N, 68, 2) of a video.

    Raises:
        UnreadableInputError: not such an array.
    """
    try:
        points = np.load(path, mmap_mode="r")  # a header alone cannot make us allocate
        if points.ndim != 3 or points.shape[1:] != (NUM_LANDMARKS, 2):
            raise UnreadableInputError(f"{path}: {points.shape} is not (frames, {NUM_LANDMARKS}, 2)")
        return np.asarray(points, np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise UnreadableInputError(f"{path}: not an array of landmarks ({error})") from error


def anchored_keypoints(landmarks: Points, anchors: Anchors) -> Points:
    """Keypoints (..., K, 2): the mean of each anchor's landmarks (..., 68, 2), in their unit."""
    return head_model.anchor_means(landmarks, anchors)


def expressive(anchors: Anchors) -> tuple[int, ...]:
    """The keypoints that belong to eyes or mouth, where expression shows."""
    return tuple(k for k, group in enumerate(anchors) if set(group) <= EYES | MOUTH)


def landmark_box(landmarks: Points) -> tuple[float, float, float]:
    """The face box that Viola-Jones would give: centre x, centre y and side, in the landmarks' unit.

    The cascade's square relates to the landmarks by constants, which are medians over real clips
    (OpenCV's frontal default cascade): training fakes its boxes with them.
    """
    left, top = landmarks.min(axis=-2)
    right, bottom = landmarks.max(axis=-2)
    height = bottom - top
    return (left + right) / 2, (top + bottom) / 2 + CENTRE_DOWN * height, SIDE_PER_HEIGHT * height


SIDE_PER_HEIGHT = 1.223
CENTRE_DOWN = -0.1785  # in landmark heights; negative: the box reaches over the brows
