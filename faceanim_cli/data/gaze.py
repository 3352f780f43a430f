"""Augmentation of gaze: moves the pupils of a training frame within the lids."""

import cv2
import numpy as np

from faceanim_cli.data.landmarks import PUPILS
from faceanim_cli.motion.landmark_lifting import lid_distances
from faceanim_cli.pictures import Image, Points

LIDS = (range(36, 42), range(42, 48))  # around the eye, from the corner on the picture's left
NARROWEST = 9.0  # pixels: width of an eye whose iris can be told from its lids
OPEN = 0.17  # distance of the lids over the eye's width: below, there is hardly an iris to be seen
IRIS = 0.21  # eye widths: radius of what is moved as a whole; the white on both sides is stretched
MIDDLE = (0.25, 0.75)  # of the eye's width, where a pupil can be without going under the corners
ENDS = (0.03, 0.97)
FEATHER = 0.03  # eye widths: how softly the motion ends at the lids


def move_pupils(frame: Image, landmarks: Points, along: float, down: float) -> tuple[Image, Points] | None:
    """The frame with both irises moved within their lids, and its landmarks; all outside the lids stays.

    Args:
        frame: (H, W, 3) uint8.
        landmarks: (80, 2), pixels.
        along: to the picture's right along the eye, in eye widths.
        down: across it, in eye widths.

    Returns:
        None if an eye is closed or tiny, its pupil is unknown, or would come to lie under a corner.
    """
    if (lid_distances(landmarks) < OPEN).any():
        return None
    frame, landmarks = frame.copy(), landmarks.copy()
    for lids, pupil in zip(LIDS, PUPILS, strict=True):
        outline = landmarks[list(lids)].astype(np.float64)
        left, axis = outline[0], outline[3] - outline[0]
        width = float(np.hypot(*axis))
        if not width >= NARROWEST:
            return None
        axis = axis / width
        across = np.array([-axis[1], axis[0]])
        place = float((landmarks[pupil] - left) @ axis) / width
        iris = (max(place - IRIS, ENDS[0]), min(place + IRIS, ENDS[1]))
        if not (MIDDLE[0] < place + along < MIDDLE[1] and iris[0] + along > 0 and iris[1] + along < 1):
            return None
        x0, y0 = np.floor(outline.min(0)).astype(int) - 1
        x1, y1 = np.ceil(outline.max(0)).astype(int) + 2
        if min(x0, y0) < 0 or x1 > frame.shape[1] or y1 > frame.shape[0]:
            return None
        x, y = np.meshgrid(np.arange(x0, x1, dtype=np.float64), np.arange(y0, y1, dtype=np.float64))
        u = ((x - left[0]) * axis[0] + (y - left[1]) * axis[1]) / width
        knots = (0, iris[0] + along, iris[1] + along, 1)
        back = np.interp(u, knots, (0, *iris, 1)) - u  # along the eye, to where a pixel comes from
        lifted = -down * np.interp(u, knots, (0, 1, 1, 0))
        inside = width * _inside(outline - (x0, y0), u.shape, width)
        from_x = x - x0 + inside * (back * axis[0] + lifted * across[0])
        from_y = y - y0 + inside * (back * axis[1] + lifted * across[1])
        eye = frame[y0:y1, x0:x1]
        eye[:] = cv2.remap(
            eye.copy(),
            from_x.astype(np.float32),
            from_y.astype(np.float32),
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        landmarks[pupil] += width * (along * axis + down * across)
    return frame, landmarks


def _inside(outline: Points, shape: tuple[int, ...], width: float) -> Points:
    """(h, w): 1 within the lids, falling to 0 at them."""
    mask = np.zeros(shape, np.float32)
    cv2.fillPoly(mask, [np.round(outline * 8).astype(np.int32)], 1.0, cv2.LINE_AA, 3)
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.6, FEATHER * width))
    return np.asarray(np.clip(2 * soft - 1, 0, 1) * (mask > 0))
