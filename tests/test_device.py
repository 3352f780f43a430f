"""Where networks run, and how precisely."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import torch

from faceanim_cli import device as devices
from faceanim_cli.device import can_graph, choose_precision, fitting_batch, in_parts, sharing_threads

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("amx", "avx512", "dtype"),
    [
        (True, False, torch.bfloat16),
        (False, True, torch.bfloat16),
        (False, False, torch.float32),
        (None, None, torch.float32),
    ],
)
def test_the_precision_of_a_cpu_is_told_by_its_instructions_not_by_a_stopwatch(
    monkeypatch: pytest.MonkeyPatch, amx: bool | None, avx512: bool | None, dtype: torch.dtype
) -> None:
    for name, there in {"_is_amx_tile_supported": amx, "_is_avx512_bf16_supported": avx512}.items():
        monkeypatch.delattr(torch.cpu, name, raising=False)
        if there is not None:  # None: a torch that cannot tell
            monkeypatch.setattr(torch.cpu, name, lambda there=there: there, raising=False)
    assert choose_precision("auto", CPU) == dtype


@pytest.mark.parametrize(("free", "batch"), [(80 << 30, 32), (1 << 30, 8), (1 << 20, 1)])
def test_a_gpu_gets_no_more_than_its_free_memory_holds(
    monkeypatch: pytest.MonkeyPatch, free: int, batch: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 80 << 30))
    assert fitting_batch(torch.device("cuda")) == batch
    assert fitting_batch(CPU) == 8


def test_without_triton_there_are_no_graphs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(devices, "find_spec", lambda name: object() if name == "triton" else None)
    assert can_graph(cuda)
    monkeypatch.setattr(devices, "find_spec", lambda _: None)
    assert not can_graph(cuda)
    assert "needs triton" in caplog.text


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_sleep_while_they_wait_unless_told_otherwise(given: str | None) -> None:
    """The Python API, in a process of its own, without the seconds that torch takes to load."""
    code = (
        "import os, sys, types\n"
        "module = types.ModuleType('faceanim_cli.animation.animator')\n"
        "module.Animator = None\n"
        "sys.modules[module.__name__] = module\n"
        "from faceanim_cli import Animator\n"
        "print(os.environ['OMP_WAIT_POLICY'])\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    if given:
        environment["OMP_WAIT_POLICY"] = given
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert ran.stdout.strip() == (given or "PASSIVE")


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("threads", "frames", "parts"),
    [
        (1, 8, [8]),
        (2, 8, [4, 4]),
        (2, 1, [1]),
        (3, 8, [2, 3, 3]),
        (4, 2, [1, 1]),
        (6, 2, [2]),  # more cores than frames: all of them work on each frame
    ],
    indirect=["threads"],
)
def test_a_cpu_s_cores_share_the_frames_of_a_batch(threads: int, frames: int, parts: list[int]) -> None:
    seen: list[tuple[int, int]] = []

    def work(part: slice) -> list[int]:
        seen.append((part.start, torch.get_num_threads()))
        return [-n for n in range(part.start, part.stop)]

    assert in_parts(work, slice(5, 5 + frames), CPU, lambda _: None) == [-n for n in range(5, 5 + frames)]
    starts, at_work = zip(*sorted(seen), strict=True)
    assert [end - start for start, end in pairwise([*starts, 5 + frames])] == parts
    assert set(at_work) == {threads // len(parts)}
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_what_one_core_raises_is_raised(threads: int) -> None:
    def work(part: slice) -> list[int]:
        if part.start == 0:
            raise ValueError("frame 0")
        return [0]

    with pytest.raises(ValueError, match="frame 0"):
        in_parts(work, slice(0, 4), CPU, lambda _: None)


@pytest.mark.parametrize("threads", [8], indirect=True)
def test_threads_that_share_may_be_started_twice_at_once(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One asks torch while the share of the other is set, and is done when the other is."""
    begun, asked, done = threading.Event(), threading.Event(), threading.Event()
    get_threads, set_threads = torch.get_num_threads, torch.set_num_threads

    def get() -> int:
        count = get_threads()
        if threading.current_thread() is second:
            asked.set()
        return count

    def set_(count: int) -> None:
        if threading.current_thread().name.startswith("second"):
            done.wait(10)
        set_threads(count)
        if not begun.is_set():
            begun.set()
            second.start()
            asked.wait(0.1)  # in vain, if it waits for its turn

    second = threading.Thread(target=lambda: sharing_threads("second", 2).shutdown(), name="second")
    monkeypatch.setattr(torch, "get_num_threads", get)
    monkeypatch.setattr(torch, "set_num_threads", set_)
    sharing_threads("first", 2).shutdown()
    done.set()
    second.join()
    monkeypatch.undo()
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == torch.get_num_threads() == threads


@pytest.mark.parametrize(("threads", "workers", "each"), [(4, 2, 2), (5, 2, 2), (1, 2, 1)])
def test_threads_that_share_take_none_from_others(threads: int, workers: int, each: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with sharing_threads("test", workers) as sharing, ThreadPoolExecutor(1) as later:
            together = threading.Barrier(workers)  # so that each is asked
            asked = [
                sharing.submit(lambda: (together.wait(), torch.get_num_threads())[1]) for _ in range(workers)
            ]
            assert [answer.result() for answer in asked] == [each] * workers
            assert later.submit(torch.get_num_threads).result() == torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
