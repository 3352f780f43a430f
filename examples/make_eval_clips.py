"""Make the clips that ``faceanim eval`` scores when it is given no data.

    python examples/make_eval_clips.py [FOLDER]        (needs scikit-image, for the portrait; some seconds)

All of them come from NASA's official portrait of astronaut Eileen Collins, ``skimage.data.astronaut()``, in
the public domain: three are cut from ``driver.mp4``, which ``make_driver.py`` synthesises from it with
restyled hair before a wall, and one is the portrait itself, drifting, tilting and coming nearer. They show
that scoring works; they say nothing about how well weights do on people.
"""

import argparse
import math
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from faceanim_cli.media import VideoReader, VideoWriter

DRIVER = Path(__file__).parent / "driver.mp4"
FPS = 25
SIZE = 256  # pixels, as the driver's
CRF = 26  # about 20 KB a second; the clips travel with every installation
CUTS = {"turn": (0, 32), "talk": (32, 60), "nod": (71, 100)}  # frames of the driver
MANIFEST = "file,split,identity\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the example clips of faceanim eval.")
    default = Path(__file__).parent.parent / "faceanim_cli" / "data" / "example_clips"
    parser.add_argument("folder", type=Path, nargs="?", default=default, help="where to")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    tags = {
        "title": "Synthesised from a portrait",
        "comment": "NASA, public domain; skimage.data.astronaut()",
    }
    frames = list(VideoReader(DRIVER))
    lines = [MANIFEST]
    for name, (start, end) in CUTS.items():
        write(folder / f"{name}.mp4", frames[start:end], tags)
        lines.append(f"{name}.mp4,val,restyled\n")
    write(folder / "drift.mp4", [drifted(second / FPS) for second in range(30)], tags)
    lines.append("drift.mp4,val,portrait\n")
    (folder / "manifest.csv").write_text("".join(lines))


def drifted(seconds: float) -> np.ndarray:
    """The portrait's head, moved as a whole."""
    phase = 2 * math.pi * seconds / 1.2
    turn = cv2.getRotationMatrix2D((222, 115), 6 * math.sin(phase), 1.15 + 0.08 * math.sin(phase / 2))
    turn[:, 2] += (SIZE / 2 - 222 + 8 * math.sin(phase), SIZE / 2 - 115 + 4 * (1 - math.cos(phase)))
    moved = cv2.warpAffine(
        data.astronaut(), turn, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def write(path: Path, frames: list[np.ndarray], tags: dict[str, str]) -> None:
    with VideoWriter(path, Fraction(FPS), (SIZE, SIZE), crf=CRF, metadata=tags) as video:
        for frame in frames:
            video.write(np.ascontiguousarray(frame))


if __name__ == "__main__":
    main()
