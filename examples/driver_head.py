"""A rough three-dimensional model of the head in the portrait, for ``make_driver.py``.

Outlines and landmarks were placed by hand. A pose moves the face in two steps: ``expression_map`` warps
mouth, eyelids, brows and smile in the plane; ``HeadModel.turn`` gives the head depth and turns it.

Coordinates are pixels of the portrait, x right and y down; z points to the camera, 0 in the plane of the
ears. Pictures are textures: the square ``CROP`` of the portrait with ``DETAIL`` pixels for one, float RGB in
[0, 1], (SIDE, SIDE, 3); masks are (SIDE, SIDE) in [0, 1].
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

CROP = (128, 2, 200)  # x, y, side in the portrait: head, hair and collar
DETAIL = 3  # texture pixels for one of the portrait
LEFT, TOP, SIDE = CROP[0], CROP[1], CROP[2] * DETAIL


def points(text: str) -> Array:
    """(N, 2) from "x,y x,y"."""
    return np.array([pair.split(",") for pair in text.split()], np.float32)


HEAD = points(
    "230,15 245,17 262,22 278,32 289,43 296,60 300,76 302,88 300,98 296,108 288,119 280,128 275,133 "
    "270,137 266.5,137 265.5,143 263,150 258,159 253,166 248,170.5 240,175 232,177.7 225,178.7 218,178 "
    "210,175.5 203,171.5 197,167 192,162.5 187,155 184,147 182,139 181.5,131 179,131 174,127 170,121 "
    "165,115 158,106 154,97 152.5,85 152,72 154,61 162,50 172,42 182,36 190,32 200,23 212,18"
)
FACE = points(
    "184,76 192,74 205,79 222,80 240,82 252,86 264,89 267,95 269,120 274,136 263,150 253,168 240,180 "
    "225,185 210,180 192,166 180,140 172,125 178,118 180,100"
)
NECK = points(
    "184,120 265,120 261,140 256,165 255,172 251,186 242,190 230,189.5 215,187 200,185.5 191,183 "
    "187,178 186,165"
)
BODY = points(
    "100,195 121,176 128,167 135,160.5 143,155 155,150.5 170,148.5 187,149.5 187,175 251,175 255,171.5 "
    "262,176 272,182.5 281,191 290,203 300,230 100,230"
)
UPPER_LIP = points(
    "203.5,140.3 207,141 211,142 215,143 220,144 226,144 231,143.5 235,142.7 240,141.3 244.5,140.8"
)
LOWER_LIP = points(
    "203.5,140.5 206,144 208,146.2 210,147.7 214,149.2 220,150 225,150 230,149.5 234,147.7 238,145.5 "
    "242,143 244.5,141"
)
UPPER_LIDS = [
    points("190.5,101.5 194,100 197,99.2 200,98.8 204,98.8 207,99.3 210,100.8 213,103"),
    points("236,104.7 238,103 241,101.7 244,101 247,100.8 250,101 253,102 259.5,105"),
]
LOWER_LIDS = [
    points("190.5,101.6 195,103.4 198,104.4 202,105.3 206,105.3 210,104.8 213,103.2"),
    points("236,105 239,106.3 243,107 247,107.2 250,106.8 254,106 259.5,105.1"),
]
BROWS = [(201, 90, 3.5), (249, 93.5, 3.0)]  # x, y, pixels that they rise
MOUTH = (224.0, 141.0)  # between its corners
JAW_DROP = 10.5  # pixels that the lower lip falls when the mouth is open
PIVOT = (225.0, 140.0, -8.0)  # x, y, z of the joint that the head turns on
CAMERA = 900.0  # its distance from the ears, pixels
# Height and depth of the midline: crown, hairline, brow, root of the nose, lips, chin.
PROFILE = points("15,0 18,22 26,42 40,60 60,74 80,78 92,77 102,74 140,76 160,72 172,72 179,66 200,60")


@dataclass(frozen=True)
class Pose:
    """One moment of the performance, all 0 at rest: angles in degrees, the others as shares.

    At rest the lips are parted in a smile, as in the portrait: ``close`` 1 brings them together, ``smile``
    goes from -1, serious, to 1, broader.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    mouth: float = 0.0
    close: float = 0.0
    smile: float = 0.0
    blink: float = 0.0
    brow: float = 0.0


def smoothstep(x: Array | np.float32) -> Array:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def grid() -> tuple[Array, Array]:
    """x and y in portrait pixels of each texture pixel: (SIDE, SIDE) each."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    return LEFT + (x + 0.5) / DETAIL - 0.5, TOP + (y + 0.5) / DETAIL - 0.5


def to_texture(x: Array, y: Array) -> tuple[Array, Array]:
    """The inverse of ``grid``."""
    return (x - LEFT + 0.5) * DETAIL - 0.5, (y - TOP + 0.5) * DETAIL - 0.5


def blur(image: Array, sigma: float) -> Array:
    """Gaussian; sigma in portrait pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * DETAIL), np.float32)


def outline(mask: Array, sigma: float) -> Array:
    """The mask with its contour smoothed over sigma and an edge of about that width."""
    return smoothstep((blur(mask, sigma) - 0.5) * 1.5 + 0.5)


def filled(polygon: Array, sigma: float = 0.0) -> Array:
    """A polygon of portrait pixels as a mask in [0, 1] of the texture, its edge blurred by sigma."""
    u, v = to_texture(polygon[:, 0], polygon[:, 1])
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(mask, [np.stack([u, v], 1).round().astype(np.int32)], 255, cv2.LINE_AA)
    full = mask.astype(np.float32) / 255
    return blur(full, sigma) if sigma else full


def curve(landmarks: Array, x: Array) -> Array:
    """Height of a landmark line over x, its corners rounded."""
    xs, ys = landmarks.T
    steps = np.arange(xs[0] - 12, xs[-1] + 12, 0.25)
    line = np.interp(steps, xs, ys)
    line = cv2.GaussianBlur(line[None], (0, 0), 4)[0]
    return np.interp(x, steps, line).astype(np.float32)


def expression_map(pose: Pose) -> tuple[Array, Array, Array]:
    """Where each texture pixel comes from, in portrait pixels: x, y, and the mask of the open mouth."""
    x, y = grid()
    # Brows go up, and the lids a little with them.
    for bx, by, height in BROWS:
        near = np.exp(-(((x - bx) / 13) ** 2) - ((y - by + pose.brow * height / 2) / 5) ** 2)
        y = y + pose.brow * height * near
    # Corners of the mouth go out and up, cheeks follow.
    for side in (-1, 1):
        near = np.exp(-(((x - MOUTH[0] - side * 20) / 11) ** 2) - ((y - MOUTH[1]) / 12) ** 2)
        x = x - side * pose.smile * 3.0 * near
        y = y + pose.smile * 2.4 * near
        cheek = np.exp(-(((x - MOUTH[0] - side * 26) / 10) ** 2) - ((y - 118) / 9) ** 2)
        y = y + max(pose.smile, 0) * 2.0 * cheek
    # Lids come down: shifted whole near the lashes, less and less up to the brow.
    for upper_lid, lower_lid in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        upper, lower = curve(upper_lid, x), curve(lower_lid, x)
        inside = (x > upper_lid[0, 0]) & (x < upper_lid[-1, 0])
        closed = max(pose.blink, 0.25 * pose.smile)  # a broad smile narrows the eyes
        fall = closed * np.where(inside, np.clip(lower - upper, 0, None), 0)
        edge = upper + fall
        shift = fall * smoothstep((y - upper + 9) / (edge - upper + 9))
        y = np.where(y < edge, y - shift, y)
    # The lower lip parts from the upper teeth and takes the jaw along.
    upper, lower = curve(UPPER_LIP, x), curve(LOWER_LIP, x)
    width = np.clip(1 - ((x - MOUTH[0]) / 20.5) ** 2, 0, None)
    drop = pose.mouth * JAW_DROP * width**0.8
    rise = pose.close * np.where(width > 0, np.clip(lower - upper + 0.2, 0, None), 0)
    split = lower + drop - rise
    below = np.clip(y - split, 0, None)
    jaw = np.exp(-(((x - MOUTH[0]) / 34) ** 4)) * (pose.mouth * JAW_DROP * 0.7 - pose.close * 1.5)
    share = smoothstep(below / 26)
    moved = y - ((drop - rise) * (1 - share) + jaw * share)
    inside_mouth = smoothstep((y - lower) / 0.8 + 0.5) * smoothstep((split - y) / 0.8 + 0.5)
    return x, np.where(y < split, np.minimum(y, lower), moved), inside_mouth * (drop > rise)


class HeadModel:
    """The head as a depth map with a front and a mirrored back, splatted where a pose puts its points."""

    def __init__(self) -> None:
        x, y = grid()
        head = filled(HEAD) > 0.5
        # Across, each row is part of an ellipse: -1 and 1 at the outline.
        row_filled = head.any(1)
        left = np.where(row_filled, head.argmax(1), SIDE // 2)
        right = np.where(row_filled, SIDE - 1 - head[:, ::-1].argmax(1), SIDE // 2)
        centre = cv2.GaussianBlur(((left + right) / 2)[None], (0, 0), 6 * DETAIL)[0].astype(np.float32)
        half = cv2.GaussianBlur(((right - left) / 2)[None], (0, 0), 6 * DETAIL)[0].astype(np.float32)
        across = ((to_texture(x, y)[0] - centre[:, None]) / np.hypot(half, 17 * DETAIL)[:, None]).clip(-1, 1)
        profile = curve(PROFILE, y)
        edge = 36 * smoothstep((y - 125) / 55)  # the chin's outline lies before the ears
        hair = edge + (profile - edge) * (1 - np.abs(across) ** 2.2) ** 0.55
        face_x = ((x - 224.5) / 47).clip(-1, 1)
        face = edge + (profile - edge) * (1 - np.abs(face_x) ** 2.4) ** 0.6
        mix = filled(FACE, 2.5)
        depth = hair + (np.minimum(face, hair + 2) - hair) * mix
        depth += 5 * (1 - mix) * filled(HEAD, 3) * smoothstep((140 - y) / 20)
        nose = np.exp(-(((x - 225) / 7) ** 2) - ((y - 127) / 8) ** 2)
        bridge = np.exp(-(((x - 225) / 5) ** 2) - ((y - 110) / 13) ** 2)
        depth += 14 * nose + 6 * bridge
        for eye in (203, 247):
            depth -= 4 * np.exp(-(((x - eye) / 10) ** 2) - ((y - 102) / 6) ** 2)
        self.x, self.y, self.z = x, y, blur(depth.astype(np.float32), 1.5)
        # The back leaves the front at the outline, and not at all below the hair.
        rim = cv2.distanceTransform(head.astype(np.uint8), cv2.DIST_L2, 3) / DETAIL
        self.back_z = self.z * (1 - 1.9 * smoothstep(rim / 10) * smoothstep((131 - y) / 18))

    def turn(self, texture: Array, inside: Array, pose: Pose) -> tuple[Array, Array]:
        """The head in a pose, (SIDE, SIDE, 3), and its coverage in [0, 1].

        Args:
            texture: the head as in the portrait, after the expression.
            inside: its outline, likewise.
        """
        sheets = []
        for depth, smooth in ((self.z, 0.8), (self.back_z, 4.0)):
            maps, seen = self._splat(pose, inside > 0.5, depth, smooth)
            colour = cv2.remap(texture, maps, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            sheets.append((colour, seen))
        (front, front_seen), (back, back_seen) = sheets
        share = outline(front_seen, 1.5)[..., None]
        return back + (front - back) * share, outline(np.maximum(front_seen, back_seen), 0.8)

    def _splat(
        self, pose: Pose, mask: npt.NDArray[np.bool_], depth: Array, smooth: float
    ) -> tuple[Array, Array]:
        """Texture coordinates (SIDE, SIDE, 2) of one sheet of points, and where there are any."""
        x, y, z = self.x[mask], self.y[mask], depth[mask]
        pivot = np.array(PIVOT, np.float32)[:, None]
        turned = rotation_matrix(pose) @ (np.stack([x, y, z]) - pivot) + pivot
        order = np.argsort(turned[2], kind="stable")  # nearest last: it stays
        x, y, z, turned = x[order], y[order], z[order], turned[:, order]
        nearer = (CAMERA - z) / (CAMERA - turned[2])  # 1 at rest: the photo already is in perspective
        flat = pivot[:2] + (turned[:2] - pivot[:2]) * nearer
        own, (u, v) = to_texture(x, y), to_texture(flat[0], flat[1])
        column, row = (np.clip(w.round().astype(int), 0, SIDE - 1) for w in (u, v))
        maps = np.zeros((SIDE, SIDE, 3), np.float32)
        maps[row, column] = np.stack([own[0] + column - u, own[1] + row - v, np.ones_like(u)], 1)
        # Where the surface turns towards us its points drift apart: gaps take the mean of their neighbours.
        seen = cv2.morphologyEx(maps[..., 2], cv2.MORPH_CLOSE, cv2.getStructuringElement(2, (17, 17)))
        mean = cv2.GaussianBlur(maps, (0, 0), smooth)
        mean += 1e-4 * cv2.GaussianBlur(maps, (0, 0), 5 * smooth) + 1e-12
        return mean[..., :2] / mean[..., 2:], seen


def rotation_matrix(pose: Pose) -> Array:
    """Roll after pitch after yaw; yaw > 0 turns to the picture's right, pitch > 0 nods down."""
    a, b, c = (math.radians(v) for v in (pose.yaw, pose.pitch, pose.roll))
    yaw = [[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]]
    pitch = [[1, 0, 0], [0, math.cos(b), math.sin(b)], [0, -math.sin(b), math.cos(b)]]
    roll = [[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]]
    return (np.array(roll) @ np.array(pitch) @ np.array(yaw)).astype(np.float32)
