"""Augmentation of backgrounds: what stands still beside the head becomes another picture in both frames.

Most walls behind a speaker are plain, and what is found on them might as well hang on the head. A wall that
is covered with writing, or full of pictures, shows that it stays.
"""

import cv2
import numpy as np

from faceanim_cli.pictures import Floats, Image, Points

STANDS_STILL = 9 / 255  # largest difference of a colour between the two frames, in [0, 1]
NEAR = 4  # pixels of 256 about what moves are left as they are too
HEAD = (1.7, 1.3)  # of the landmarks' width; of their height above them, for the hair
BELOW = 0.16  # [-1, 1] units under the chin that may be background
SOFT = 1.5  # pixels of 256: how the new picture fades in
LARGEST_TEXT = 2.5  # of OpenCV's fonts, in pictures of 256


def replace_background(
    frames: tuple[Floats, Floats], landmarks: tuple[Points, Points], picture: Floats
) -> tuple[Floats, Floats]:
    """Two frames with another background where theirs stands still.

    Args:
        frames: (3, S, S) float32 in [0, 1], each.
        landmarks: the 68 of each, (68, 2) in [-1, 1].
        picture: the new background, (3, S, S) float32 in [0, 1].
    """
    size = frames[0].shape[-1]
    moves = np.abs(frames[0] - frames[1]).max(0) > STANDS_STILL
    kept = cv2.medianBlur(moves.astype(np.uint8), 5)  # single pixels are noise of the camera
    reach = 2 * round(NEAR * size / 256) + 1
    kept = cv2.dilate(kept, np.ones((reach, reach), np.uint8))
    for points in landmarks:
        pixels = (points + 1) * ((size - 1) / 2)
        outline = np.round(_around_the_head(pixels)).astype(np.int32)
        cv2.fillConvexPoly(kept, cv2.convexHull(outline), 1)
        chin = pixels[:, 1].max() + BELOW * size / 2
        kept[max(0, int(chin)) :] = 1
    sharp = (1 - kept).astype(np.float32)
    new = sharp * np.asarray(cv2.GaussianBlur(sharp, (0, 0), SOFT * size / 256))
    first, second = (frame + new * (picture - frame) for frame in frames)
    return first, second


def _around_the_head(points: Points) -> Points:
    """Points whose hull holds head and hair, and all that is below them."""
    centre, height = points.mean(0), np.ptp(points[:, 1])
    wide = (points - centre) * (HEAD[0], 1.5) + centre
    above = (points - centre) * (HEAD[0], 1) + centre - (0, HEAD[1] * height)
    below = (points - centre) * (HEAD[0], 1) + centre + (0, 2 * height)
    return np.concatenate((wide, above, below))


def random_background(frame: Image, size: int, rng: np.random.Generator) -> Floats:
    """A picture (3, size, size), float32 in [0, 1]: a part of a frame upside down, or writing on a wall.

    Args:
        frame: of whatever clip. Upside down its people are no faces.
        size: pixels a side.
        rng: what draws.
    """
    height, width = frame.shape[:2]
    side = max(2, int(min(height, width) * rng.uniform(0.3, 1)))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    part = np.ascontiguousarray(frame[top : top + side, left : left + side][::-1])
    mode = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    picture: Floats = cv2.resize(part, (size, size), interpolation=mode).astype(np.float32) / np.float32(255)
    if rng.random() < 0.5:
        if rng.random() < 0.5:
            picture[:] = rng.random(3)
        else:
            picture *= rng.uniform(0.2, 0.8)
            picture += rng.uniform(0, 0.5)
        _write(picture, rng)
    return np.ascontiguousarray(np.clip(picture, 0, 1).transpose(2, 0, 1))


def _write(picture: Floats, rng: np.random.Generator) -> None:
    """Letters of many sizes and colours on a picture (S, S, 3)."""
    size = len(picture)
    for _ in range(rng.integers(3, 15)):
        text = "".join(map(chr, rng.integers(ord("0"), ord("z") + 1, rng.integers(2, 12))))
        place = int(rng.integers(-size // 6, size)), int(rng.integers(size))
        scale = rng.uniform(0.4, LARGEST_TEXT) * size / 256
        colour = tuple(map(float, rng.random(3)))
        cv2.putText(
            picture, text, place, int(rng.integers(8)), scale, colour, int(rng.integers(1, 5)), cv2.LINE_AA
        )
