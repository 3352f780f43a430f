"""Motion files from a driver to a result, and the frame that motion counts from."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceanim_cli import Animator
from faceanim_cli.animation.job import animate_file, save_motion
from faceanim_cli.animation.result import RenderSettings
from faceanim_cli.errors import UsageError
from faceanim_cli.media import Encoding, VideoReader


def test_a_motion_file_gives_what_its_driver_gives(
    animator: Animator, photo: Path, make_driver: Callable[..., Path], tmp_path: Path
) -> None:
    driver = make_driver(frames=9, fps=Fraction(30000, 1001))
    save_motion(animator, driver, tmp_path / "a.motion")
    results = {}
    for name, source in (("video", driver), ("file", tmp_path / "a.motion")):
        out = tmp_path / f"{name}.mkv"
        # Lossless: a pixel that rounds another way is not to change those around it.
        render = RenderSettings(encoding=Encoding("ffv1"))
        result = animate_file(animator, photo, source, out, start_frame=4, render=render)
        video = VideoReader(out)
        results[name] = np.stack(list(video)).astype(int)
        assert (result.frames, result.start_frame, video.fps) == (9, 4, Fraction(30000, 1001))
    assert np.abs(results["video"] - results["file"]).max() <= 1


def test_a_frame_that_is_not_there_is_refused(
    animator: Animator, photo: Path, make_driver: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no frame 9"):
        animate_file(animator, photo, make_driver(frames=9), tmp_path / "a.mp4", start_frame=9)
    assert not (tmp_path / "a.mp4").exists()


def test_the_library_is_used_by_name(animator: Animator, photo: Path, tmp_path: Path) -> None:
    result = animate_file(animator, photo, Path("nod"), tmp_path / "a.mp4")
    assert (result.frames, result.fps, result.start_frame) == (75, 25, 0)


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("--side-by-side", {"render": RenderSettings(side_by_side=True)}),
        ("--driver-face", {"driver_face": 1}),
        ("--driver-crop", {"driver_crop": None}),
        ("--driver-crop", {"driver_crop": (0.0, 0.0, 50.0, 50.0)}),
    ],
)
def test_what_asks_for_frames_is_refused_where_a_driver_has_none(
    animator: Animator, photo: Path, tmp_path: Path, option: str, given: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=f"^nod has no frames to show: leave out {option}$"):
        animate_file(animator, photo, Path("nod"), tmp_path / "b.mp4", **given)
