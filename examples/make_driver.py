"""Make the two files that the examples start from: ``portrait.jpg`` and ``driver.mp4``.

    python examples/make_driver.py [FOLDER]        (needs scikit-image, for the portrait; about a minute)

The portrait is NASA's official photograph of astronaut Eileen Collins, ``skimage.data.astronaut()``, in the
public domain. The driver is a performance that never happened: the same face, mirrored, with darker hair
before a plain wall, moved by the head model in ``driver_head.py`` as ``TIMELINE`` says, and humming.
"""

import argparse
import tempfile
import wave
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from driver_head import (
    BODY,
    CROP,
    DETAIL,
    FACE,
    HEAD,
    JAW_DROP,
    MOUTH,
    NECK,
    SIDE,
    Array,
    HeadModel,
    Pose,
    blur,
    expression_map,
    filled,
    grid,
    smoothstep,
    to_texture,
)
from PIL import Image
from skimage import data

from faceanim_cli.media import VideoWriter

CREDIT = "NASA official portrait of astronaut Eileen Collins; public domain; skimage.data.astronaut()"

FPS = 25
SECONDS = 4.0
SIZE = 256  # pixels of the driver, the size that the networks see
SOUND_RATE = 48000

# What moves when: (seconds, value), eased in and out between. Angles in degrees, the others as shares.
TIMELINE: dict[str, list[tuple[float, float]]] = {
    "yaw": [(0.15, 0), (0.65, -18), (0.75, -18), (1.4, 18), (1.5, 18), (2.0, 0)],
    "pitch": [(1.9, 0), (2.25, 9), (2.65, -9), (3.0, 0)],
    "roll": [(2.85, 0), (3.15, 8), (3.55, -8), (3.9, 0)],
    "mouth": [(1.3, 0), (1.55, 0.9), (1.75, 0.15), (2.0, 1), (2.3, 0), (2.5, 0)],
    "close": [(0.5, 0), (0.85, 1), (1.25, 1), (1.45, 0), (2.3, 0), (2.5, 1), (2.7, 1), (2.95, 0)],
    "smile": [(0.5, 0), (0.9, -1), (2.6, -1), (3.0, 0.8), (3.4, 0.8), (3.85, 0)],
    "blink": [(0.3, 0), (0.4, 1), (0.44, 1), (0.58, 0), (2.5, 0), (2.6, 1), (2.64, 1), (2.8, 0)],
    "brow": [(1.5, 0), (1.75, 1), (2.05, 1), (2.35, 0)],
}


def pose_at(seconds: float) -> Pose:
    """The timeline at one moment: smoothstep from key to key, at rest before the first and after the last."""
    values = {}
    for name, keys in TIMELINE.items():
        values[name] = keys[-1][1] if seconds >= keys[-1][0] else keys[0][1]
        for (t0, v0), (t1, v1) in pairwise(keys):
            if t0 <= seconds < t1:
                values[name] = v0 + (v1 - v0) * float(smoothstep(np.float32((seconds - t0) / (t1 - t0))))
    return Pose(**values)


class DriverScene:
    """Head, neck, suit and wall in layers, prepared once; ``render`` gives a frame."""

    def __init__(self, portrait: npt.NDArray[np.uint8]) -> None:
        x0, y0, side = CROP
        photo = portrait[y0 : y0 + side, x0 : x0 + side].astype(np.float32) / 255
        photo = cv2.resize(photo, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        self.model = HeadModel()
        self.head = head_matte(photo)
        graded = restyled(photo)
        self.texture = without_fringe(graded, self.head, 2.0)
        self.backdrop = self._backdrop(graded)
        self.neck = filled(NECK, 0.4)

    def _backdrop(self, photo: Array) -> Array:
        """Wall, suit and neck, as if the head were away."""
        x, y = grid()
        shade = 1 - 0.22 * np.hypot((x - 205) / 130, (y - 70) / 130)[..., None]
        wall = shade * np.array([0.66, 0.72, 0.76], np.float32)
        suit = filled(BODY, 0.5)[..., None]
        body = without_fringe(photo, filled(BODY), 1.5)
        picture = wall + (body - wall) * suit
        skin_area = filled(NECK) * (1 - filled(HEAD, 0.6))
        skin = spread(photo, skin_area > 0.97)
        neck = filled(NECK, 0.5)[..., None]
        return np.asarray(picture + (skin - picture) * neck, np.float32)

    def render(self, pose: Pose) -> npt.NDArray[np.uint8]:
        """One frame: uint8 RGB (SIZE, SIZE, 3)."""
        x, y, mouth = expression_map(pose)
        u, v = to_texture(x, y)
        texture = cv2.remap(self.texture, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        head = cv2.remap(self.head, u, v, cv2.INTER_LINEAR)
        x, y = grid()
        tongue = np.exp(-(((x - MOUTH[0]) / 12) ** 2) - ((y - 152 - pose.mouth * JAW_DROP) / 5) ** 2)
        inside = np.float32([0.10, 0.03, 0.03]) + tongue[..., None] * np.float32([0.34, 0.14, 0.14])
        texture += (inside - texture) * mouth[..., None]
        face, coverage = self.model.turn(texture, head, pose)
        shadow = np.roll(blur(coverage, 4.0), 5 * DETAIL, axis=0) * self.neck
        picture = self.backdrop * (1 - 0.45 * shadow[..., None])
        picture = (picture + (face - picture) * coverage[..., None]).clip(0, 1)
        small = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)[:, ::-1]
        return np.asarray((small * 255).round(), np.uint8)


def head_matte(photo: Array) -> Array:
    """The head's outline: drawn by hand, found in colour (GrabCut) where hair meets the wall."""
    drawn = filled(HEAD)
    wide, tight = blur(drawn, 2.5) > 0.02, blur(drawn, 2.5) > 0.93
    cv2.setRNGSeed(0)  # GrabCut starts from random clusters
    labels = np.where(wide, cv2.GC_PR_BGD, cv2.GC_BGD)
    labels[drawn > 0.5] = cv2.GC_PR_FGD
    labels[tight] = cv2.GC_FGD
    labels = labels.astype(np.uint8)
    picture = (photo[..., ::-1] * 255).astype(np.uint8).copy()
    cv2.grabCut(picture, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    by_colour = smoothstep((118 - grid()[1]) / 4)
    return blur(found * by_colour + drawn * (1 - by_colour), 0.5)


def spread(image: Array, known: npt.NDArray[np.bool_]) -> Array:
    """The colours of the known pixels, carried on smoothly over all others."""
    weight = known.astype(np.float32)
    result = np.zeros_like(image)
    settled = np.zeros_like(weight)
    for sigma in (1.0, 2.5, 6.0, 15.0, 40.0):
        total = blur(weight, sigma)
        mean = blur(image * weight[..., None], sigma) / (total[..., None] + 1e-6)
        share = smoothstep(total / 0.2) * (1 - settled)
        result += mean * share[..., None]
        settled += share
    result = result + mean * (1 - settled)[..., None]
    soft = blur(weight, 0.4)[..., None] * weight[..., None]
    return np.asarray(result + (image - result) * soft, np.float32)


def without_fringe(image: Array, mask: Array, margin: float) -> Array:
    """The image with the mask's rim, where the old background shines through, replaced from the inside."""
    inner = blur((mask > 0.5).astype(np.float32), margin / 2) > 0.97
    return spread(image, inner)


def restyled(photo: Array) -> Array:
    """Darker, redder hair: with the mirroring and the wall, unlike the portrait at first sight."""
    hair = (filled(HEAD, 1.0) * (1 - filled(FACE, 1.5)))[..., None]
    dark = photo**1.25 * np.array([0.62, 0.50, 0.48], np.float32)
    return np.asarray(photo + (dark - photo) * hair, np.float32)


def hum(path: Path) -> None:
    """Two quiet notes, as loud as the mouth is open, as a mono WAV file."""
    t = np.arange(int(SECONDS * SOUND_RATE)) / SOUND_RATE
    opening = np.array([max(pose_at(s).mouth, 0.0) for s in np.arange(0, SECONDS, 0.01)])
    loudness = np.interp(t, np.arange(0, SECONDS, 0.01), opening)
    pitch = np.where(t < 1.75, 220.0, 277.18)
    phase = 2 * np.pi * np.cumsum(pitch) / SOUND_RATE
    tone = np.sin(phase) + 0.3 * np.sin(2 * phase) + 0.1 * np.sin(3 * phase)
    samples = (0.12 * loudness * tone * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SOUND_RATE, len(samples), "NONE", "not compressed"))
        file.writeframes(samples.tobytes())


def write_portrait(path: Path) -> None:
    """The whole photograph, 512 x 512, with its credit in EXIF and in the JPEG comment."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x8298] = CREDIT, "NASA", "Public domain"
    Image.fromarray(data.astronaut()).save(path, quality=92, exif=exif, comment=CREDIT.encode())


def write_driver(path: Path) -> None:
    """Render all frames, about three a second on one core."""
    scene = DriverScene(data.astronaut())
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "hum.wav"
        hum(sound)
        tags = {"title": "Driving video, synthesised from a photo", "comment": f"Made from: {CREDIT}"}
        size = (SIZE, SIZE)
        with VideoWriter(path, Fraction(FPS), size, audio_from=sound, crf=17, metadata=tags) as video:
            for number in range(round(SECONDS * FPS)):
                video.write(scene.render(pose_at(number / FPS)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make portrait.jpg and driver.mp4.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent, help="where to")
    folder = parser.parse_args().folder
    write_portrait(folder / "portrait.jpg")
    write_driver(folder / "driver.mp4")


if __name__ == "__main__":
    main()
