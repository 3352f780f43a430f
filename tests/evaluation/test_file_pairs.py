"""The files protocol: copies are perfect; what is missing or does not fit is named, the rest is scored."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.errors import FaceanimError, UnreadableInputError
from faceanim_cli.evaluation.file_pairs import FilePair, file_pairs, frames_by_name, missing_frames
from faceanim_cli.evaluation.frames import MetricNetworks
from faceanim_cli.evaluation.metrics import choose_metrics
from faceanim_cli.evaluation.protocols import PREDICTED
from faceanim_cli.evaluation.runner import Evaluation, evaluate
from faceanim_cli.image_metrics import psnr

Folder = Callable[..., Path]
Noise = Callable[..., np.ndarray]


def run(predicted: Path, truth: Path, metrics: str = "psnr,ssim,l1", size: int | None = None) -> Evaluation:
    chosen = choose_metrics(metrics, "files")
    jobs = [pair.job() for pair in file_pairs(predicted, truth, size)]
    return evaluate(jobs, [PREDICTED], chosen, MetricNetworks())


def one(predicted: Path, truth: Path, metrics: str = "l1", size: int | None = None) -> tuple[dict, int, str]:
    (row,) = run(predicted, truth, metrics, size).rows
    return dict(row.values), row.frames, row.problem


def smooth(frames: int, side: int = 48) -> np.ndarray:
    """Frames of slowly changing stripes, no two alike."""
    x = np.arange(side)
    waves = [
        127 + 120 * np.sin(x / 6 + 0.7 * i)[None, :, None] * np.ones((side, 1, 3)) for i in range(frames)
    ]
    return np.stack(waves).astype(np.uint8)


def test_a_copy_of_the_truth_is_perfect(frame_folder: Folder, video: Folder, noise: Noise) -> None:
    for role in ("ours", "truth"):
        frame_folder(f"{role}/a", noise(3))
        video(f"{role}/b.mp4", noise(4, seed=1))
    place = frame_folder("ours/a2", noise(1)).parent.parent
    frame_folder("truth/a2", noise(1))
    result = run(place / "ours", place / "truth", "psnr,ssim,l1,flicker")
    assert [(row.clip, row.frames, row.problem) for row in result.rows] == [
        ("a", 3, ""),
        ("a2", 1, ""),
        ("b", 4, ""),
    ]
    scores = result.summaries["predicted"]
    assert scores["psnr"].mean == scores["psnr"].low == math.inf
    assert scores["ssim"].mean == pytest.approx(1)
    assert scores["l1"].mean == 0
    assert scores["flicker"].mean == 0
    assert scores["flicker"].clips == 2  # one frame alone does not flicker
    assert not result.problems


def test_a_missing_frame_file_is_named_and_the_rest_counted(frame_folder: Folder, noise: Noise) -> None:
    truth, ours = frame_folder("truth", noise(5)), frame_folder("ours", noise(5), skip=(2,))
    values, frames, problem = one(ours, truth)
    assert (values["l1"], frames) == (0, 4)
    assert problem == "the prediction lacks frame 0002; 4 of 5 frames compared"
    values, frames, problem = one(truth, ours)
    assert (values["l1"], frames) == (0, 4)
    assert "the truth lacks frame 0002" in problem


@pytest.mark.parametrize("missing", [0, 4, 9])
def test_a_frame_missing_in_a_video_is_found(video: Folder, missing: int) -> None:
    frames = smooth(10)
    truth, ours = video("truth.mp4", frames), video("ours.mp4", np.delete(frames, missing, axis=0))
    values, count, problem = one(ours, truth)
    assert values["l1"] < 0.001
    assert count == 9
    assert (
        problem
        == f"9 predicted frames, 10 true ones; the prediction lacks frame {missing}; 9 of 10 frames compared"
    )
    assert f"the truth lacks the prediction's frame {missing}" in one(truth, ours)[2]


def test_videos_of_very_different_length_are_compared_as_far_as_they_go(video: Folder) -> None:
    frames = smooth(30)
    values, count, problem = one(video("ours.mp4", frames[:12]), video("truth.mp4", frames))
    assert (count, problem) == (12, "12 predicted frames, 30 true ones; the first 12 compared")
    assert values["l1"] < 0.001


def test_the_alignment_skips_what_costs_least() -> None:
    longer = np.arange(12, dtype=np.float32)[:, None] ** 2
    for missing in ([0], [11], [3, 4], [0, 5, 11]):
        assert missing_frames(np.delete(longer, missing, axis=0) + 0.1, longer) == missing
    assert missing_frames(np.zeros((2, 1), np.float32), np.zeros((4, 1), np.float32)) == [2, 3]


def test_missing_clips_on_either_side_are_rows_with_a_problem(frame_folder: Folder, noise: Noise) -> None:
    truth = frame_folder("truth/both", noise(2)).parent
    frame_folder("truth/only true", noise(2))
    ours = frame_folder("ours/both", noise(2)).parent
    frame_folder("ours/only ours", noise(2))
    rows = {row.clip: row for row in run(ours, truth).rows}
    assert rows["both"].problem == ""
    assert rows["only true"].problem == "there is no prediction of that name"
    assert rows["only ours"].problem == "there is no truth of that name"
    assert rows["only ours"].frames == 0


def test_a_manifest_of_the_truth_tells_whose_clips_they_are(frame_folder: Folder, noise: Noise) -> None:
    for role in ("ours", "truth"):
        for name in ("a", "b", "id7#x#1#2"):
            place = frame_folder(f"{role}/clips/{name}", noise(2)).parent.parent
    pairs = file_pairs(place.parent / "ours", place)
    assert [pair.person for pair in pairs] == ["clips/a", "clips/b", "id7"]
    (place / "manifest.csv").write_text("file,split,identity\nclips/a,val,ann\nclips/b,val,ann\n")
    pairs = file_pairs(place.parent / "ours", place)
    assert [pair.person for pair in pairs] == ["ann", "ann", "id7"]


def test_sizes_that_differ_are_named_and_size_brings_them_together(
    frame_folder: Folder, noise: Noise
) -> None:
    frames = noise(2)
    truth = frame_folder("truth", frames)
    ours = frame_folder("ours", frames.repeat(2, axis=1).repeat(2, axis=2))
    _, count, problem = one(ours, truth)
    assert count == 0
    assert "predicted frames are 96x96, true ones 48x48; --size 48 brings both to one size" in problem
    values, count, problem = one(ours, truth, size=48)
    assert (values["l1"], count, problem) == (0, 2, "")


def test_nan_frames_are_named_and_left_out(tmp_path: Path, noise: Noise) -> None:
    frames = noise(5)
    floats = frames.astype(np.float32) / 255
    floats[2, 4, 4, 1] = np.nan
    np.save(tmp_path / "ours.npy", floats)
    np.save(tmp_path / "truth.npy", frames)
    values, count, problem = one(tmp_path / "ours.npy", tmp_path / "truth.npy", "l1,flicker")
    assert (count, problem) == (4, "frame 2 of the prediction is NaN")
    assert values["l1"] == pytest.approx(0, abs=1e-7)
    assert values["flicker"] == pytest.approx(0, abs=1e-7)  # and 1 is not a neighbour of 3
    np.save(tmp_path / "ours.npy", np.full_like(floats, np.nan))
    _, count, problem = one(tmp_path / "ours.npy", tmp_path / "truth.npy")
    assert count == 0
    assert problem.startswith("no frame could be compared; frame 0 of the prediction is NaN")


def test_floats_of_another_range_are_named(tmp_path: Path, noise: Noise) -> None:
    np.save(tmp_path / "ours.npy", noise(1).astype(np.float32))
    np.save(tmp_path / "truth.npy", noise(1))
    assert "instead of [0, 1]" in one(tmp_path / "ours.npy", tmp_path / "truth.npy")[2]


def test_eight_bit_files_against_float_arrays(tmp_path: Path, frame_folder: Folder, noise: Noise) -> None:
    frames = noise(3)
    off = np.clip(frames.astype(float) + 12.75, 0, 255) / 255  # 0.05 brighter, between two levels
    np.save(tmp_path / "ours.npy", off)
    values, count, _ = one(tmp_path / "ours.npy", frame_folder("truth", frames), "psnr")
    assert count == 3
    assert values["psnr"] == pytest.approx(
        np.mean([psnr(a, b) for a, b in zip(off, frames, strict=True)]), abs=1e-4
    )


def test_an_unreadable_clip_does_not_stop_the_rest(tmp_path: Path, video: Folder) -> None:
    for role in ("ours", "truth"):
        video(f"{role}/good.mp4", smooth(2))
        (tmp_path / role / "bad.mp4").write_bytes(b"this is no video")
    rows = {row.clip: row for row in run(tmp_path / "ours", tmp_path / "truth").rows}
    assert rows["good"].problem == ""
    assert "bad.mp4" in rows["bad"].problem


def test_frame_names_count_as_numbers(frame_folder: Folder, noise: Noise, tmp_path: Path) -> None:
    truth = frame_folder("truth", noise(12))
    ours = tmp_path / "ours"
    ours.mkdir()
    for file in truth.iterdir():
        (ours / f"{int(file.stem)}.png").write_bytes(file.read_bytes())
    assert list(frames_by_name(ours)) == [str(i) for i in range(12)]
    assert one(ours, truth)[1:] == (12, "")


def test_places_that_do_not_fit_are_named(tmp_path: Path, frame_folder: Folder, noise: Noise) -> None:
    clip = frame_folder("clips/a", noise(1))
    with pytest.raises(UnreadableInputError, match="--predicted"):
        file_pairs(tmp_path / "none", clip)
    with pytest.raises(UnreadableInputError, match="is one clip, and the other"):
        file_pairs(clip, clip.parent)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableInputError, match="no video"):
        file_pairs(clip.parent, tmp_path / "empty")


def test_opening_without_a_partner_raises() -> None:
    with pytest.raises(FaceanimError, match="x: there is no truth"):
        FilePair("x", Path("a"), None).open()
