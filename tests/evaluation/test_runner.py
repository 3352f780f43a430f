"""Runs that are interrupted, runs with faults, and the report they leave."""

import csv
import json
import math
import os
import re
import sys
import threading
import time
import xml.dom.minidom
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.data.data_folder import ClipFile, find_clips
from faceanim_cli.errors import UsageError
from faceanim_cli.evaluation.figures import Scale, bars, scatter
from faceanim_cli.evaluation.frames import MetricNetworks
from faceanim_cli.evaluation.metrics import choose_metrics, columns_of
from faceanim_cli.evaluation.protocols import STATIC, TRUTH, Job, Subject, reconstruction, weights_subject
from faceanim_cli.evaluation.report import write_report
from faceanim_cli.evaluation.results import ClipScore, ScoreFolder, file_name, json_ready
from faceanim_cli.evaluation.runner import MOST_THREADS, evaluate, prefetch
from faceanim_cli.weights.checkpoint import load_checkpoint, save_checkpoint

METRICS = choose_metrics("psnr,l1", "reconstruction")
COLUMNS = columns_of(METRICS)
RUN = {"protocol": "reconstruction", "size": 48, "metrics": ("psnr", "l1")}


@pytest.fixture
def data(frame_folder: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Path:
    for i, name in enumerate("abc"):
        frame_folder(f"data/{name}", noise(4, seed=i))
    return frame_folder("data/d", noise(1)).parent  # too short to rebuild


def jobs(data: Path) -> list[Job]:
    return [reconstruction(clip, 48, "none") for clip in find_clips(data)]


def folder(tmp_path: Path, run: dict = RUN, overwrite: bool = False) -> ScoreFolder:
    return ScoreFolder(tmp_path / "report", run, [column.name for column in COLUMNS], overwrite)


class Counting:
    """Counts the clips of the photo's repetition and can break off, as a power cut would."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.clips, self.stop_at = 0, stop_at

    def subject(self) -> Subject:
        return Subject("static", self.render)

    def render(self, source: np.ndarray, *more: Any) -> Iterator[np.ndarray]:
        self.clips += 1
        if self.clips == self.stop_at:
            raise KeyboardInterrupt
        return STATIC.render(source, *more)


def test_a_fault_is_named_and_the_rest_scored(data: Path) -> None:
    said: list[str] = []
    result = evaluate(jobs(data), [STATIC], METRICS, MetricNetworks(), warn=said.append)
    assert [row.clip for row in result.problems] == ["d"]
    assert result.problems[0].problem.startswith("nothing to rebuild from its first frame")
    assert said == [f"d: {result.problems[0].problem}"]
    assert result.summaries["static"]["psnr"].clips == 3


def test_an_interrupted_run_goes_on_and_gives_the_same_numbers(tmp_path: Path, data: Path) -> None:
    whole = evaluate(jobs(data), [STATIC, TRUTH], METRICS, MetricNetworks())
    with pytest.raises(KeyboardInterrupt):
        evaluate(
            jobs(data),
            [Counting(stop_at=3).subject(), TRUTH],
            METRICS,
            MetricNetworks(),
            folder=folder(tmp_path),
        )
    scores = json.loads((tmp_path / "report/scores.json").read_text())
    assert scores["complete"] is False
    again = Counting()
    result = evaluate(
        jobs(data), [again.subject(), TRUTH], METRICS, MetricNetworks(), folder=folder(tmp_path)
    )
    assert again.clips == 1  # c; a and b were there, d fails before it renders
    assert result.summaries == whole.summaries  # to the last bit: per_clip.csv holds all digits
    assert result.differences["truth"]["l1"] == whole.differences["truth"]["l1"]
    assert [row.clip for row in result.rows] == [row.clip for row in whole.rows]


def test_scores_of_another_run_are_not_mixed_in(tmp_path: Path, data: Path) -> None:
    evaluate(jobs(data), [STATIC], METRICS, MetricNetworks(), folder=folder(tmp_path))
    with pytest.raises(UsageError, match=r"another run \(other: size\).*--overwrite"):
        folder(tmp_path, {**RUN, "size": 64})
    assert folder(tmp_path).rows
    assert not folder(tmp_path, {**RUN, "size": 64}, overwrite=True).rows


def test_values_of_frames_clips_and_all_clips_agree(tmp_path: Path, data: Path) -> None:
    place = folder(tmp_path)
    result = evaluate(jobs(data), [STATIC, TRUTH], METRICS, MetricNetworks(), folder=place)
    with place.frames_path("a").open() as file:
        frames = [row for row in csv.DictReader(file) if row["subject"] == "static"]
    with (tmp_path / "report/per_clip.csv").open() as file:
        clips = {(row["clip"], row["subject"]): row for row in csv.DictReader(file)}
    assert [row["frame"] for row in frames] == ["1", "2", "3"]
    mean = np.mean([float(row["l1"]) for row in frames])
    assert float(clips["a", "static"]["l1"]) == pytest.approx(mean, rel=1e-6)
    assert clips["a", "truth"]["psnr"] == "inf"
    assert clips["d", "static"]["l1"] == ""
    assert "nothing to rebuild" in clips["d", "static"]["problem"]
    over = np.mean([float(clips[name, "static"]["l1"]) for name in "abc"])
    assert result.summaries["static"]["l1"].mean == pytest.approx(over, rel=1e-6)


def test_the_report_is_one_whole_file(tmp_path: Path, data: Path) -> None:
    place = folder(tmp_path)
    result = evaluate(jobs(data), [STATIC, TRUTH], METRICS, MetricNetworks(), folder=place)
    write_report(place, result, COLUMNS, {"clips": "a & b <c>"})
    page = (tmp_path / "report/report.html").read_text()
    assert "a &amp; b &lt;c&gt;" in page
    for said in (
        "Table 1",
        "FSRT",
        "other data, other protocols",
        "30.74",
        "22.90",
        "nothing to rebuild",
        "worst",
    ):
        assert said in page
    assert page.count("data:image/jpeg;base64,") == 3
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # nothing beside the file
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 3
    for drawing in drawings:
        xml.dom.minidom.parseString(drawing)
        assert "nan" not in drawing
    table = (tmp_path / "report/scores.md").read_text()
    assert table.startswith("|  | psnr dB ↑ | l1 ↓ | clips |")
    assert "truth - static" in table


def nan_weights(source: Path, path: Path, part: str) -> Path:
    model = load_checkpoint(source)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.startswith(part):
                value.fill_(1e30)  # finite in the file, not in the frames
    save_checkpoint(path, model, dtype=torch.float32)
    return path


@pytest.mark.parametrize(
    ("part", "said"), [("keypoint_detector", "NaN keypoints"), ("generator", "all black")]
)
def test_a_network_that_gives_nan_is_named(
    tmp_path: Path, data: Path, rigid_weights_file: Path, part: str, said: str
) -> None:
    weights = nan_weights(rigid_weights_file, tmp_path / "nan.safetensors", part)
    animator = Animator(weights, "cpu", "fp32", relative=False, sr=False, size=48, mark=None)
    result = evaluate(jobs(data)[:2], [weights_subject("nan", animator)], METRICS, MetricNetworks())
    assert [row.clip for row in result.problems] == ["a", "b"]
    assert all(said in row.problem for row in result.problems)


def test_no_face_in_any_result_is_a_problem(data: Path) -> None:
    class Blind:
        def sees_face(self, image: np.ndarray) -> bool:
            return False

    class Middle:
        name, path = "middle", Path("middle")
        anchors, independent = (), True

        def __call__(self, frames: list[np.ndarray]) -> np.ndarray:
            return np.full((len(frames), 4, 2), 24.0)

    tools = MetricNetworks(landmarks=Middle(), faces=Blind())  # type: ignore[arg-type]
    result = evaluate(jobs(data)[:1], [STATIC], choose_metrics("akd", "reconstruction"), tools)
    assert result.rows[0].values["akd_miss"] == 1
    assert "no face found in any frame of the result" in result.rows[0].problem


def test_progress_ends_where_it_expected(data: Path) -> None:
    told: list[tuple[int, int | None]] = []
    evaluate(
        jobs(data)[:3], [STATIC], METRICS, MetricNetworks(), progress=lambda done, of: told.append((done, of))
    )
    assert told[0] == (1, 9)
    assert told[-1] == (9, 9)


def test_json_has_no_nan_and_says_inf() -> None:
    ready = json_ready({"a": [math.nan, math.inf, -math.inf, 1.5], "b": (1,)})
    assert json.loads(json.dumps(ready, allow_nan=False)) == {"a": [None, "inf", "-inf", 1.5], "b": [1]}


def test_file_names_of_clips_are_safe_and_different() -> None:
    long = "x" * 300
    assert "/" not in file_name("a/b")
    assert len({file_name(n) for n in ("a/b", "a_b", long, long + "y")}) == 4
    assert len(file_name(long)) < 200


def test_rows_survive_the_csv(tmp_path: Path) -> None:
    place = folder(tmp_path)
    row = ClipScore('odd, "name"', "w", 3, {"psnr": math.inf, "l1": 0.25}, 1.5)
    place.add([row], [])
    (back,) = folder(tmp_path).rows
    assert (back.clip, back.frames, back.values, back.motion) == (row.clip, 3, row.values, 1.5)
    assert math.isnan(back.turn)
    assert folder(tmp_path).done(row.clip, ["w"])
    assert not folder(tmp_path).done(row.clip, ["w", "other"])


@pytest.mark.parametrize(
    "content",
    [b"clip,subject\na,static\n", b"\x00\xff\x00", b"clip,subject,frames,motion,turn,problem\na,b,c,d,e,\n"],
)
def test_a_report_whose_tables_are_damaged_is_named(tmp_path: Path, data: Path, content: bytes) -> None:
    evaluate(jobs(data)[:1], [STATIC], METRICS, MetricNetworks(), folder=folder(tmp_path))
    (tmp_path / "report/per_clip.csv").write_bytes(content)
    with pytest.raises(UsageError, match=r"per_clip\.csv is lost or damaged; --overwrite"):
        folder(tmp_path)
    folder(tmp_path, overwrite=True)
    (tmp_path / "report/scores.json").write_text('{"run": 5}')
    with pytest.raises(UsageError, match="of something else"):
        folder(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="names there are text")
def test_clips_may_be_called_by_any_bytes(tmp_path: Path, frame_folder: Callable[..., Path]) -> None:
    made = frame_folder("data/a", np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), np.uint8))
    made.rename(made.parent / os.fsdecode(b'\xff, "\n<b>'))
    place = folder(tmp_path)
    result = evaluate(jobs(made.parent), [STATIC], METRICS, MetricNetworks(), folder=place)
    assert not result.problems
    write_report(place, result, COLUMNS, {})
    assert r"\udcff, &quot;" in (tmp_path / "report/report.html").read_text()
    assert folder(tmp_path).rows == result.rows


@pytest.mark.parametrize(("low", "high"), [(0, 31.4), (-3, 0.02), (5, 5), (0.0001, 0.0002)])
def test_axes_hold_their_values(low: float, high: float) -> None:
    scale = Scale(low, high, 0, 100)
    assert scale.low <= low <= high <= scale.high
    assert 2 <= len(scale.ticks()) <= 13
    assert scale(scale.low) == pytest.approx(0)
    assert scale(scale.high) == pytest.approx(100)


def test_plots_bear_infinite_values_and_none() -> None:
    assert bars("x", "", {"a": {"c": math.inf}}) == ""
    assert scatter("x", "y", "", {"a": [(1.0, math.nan, "c")]}) == ""
    assert "<rect" in bars("x", "dB", {"a": {"c": 2.0, "d": math.inf}, "b": {"c": -1.0}})


def test_clip_files_need_not_exist_to_be_named() -> None:
    job = reconstruction(ClipFile("gone", Path("gone.mp4"), "x"), 48, "none")
    result = evaluate([job], [STATIC], METRICS, MetricNetworks())
    assert "gone.mp4" in result.rows[0].problem


def test_results_come_in_order_and_a_fault_stops_nobody_else() -> None:
    def half(number: int) -> float:
        time.sleep(0.01 * (number % 3))  # later ones are done sooner
        return 10 / number

    results = list(prefetch(half, [5, 4, 0, 2, 1]))
    with pytest.raises(ZeroDivisionError):
        results.pop(2).result()
    assert [result.result() for result in results] == [2.0, 2.5, 5.0, 10.0]
    assert list(prefetch(half, [])) == []


def test_it_stays_a_little_ahead_and_ends_when_closed() -> None:
    begun: list[int] = []
    thread_names = set()

    def note(number: int) -> int:
        begun.append(number)
        thread_names.add(threading.current_thread().name)
        return number

    results = prefetch(note, range(1000))
    assert next(results).result() == 0
    time.sleep(0.05)
    assert 1 <= len(begun) <= 2 + MOST_THREADS
    assert threading.current_thread().name not in thread_names
    results.close()
    count = len(begun)
    time.sleep(0.05)
    assert len(begun) == count
    assert not any(thread.name in thread_names for thread in threading.enumerate())
