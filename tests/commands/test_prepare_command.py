"""``faceanim prepare`` as a shell calls it: what is printed, and exit codes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Run = Callable[..., tuple[int, str, str]]

SMALL = ("--size", 128, "--min-size", 96, "--min-frames", 6, "-j", 1)


@pytest.fixture
def videos(tmp_path: Path, make_driver: Callable[..., Path]) -> Path:
    """Two people with landmarks: one drifts, the other is the same in fewer frames."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, frames in (("anna", 9), ("ben", 7)):
        shutil.move(make_driver(frames=frames), folder / f"{name}.mp4")
        face = np.random.default_rng(0).uniform(60, 180, (68, 2))
        np.save(folder / f"{name}.npy", [face + np.array((4 * n, 0)) for n in range(frames)])
    return folder


def test_prepare_then_check(faceanim: Run, videos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    code, out, err = faceanim("prepare", videos, "-o", data, *SMALL)
    assert code == 0
    assert out == f"{data / 'manifest.csv'}\n"
    assert "1 clips of 1 people to train on, 1 of 1 to validate on" in err

    code, out, _ = faceanim("prepare", "--check", data)
    assert code == 0
    assert "no trouble found" in out

    next((data / "clips").iterdir()).unlink()
    code, out, err = faceanim("prepare", "--check", data)
    assert code == 1
    assert out.startswith("clips/")
    assert "1 findings in 2 clips" in err
    code, out, _ = faceanim("prepare", "--check", data, "--json")
    assert code == 1
    assert len(json.loads(out)["trouble"]) == 1


def test_a_broken_video_among_others(faceanim: Run, videos: Path, tmp_path: Path) -> None:
    (videos / "broken.mp4").write_bytes(b"no video")
    np.save(videos / "broken.npy", np.zeros((3, 68, 2)))
    code, out, err = faceanim("prepare", videos, "-o", tmp_path / "data", *SMALL, "--json")
    assert code == 1
    assert len(json.loads(out)["clips"]) == 2
    assert err.splitlines()[-1].endswith("broken.mp4")


def test_one_single_video_has_nobody_to_validate_on(faceanim: Run, videos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    code, _, err = faceanim("prepare", videos / "anna.mp4", "-o", data, *SMALL)
    assert code == 0
    assert "1 clips of 1 people to train on, 0 of 0 to validate on" in err
    code, out, _ = faceanim("prepare", "--check", data)
    assert code == 1
    assert out == "nobody to validate on\n"


def test_bad_input_is_one_line(faceanim: Run, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases = [
        (("prepare",), 2, "faceanim prepare VIDEOS... -o DATA"),
        (("prepare", videos), 2, "faceanim prepare VIDEOS... -o DATA"),
        (("prepare", tmp_path / "empty", "-o", tmp_path / "x"), 5, "no video"),
        (("prepare", tmp_path / "nowhere", "-o", tmp_path / "x"), 5, "no such file"),
        (("prepare", videos, "-o", tmp_path / "x", "--size", 65), 2, "even number"),
        (("prepare", "--check", tmp_path / "empty"), 5, "faceanim prepare"),
        (("prepare", videos, "--check", tmp_path), 2, "--check"),
    ]
    for arguments, expected, says in cases:
        code, out, err = faceanim(*arguments)
        assert (code, out) == (expected, "")
        assert says in err
        assert len(err.splitlines()) == 1
    assert not (tmp_path / "x").exists()
