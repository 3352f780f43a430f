"""LivePortrait's networks at their published size, with random weights, from five files to a video."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from faceanim_cli.media import VideoReader
from faceanim_cli.weights.catalogue import CATALOGUE
from faceanim_models import LivePortraitModel, LivePortraitSettings
from tests.liveportrait import save_published

MEASURED = """
import resource, sys
from faceanim_cli.app import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.slow
def test_five_files_animate_within_three_gigabytes(
    photo: Path, make_driver: Callable[..., Path], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    files = save_published(LivePortraitModel(LivePortraitSettings()).eval(), tmp_path / "five")
    for path, listed in zip(files, CATALOGUE["liveportrait"].files, strict=True):
        if "stitching" not in listed.filename:  # the published one holds optimizers besides
            assert path.stat().st_size == pytest.approx(listed.bytes, rel=0.02)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "2"}

    def run(*arguments: object) -> tuple[float, str, int]:
        """Seconds, what was printed, and peak memory in kilobytes."""
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *map(str, arguments)],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return time.perf_counter() - start, done.stdout, int(done.stderr.splitlines()[-1])

    empty, _, _ = run("--version")
    seconds, told, _ = run("weights", "info", tmp_path / "five")
    assert "LivePortrait's five files" in told
    parameters = sum(p.numel() for p in LivePortraitModel(LivePortraitSettings()).parameters())
    assert f"{parameters:,}" in told
    assert seconds - empty < 1 + empty  # beside what Python takes to start, on a busy machine
    out = tmp_path / "out.mp4"
    driver = make_driver(frames=2)
    _, _, kilobytes = run("animate", photo, driver, "-o", out, "--weights", tmp_path / "five", "--quiet")
    video = VideoReader(out)
    assert (video.width, video.height, len(list(video))) == (512, 512, 2)
    assert kilobytes < 3e6
    (slim,) = (tmp_path / "home").rglob("*.safetensors")
    assert slim.stat().st_size == pytest.approx(520.2e6, rel=0.005)
