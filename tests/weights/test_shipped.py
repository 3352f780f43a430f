"""The weights that ship: there, small, licensed, and moving a head as the driver moves."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli import Animator
from faceanim_cli.faces import FaceDetector
from faceanim_cli.media import VideoReader, read_photo
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.weights.catalogue import ANIMATION, SUPER_RESOLUTION, shipped_weights
from faceanim_cli.weights.checkpoint import load_checkpoint, read_metadata

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_all_shipped_weights_together_stay_under_60_mb() -> None:
    folder = shipped_weights(ANIMATION).parent
    assert sum(file.stat().st_size for file in folder.iterdir()) < 60e6


@pytest.mark.parametrize(
    ("name", "network"), [(ANIMATION, "animation"), (SUPER_RESOLUTION, "super-resolution")]
)
def test_they_load_and_name_their_licence(name: str, network: str) -> None:
    load_checkpoint(shipped_weights(name), network)
    assert read_metadata(shipped_weights(name))["licence"] == "CC BY-NC 4.0"


def test_the_portraits_head_follows_the_driver_and_its_background_stays() -> None:
    # At rest, turned to the right of the picture, and to the left (examples/README.md).
    frames = list(islice(VideoReader(EXAMPLES / "driver.mp4"), 37))
    animator = Animator(device="cpu", precision="fp32", sr=False)
    animator.set_photo(read_photo(EXAMPLES / "portrait.jpg"))
    results = list(animator.animate([frames[0], frames[17], frames[36]]))
    detector = FaceDetector()
    rest, right, left = (detector.detect(result, thorough=True)[0].cx for result in results)
    assert right > rest + 8
    assert left < rest - 8
    wall = results[0][30:120, :20].astype(int)  # beside the hair
    for result in results[1:]:
        assert np.abs(result[30:120, :20] - wall).mean() < 6


def test_they_know_pupils_whose_gaze_can_be_steered() -> None:
    portrait = read_photo(EXAMPLES / "portrait.jpg")
    animator = Animator(device="cpu", precision="fp32", sr=False, motion=MotionSettings(gaze=0.0))
    assert animator.anchors[-2:] == ((68,), (69,))
    animator.set_photo(portrait)
    (result,) = animator.animate([portrait])
    before, after = (animator.keypoints([picture])[0] for picture in (result, result[:, ::-1].copy()))
    # Of a mirrored picture the same eye is the other one: x is negated, to within a pixel.
    assert np.abs(before[29] - after[30] * (-1, 1)).max() < 2 / 127.5


def test_super_resolution_doubles_and_keeps_the_picture() -> None:
    portrait = read_photo(EXAMPLES / "portrait.jpg")
    plain = Animator(device="cpu", precision="fp32", sr=False)
    doubled = Animator(device="cpu", precision="fp32")
    for animator in (plain, doubled):
        animator.set_photo(portrait)
    (small,), (large,) = plain.animate([portrait]), doubled.animate([portrait])
    assert large.shape == (512, 512, 3)
    shrunk = large.reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 2
