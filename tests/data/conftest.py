"""A face that nobody has, drawn by hand, and frames of it; and videos of the astronaut, whose face drifts."""

import csv
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.prepare import PreparationSettings, prepare
from faceanim_cli.data.sequences import SequenceSettings
from faceanim_cli.media import VideoWriter

WIDTH, HEIGHT = 320, 256
LEFT = 70  # column of the portrait where the video's frames begin
EYES = np.array([(203.4, 100.9), (247.1, 103.3)])  # pupils in the portrait, read off an enlargement
SETTINGS = PreparationSettings(
    size=64, sequences=SequenceSettings(1.75, min_size=128, min_frames=6), jobs=2, device="cpu"
)


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


def landmarks_at(count, drift=1.0):
    """Landmarks that lie on a grid over the face and drift with it; all 68 differ."""
    grid = np.stack(np.meshgrid(np.linspace(180, 270, 17), np.linspace(80, 170, 4)), axis=-1).reshape(68, 2)
    return np.stack([grid - [LEFT - drift * n, 0] for n in range(count)]).astype(np.float32)


@pytest.fixture(scope="module")
def videos(tmp_path_factory, astronaut):
    """Writes videos, each kind once."""
    made = {}

    def video(frames, tint):
        if (frames, tint) not in made:
            path = tmp_path_factory.mktemp("videos") / "video.mp4"
            picture = np.clip(astronaut.astype(int) + tint, 0, 255).astype(np.uint8)
            with VideoWriter(path, Fraction(25), (WIDTH, HEIGHT)) as writer:
                for n in range(frames):
                    writer.write(np.ascontiguousarray(picture[:HEIGHT, LEFT - n : LEFT - n + WIDTH]))
            made[frames, tint] = path.read_bytes()
        return made[frames, tint]

    return video


@pytest.fixture
def make_video(tmp_path, videos):
    """A video of the face that drifts right, landmarks beside it unless told otherwise."""

    def make(name, frames=8, landmarks=True, tint=0):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(videos(frames, tint))
        if landmarks:
            np.save(path.with_suffix(".npy"), landmarks_at(frames))
        return path

    return make


def write_empty(folder, name, frames=10):
    """A video of nobody, with landmarks, so that no model needs loading."""
    np.save((folder / name).with_suffix(".npy"), np.full((frames, 68, 2), np.nan))
    with VideoWriter(folder / name, Fraction(25), (WIDTH, HEIGHT)) as writer:
        for _ in range(frames):
            writer.write(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def prepare_table(tmp_path, settings):
    """The manifest's rows after ``in`` was prepared into ``out``."""
    prepare([tmp_path / "in"], tmp_path / "out", settings)
    return table(tmp_path / "out" / "manifest.csv")
