"""The cases of a benchmark: which there are, and what is said of each."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from faceanim_cli import Animator
from faceanim_cli.benchmark.cases import CaseOptions, CaseResult, Timing, _Case, _result, measure_cases
from faceanim_cli.benchmark.clock import count_macs, fused_operations
from faceanim_cli.benchmark.files import CommandResult
from faceanim_cli.benchmark.run import Benchmark, read_benchmark
from faceanim_cli.benchmark.tables import case_table, command_table
from faceanim_cli.errors import UnreadableInputError

Run = Callable[..., tuple[int, str, str]]


def case(milliseconds: float, spread: float = 0.0, batch: int = 8) -> CaseResult:
    stages = {"keypoints": Timing(1, 0), "motion": Timing(2, 0), "generator": Timing(4, 0)}
    frame = Timing(milliseconds, spread)
    return CaseResult("a.safetensors", "bf16", False, 256, batch, frame, stages, 5.0, 100.0, 0.5, None)


def run_of(*cases: CaseResult, seconds: float = 10.0) -> Benchmark:
    command = CommandResult("a.safetensors", False, 250, seconds, 900.0)
    machine = {"device": "cpu", "cpu": "some", "torch": "2"}
    return Benchmark("1.0", machine, {"bf16": 200.0}, cases, {"decode": Timing(1, 0)}, (command,))


def test_every_combination_is_measured_and_the_parts_make_the_whole(rigid_weights_file: Path) -> None:
    frames = [np.full((64, 64, 3), i, np.uint8) for i in range(3)]
    options = CaseOptions((rigid_weights_file,), ("fp32", "fp32"), (False,), (None, 32), (1, 2), "cpu", 2, 3)
    told: list[tuple[int, int | None]] = []
    cases, peak = measure_cases(options, frames[0], frames, lambda *seen: told.append(seen))
    assert [(c.precision, c.size, c.batch) for c in cases] == [  # the same precision twice is one
        ("fp32", size, batch) for size in (64, 32) for batch in (1, 2)
    ]
    assert told == [(i, 8) for i in range(1, 9)]
    for one in cases:
        assert set(one.stages) == {"keypoints", "motion", "generator", "other"}
        assert all(timing.median > 0 for timing in one.stages.values())
        assert one.stages["keypoints"].median < one.frame.median
        assert one.peak_share == pytest.approx(one.gflops / peak["fp32"])
    assert len({one.gmac for one in cases}) == 1  # a frame's work does not depend on its company


@pytest.mark.parametrize("size", [256, 512])  # larger results pass one network more
def test_no_network_that_a_frame_passes_is_left_out(size: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    animator = Animator(device="cpu", precision="fp32", sr=False, size=size)
    animator.set_photo(frame, crop=None)

    def work() -> None:
        list(animator.animate([frame], crop=None))

    work()
    with FlopCounterMode(display=False, custom_mapping=fused_operations()) as counter:
        work()
    assert counter.get_total_flops() > 0
    assert count_macs(animator.stages, work) == pytest.approx(counter.get_total_flops() / 2, rel=1e-3)


def test_a_run_is_read_again_as_it_was(tmp_path: Path) -> None:
    run = run_of(case(40.0), case(80.0, batch=1))
    (tmp_path / "run.json").write_text(json.dumps(run.as_json()))
    assert read_benchmark(tmp_path / "run.json") == run
    assert run.as_json()["cases"][0]["fps"] == 25
    assert run.as_json()["commands"][0]["real_time"] == 1.0


def test_a_run_of_an_earlier_version_is_read_too(tmp_path: Path) -> None:
    run = run_of(case(40.0))
    written = run.as_json()
    del written["cases"][0]["gpu_busy"]
    (tmp_path / "run.json").write_text(json.dumps(written))
    assert read_benchmark(tmp_path / "run.json") == run


def test_on_a_gpu_the_share_of_the_time_it_is_busy_is_told() -> None:
    on_gpu = replace(case(40.0), gpu_mb=812.4)
    table = case_table(run_of(replace(on_gpu, gpu_busy=0.914), on_gpu))
    assert table.header[-2:] == ("GPU MB", "GPU busy")
    assert [row[-2:] for row in table.rows] == [("812", "91 %"), ("812", "-")]
    assert "GPU busy" not in case_table(run_of(case(40.0))).header


def test_a_gpu_is_busy_while_a_stage_runs(rigid_weights_file: Path) -> None:
    animator = Animator(rigid_weights_file, "cpu", "fp32", sr=False)
    times = {"keypoints": 2.0, "motion": 3.0, "generator": 5.0}
    rounds = [{"frame": frame, **times, "other": frame - 10} for frame in (20.0, 12.5, 100.0)]
    measured = _Case(animator, 4, rounds, gmac=1.0, gpu_mb=1.0)
    assert _result(measured, {"fp32": 100.0}).gpu_busy is None  # a CPU's
    animator.device = torch.device("cuda")
    assert _result(measured, {"fp32": 100.0}).gpu_busy == pytest.approx(0.5)  # of 0.5, 0.8 and 0.1


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"faceanim": 1}', "[" * 5000])
def test_what_is_no_benchmark_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "run.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UnreadableInputError, match=r"run\.json"):
        read_benchmark(path)


@pytest.mark.parametrize(
    ("now", "then", "said"),
    [
        (case(20), case(40), "2.00"),
        (case(40, 4), case(42, 4), "1.05 (within spread)"),
        (case(40), case(40, batch=1), "-"),
    ],
)
def test_an_earlier_run_is_compared_case_by_case(now: CaseResult, then: CaseResult, said: str) -> None:
    table = case_table(run_of(now), run_of(then))
    assert table.header[-1] == "as fast as before"
    assert table.rows[0][-1] == said
    commands = command_table(run_of(now, seconds=5.0), run_of(then, seconds=10.0))
    assert commands is not None
    assert commands.rows[0][-1] == "2.00"


def test_the_command_runs_animate_itself_and_prints_json(
    faceanim: Run, rigid_weights_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code, out, err = faceanim(
        *("benchmark", "--weights", rigid_weights_file, "--no-sr", "--batch", 2, "--precision", "fp32"),
        *(
            "--rounds",
            1,
            "--frames",
            2,
            "--seconds",
            1,
            "--device",
            "cpu",
            "--json",
            "--size",
            96,
            "--compile",
        ),
    )
    assert code == 0
    assert re.fullmatch(r"this takes about \d+ (seconds|minutes)\n", err)
    assert "--compile: does not pay on cpu" in caplog.text
    run = json.loads(out)
    assert [(c["batch"], c["size"]) for c in run["cases"]] == [(2, 96)]
    assert set(run["files"]) == {"decode", "detect", "paste", "encode 96"}
    (command,) = run["commands"]
    assert command["size"] == 96
    assert command["frames"] == 32  # the driver that ships, which is longer than a second
    assert command["rss_mb"] > 50


def test_a_command_that_fails_says_why(faceanim: Run, rigid_weights_file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(rigid_weights_file.read_bytes()[:1000])
    code, out, err = faceanim(
        *("benchmark", "--weights", broken, "--no-sr", "--device", "cpu", "--seconds", 1, "-q")
    )
    assert (code, out) == (4, "")
    assert "broken.safetensors" in err
    assert len(err.strip().splitlines()) == 1
