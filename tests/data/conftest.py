"""A face that nobody has: 68 landmarks drawn by hand, and frames with coloured dots where they lie."""

from dataclasses import dataclass

import numpy as np

from faceanim_cli.data.clips import Clip


def face_landmarks() -> np.ndarray:
    """(68, 2): a face that looks straight ahead, x right and y down, about 2 wide, in the usual order."""
    angle = np.pi * np.arange(17) / 16
    jaw = np.stack((-np.cos(angle), 1.1 * np.sin(angle)), axis=1)  # from the picture's left over the chin
    brow = [(-0.8, -0.45), (-0.66, -0.55), (-0.5, -0.58), (-0.34, -0.55), (-0.2, -0.48)]
    nose = [(0, -0.25), (0, -0.13), (0, -0.01), (0, 0.1)]
    wings = [(-0.2, 0.18), (-0.1, 0.21), (0, 0.23), (0.1, 0.21), (0.2, 0.18)]
    left_eye = [(-0.6, -0.25), (-0.48, -0.32), (-0.36, -0.32), (-0.24, -0.25), (-0.36, -0.19), (-0.48, -0.19)]
    right_eye = [(0.24, -0.25), (0.36, -0.32), (0.48, -0.32), (0.6, -0.25), (0.48, -0.19), (0.36, -0.19)]
    lips = [(-0.35, 0.5), (-0.22, 0.42), (-0.1, 0.39), (0, 0.41), (0.1, 0.39), (0.22, 0.42), (0.35, 0.5)]
    under = [(0.22, 0.6), (0.1, 0.64), (0, 0.65), (-0.1, 0.64), (-0.22, 0.6)]
    inner = [
        (-0.28, 0.5),
        (-0.1, 0.47),
        (0, 0.48),
        (0.1, 0.47),
        (0.28, 0.5),
        (0.1, 0.54),
        (0, 0.55),
        (-0.1, 0.54),
    ]
    right_brow = [(-x, y) for x, y in reversed(brow)]
    rest = [*brow, *right_brow, *nose, *wings, *left_eye, *right_eye, *lips, *under, *inner]
    return np.concatenate((jaw, np.array(rest, float)))


def draw_dots(height, width, places, radius=2.5) -> np.ndarray:
    """uint8 (height, width, 3): one soft dot in red, green and blue each, at places (3, 2) given as x, y."""
    ys, xs = np.mgrid[:height, :width]
    dots = [np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * radius**2)) for x, y in places]
    return np.rint(255 * np.stack(dots, axis=-1)).astype(np.uint8)


def centroids(picture) -> np.ndarray:
    """(3, 2) x, y of the dot in each channel of (3, H, W)."""
    picture = np.where(np.asarray(picture) > 0.1, picture, 0.0)
    ys, xs = np.mgrid[: picture.shape[1], : picture.shape[2]]
    weight = picture.sum((1, 2))
    return np.stack(((picture * xs).sum((1, 2)), (picture * ys).sum((1, 2))), axis=-1) / weight[:, None]


@dataclass
class DottedClip:
    """A clip whose frames show three of its landmarks as a red, a green and a blue dot."""

    clip: Clip
    marked: tuple[int, int, int]


def dotted_clip(marked, *, frames=5, height=200, width=230, scale=32.0, seed=0, identity="a") -> DottedClip:
    """Each frame's face lies and looks a little different: no two are related by turning or zooming."""
    rng = np.random.default_rng(seed)
    middle = np.array([width, height]) / 2
    points = np.stack(
        [
            middle + rng.uniform(-4, 4, 2) + scale * (face_landmarks() + 0.03 * rng.standard_normal((68, 2)))
            for _ in range(frames)
        ]
    )
    pictures = np.stack([draw_dots(height, width, p[list(marked)]) for p in points])
    return DottedClip(Clip(f"{identity}-clip", identity, pictures, points.astype(np.float32)), marked)
