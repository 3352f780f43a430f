"""A long animation needs no more memory than a short one."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.media import VideoWriter

STATUS = Path("/proc/self/status")  # its VmHWM is a process's own peak; ru_maxrss begins with its parent's
SHORT, LONG = 40, 140  # frames; the long clip's are 34 MB as they are decoded, 28 MB as results
MOST_MORE = 12 << 10  # KiB
# Else glibc keeps ever larger blocks for later, and a process's peak creeps up by tens of MB.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536"}

ANIMATE = """
import re, sys, time
from pathlib import Path
import torch
from faceanim_cli import Animator
from faceanim_cli.animation.job import animate_file

torch.set_num_threads(1)
weights, photo, output, *drivers = map(Path, sys.argv[1:])
animator = Animator(weights, device="cpu", precision="fp32", sr=False, size=256)
for driver in drivers:
    animate_file(
        animator, photo, driver, output, photo_crop=None, driver_crop=None, start_frame=0,
        progress=lambda done, _: time.sleep(2 * (done == 50)),  # queues fill up before who stands still
    )
    print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not STATUS.exists(), reason="no peak memory of a process here")
def test_memory_does_not_grow_with_the_driver(
    rigid_weights_file: Path, photo: Path, astronaut: np.ndarray, tmp_path: Path
) -> None:
    drivers = [tmp_path / "short.mp4", tmp_path / "long.mp4"]
    for driver, count in zip(drivers, (SHORT, LONG), strict=True):
        with VideoWriter(driver, Fraction(25), (320, 256)) as writer:
            for i in range(count):
                writer.write(np.ascontiguousarray(astronaut[:256, i % 60 : 320 + i % 60]))
    ran = subprocess.run(
        [sys.executable, "-c", ANIMATE, rigid_weights_file, photo, tmp_path / "out.mp4", *drivers],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **MALLOC},
    )
    assert ran.returncode == 0, ran.stderr
    short, long = map(int, ran.stdout.split())  # KiB
    assert long - short < MOST_MORE
