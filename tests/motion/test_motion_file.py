"""Motion files: what is kept, and what is refused."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from faceanim_cli.data.landmarks import DENSE_ANCHORS, PAPER_ANCHORS
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.motion.library import LIBRARY, library_motion
from faceanim_cli.motion.motion_file import Motion, read_motion, write_motion

POINTS = np.random.default_rng(0).uniform(-1, 1, (7, 10, 2)).astype(np.float32)
GOOD = {"faceanim_motion": "1", "fps": "25", "anchors": "[]", "weights": "", "reference": "null"}


def test_everything_is_kept(tmp_path: Path) -> None:
    turns = np.random.default_rng(1).standard_normal((7, 10, 2, 2)).astype(np.float32)
    motion = Motion(
        {"points": POINTS, "jacobians": turns}, Fraction(30000, 1001), PAPER_ANCHORS, "ab" * 32, 3
    )
    write_motion(tmp_path / "a.motion", motion)
    again = read_motion(tmp_path / "a.motion")
    np.testing.assert_array_equal(again.arrays["points"], POINTS)
    np.testing.assert_array_equal(again.arrays["jacobians"], turns)
    assert (again.fps, again.anchors, again.weights, again.reference) == (
        Fraction(30000, 1001), PAPER_ANCHORS, "ab" * 32, 3
    )  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"faceanim_motion": "2"}, {"fps": "0"}, {"fps": "1/0"}, {"fps": "1e9"}, {"fps": "soon"},
        {"anchors": "[[1]]"}, {"anchors": "{"}, {"anchors": "5"}, {"anchors": str([[70]] * 10)},
        {"anchors": str([[]] * 10)}, {"reference": "7"}, {"reference": "-1"}, {"reference": "true"},
    ],
)  # fmt: skip
def test_metadata_that_means_nothing_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    save_file({"points": POINTS}, tmp_path / "a.motion", {**GOOD, **wrong})
    with pytest.raises(UnreadableInputError, match=r"a\.motion"):
        read_motion(tmp_path / "a.motion")


@pytest.mark.parametrize(
    "arrays",
    [
        {}, {"points": POINTS[0]}, {"points": POINTS.astype(np.float64)}, {"points": POINTS[:0]},
        {"points": np.full_like(POINTS, np.nan)}, {"points": POINTS, "jacobians": POINTS},
    ],
)  # fmt: skip
def test_arrays_of_another_shape_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    save_file(arrays, tmp_path / "a.motion", GOOD)
    with pytest.raises(UnreadableInputError, match=r"a\.motion"):
        read_motion(tmp_path / "a.motion")


FREE = np.random.default_rng(2).uniform(-1, 1, (7, 4, 2)).astype(np.float32)


def test_free_keypoints_are_kept_for_the_weights_that_found_them(tmp_path: Path) -> None:
    motion = Motion({"points": POINTS, "free": FREE}, Fraction(25), PAPER_ANCHORS, "ab" * 32)
    write_motion(tmp_path / "a.motion", motion)
    again = read_motion(tmp_path / "a.motion")
    np.testing.assert_array_equal(again.arrays["free"], FREE)
    assert "free" in again.fitted("animation", PAPER_ANCHORS, "ab" * 32, "a").arrays
    assert set(again.fitted("animation", PAPER_ANCHORS, "cd" * 32, "a").arrays) == {"points"}


@pytest.mark.parametrize("free", [FREE[:3], FREE[..., :1], FREE[:, :0], FREE[0]])
def test_free_keypoints_of_another_shape_are_refused(tmp_path: Path, free: np.ndarray) -> None:
    save_file({"points": POINTS, "free": free}, tmp_path / "a.motion", GOOD)
    with pytest.raises(UnreadableInputError, match=r"a\.motion"):
        read_motion(tmp_path / "a.motion")


HEADS = {
    "rotation": np.repeat(np.eye(3, dtype=np.float32)[None], 7, axis=0),
    "expression": np.zeros((7, 21, 3), np.float32),
    "scale": np.ones((7, 1), np.float32),
    "translation": np.arange(21, dtype=np.float32).reshape(7, 3),
}


def test_motion_of_heads_is_kept_and_resampled_to_rotations(tmp_path: Path) -> None:
    heads = {**HEADS, "rotation": HEADS["rotation"].copy()}
    heads["rotation"][1::2] = np.float32([[0, -1, 0], [1, 0, 0], [0, 0, 1]])  # a quarter turn there and back
    write_motion(tmp_path / "a.motion", Motion(heads, Fraction(25), network="liveportrait"))
    again = read_motion(tmp_path / "a.motion")
    assert (len(again), again.network, again.arrays.keys()) == (7, "liveportrait", heads.keys())
    for name, values in heads.items():
        np.testing.assert_allclose(again.arrays[name], values, atol=1e-6)
    half = np.float32([[1, -1, 0], [1, 1, 0], [0, 0, 2**0.5]]) / 2**0.5
    faster = again.resampled(Fraction(50)).arrays
    np.testing.assert_allclose(faster["rotation"][1], half, atol=1e-6)
    np.testing.assert_allclose(faster["translation"][1], [1.5, 2.5, 3.5])


@pytest.mark.parametrize(
    "wrong",
    [
        {"expression": HEADS["expression"][:6]}, {"rotation": HEADS["rotation"][:, :2].copy()},
        {"scale": HEADS["expression"]}, {"scale": 0 * HEADS["scale"]},
        {"translation": np.full((7, 3), np.inf, np.float32)},
    ],
)  # fmt: skip
def test_heads_of_another_shape_are_refused(tmp_path: Path, wrong: dict[str, np.ndarray]) -> None:
    save_file({**HEADS, **wrong}, tmp_path / "a.motion", GOOD)
    with pytest.raises(UnreadableInputError, match=r"a\.motion"):
        read_motion(tmp_path / "a.motion")


@pytest.mark.parametrize("turned", [False, True])
def test_frames_without_keypoints_hold_the_last_that_have_some(tmp_path: Path, turned: bool) -> None:
    points, turns = POINTS.copy(), np.ones((7, 10, 2, 2), np.float32)
    points[[0, 3, 4], 5], points[6] = np.nan, np.inf
    if turned:
        turns[2] = np.nan
    arrays = {"points": points, "jacobians": turns} if turned else {"points": points}
    save_file(arrays, tmp_path / "a.motion", GOOD)
    held = [1, 1, 1, 1, 1, 5, 5] if turned else [1, 1, 2, 2, 2, 5, 5]
    np.testing.assert_array_equal(read_motion(tmp_path / "a.motion").arrays["points"], POINTS[held])


def test_shots_are_kept_and_nothing_lies_between_two(tmp_path: Path) -> None:
    steps = np.repeat([0.0, 0.8], 5).astype(np.float32)[:, None, None] * np.ones((1, 3, 2), np.float32)
    write_motion(tmp_path / "a.motion", Motion({"points": steps}, Fraction(25), starts=(0, 5)))
    faster = read_motion(tmp_path / "a.motion").resampled(Fraction(40))
    assert (len(faster), faster.starts) == (16, (0, 8))
    np.testing.assert_array_equal(np.unique(faster.arrays["points"]), np.float32([0.0, 0.8]))
    np.testing.assert_array_equal(faster.arrays["points"][:, 0, 0] > 0, np.arange(16) >= 8)


@pytest.mark.parametrize("starts", ["[]", "[1]", "[0, 9]", "[0, 3, 3]", "{}", "[0, true]", "[0, -1]"])
def test_shots_that_are_none_are_refused(tmp_path: Path, starts: str) -> None:
    save_file({"points": POINTS}, tmp_path / "a.motion", {**GOOD, "starts": starts})
    with pytest.raises(UnreadableInputError, match=r"a\.motion"):
        read_motion(tmp_path / "a.motion")


def test_an_excerpt_is_a_motion_of_its_own() -> None:
    motion = Motion({"points": POINTS}, Fraction(5), reference=3, starts=(0, 4)).excerpt(0.4, 0.8, "x")
    np.testing.assert_array_equal(motion.arrays["points"], POINTS[2:6])
    assert (motion.reference, motion.starts) == (1, (0, 2))
    assert Motion({"points": POINTS}, Fraction(5), reference=1).excerpt(0.4, None, "x").reference is None
    with pytest.raises(UsageError, match=r"x: a start of 1\.4 s"):
        motion.excerpt(1.4, None, "x")


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    write_motion(tmp_path / "a.motion", Motion({"points": POINTS}, Fraction(25)))
    whole = (tmp_path / "a.motion").read_bytes()
    for size in (0, 4, 8, 60, len(whole) // 2, len(whole) - 1):
        (tmp_path / "b.motion").write_bytes(whole[:size])
        with pytest.raises(UnreadableInputError, match=r"b\.motion"):
            read_motion(tmp_path / "b.motion")
    with pytest.raises(UnreadableInputError, match="check the path"):
        read_motion(tmp_path / "c.motion")


def test_another_rate_keeps_the_length_and_the_path() -> None:
    ramp = np.arange(10, dtype=np.float32)[:, None, None] * np.ones((1, 3, 2), np.float32)
    motion = Motion({"points": ramp}, Fraction(25), reference=4).resampled(Fraction(50))
    assert (len(motion), motion.fps, motion.reference) == (20, 50, 8)
    np.testing.assert_allclose(motion.arrays["points"][:19, 0, 0], np.arange(19) / 2)


def test_keypoints_of_other_weights_are_refused() -> None:
    same = Motion({"points": POINTS}, Fraction(25), PAPER_ANCHORS, weights="a")
    assert same.fitted("animation", PAPER_ANCHORS, "b", "x") is same
    with pytest.raises(UsageError, match="x: made with"):
        Motion({"points": POINTS}, Fraction(25), PAPER_ANCHORS).fitted("animation", DENSE_ANCHORS, "", "x")
    with pytest.raises(UsageError, match="x: made with"):
        Motion({"points": POINTS}, Fraction(25), weights="a").fitted("animation", (), "b", "x")


def test_files_from_before_pupils_were_found_still_fit() -> None:
    with_pupils = (*DENSE_ANCHORS, (68,), (69,))
    older = library_motion("nod", DENSE_ANCHORS)
    fitted = older.fitted("animation", with_pupils, "", "x")
    seen, known = fitted.arrays["points"], older.arrays["points"]
    assert fitted.anchors == with_pupils
    np.testing.assert_array_equal(seen[:, :29], known)
    np.testing.assert_allclose(seen[:, 29], known[:, :2].mean(1))  # amidst 36 and 39
    np.testing.assert_allclose(seen[:, 30], known[:, 2:4].mean(1))
    newer = library_motion("nod", with_pupils)
    np.testing.assert_array_equal(newer.fitted("animation", DENSE_ANCHORS, "", "x").arrays["points"], known)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_starts_and_ends_at_rest_and_moves_between(name: str) -> None:
    motion = library_motion(name, DENSE_ANCHORS)
    moved = np.abs(motion.arrays["points"] - motion.arrays["points"][0]).max((1, 2))
    assert moved[-1] < 1e-6
    assert 0.02 < moved.max() < 0.3
    with pytest.raises(UsageError, match=name):
        library_motion(name, ())
