"""Where and how precisely networks run, and batches that fit into a device's memory."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Literal, TypeAlias, TypeVar

import cv2
import torch

from faceanim_cli.errors import FaceanimError, UsageError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_starting = threading.RLock()  # threads that share: one start at a time sets what all begin with
Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device called ``name``: cpu, cuda, cuda:1, mps, or auto for the best one there is.

    Raises:
        UsageError: unknown, or not on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: not a device; use auto, cpu, cuda, cuda:1 or mps") from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False) or (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise UsageError(
            f"--device {name}: not on this machine, or torch was built without it; use --device cpu"
        )
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The type that convolutions run in; auto is the fastest that keeps the picture.

    It depends on what the device can do, never on how busy it is: the same command gives the same pixels.

    Raises:
        UsageError: unknown.
    """
    if name in DTYPES:
        return DTYPES[name]
    if name != "auto":
        raise UsageError(f"--precision {name}: unknown; use auto, {', '.join(DTYPES)}")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu" and _cpu_has_bf16():
        return torch.bfloat16
    return torch.float32


def can_graph(device: torch.device) -> bool:
    """Whether the networks can run as CUDA graphs made by torch.compile; a warning says why not."""
    if device.type != "cuda":
        logger.warning("--compile: does not pay on %s and is left out", device.type)
        return False
    if find_spec("triton") is None:
        logger.warning("--compile: needs triton, which is not installed, and is left out")
        return False
    return True


def limit_threads(threads: int) -> None:
    """Let the networks and the detector use no more than so many CPU threads of this process."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def sharing_threads(name: str, workers: int) -> ThreadPoolExecutor:
    """Threads that share the CPU threads which the networks have elsewhere.

    A frame's small maps hardly gain from a second CPU thread; a second frame beside it does.

    Args:
        name: of the threads, for debuggers.
        workers: how many.
    """
    together = threading.Barrier(workers)  # so that no thread does two tasks, and none begins later
    with _starting:
        before = torch.get_num_threads()

        def begin() -> None:
            torch.get_num_threads()  # a thread's first call takes over what was set last, in any thread
            torch.set_num_threads(max(1, before // workers))
            together.wait()

        executor = ThreadPoolExecutor(workers, name, initializer=begin)
        for begun in [executor.submit(int) for _ in range(workers)]:
            begun.result()
        torch.set_num_threads(before)  # in this thread, and in those that begin later
    return executor


def share_machine(device: str, worker: int, workers: int) -> str:
    """Keep this process out of the way of its fellow workers: a GPU each where there are several, else cores.

    Args:
        device: what was asked for; one that is named exactly stays.
        worker: this one's number, from 0.
        workers: how many there are.

    Returns:
        The device for this worker.
    """
    limit_threads(max(1, torch.get_num_threads() // workers))
    gpus = torch.cuda.device_count()
    return f"cuda:{worker % gpus}" if device in ("auto", "cuda") and gpus > 1 else device


def _cpu_has_bf16() -> bool:
    """Whether this CPU has instructions for bfloat16 (AMX or AVX-512 BF16): others emulate it at a loss.

    Those that have them are two to eight times faster in it than in float32.
    """
    # Not public, and not in every torch: then it is float32.
    questions = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, question, bool)() for question in questions)


def fitting_batch(device: torch.device, frame_bytes: int = 128 << 20) -> int:
    """Driving frames to work on at a time: more make a GPU no faster from some number on, and a CPU from 8.

    Args:
        device: on CUDA no more than its free memory holds.
        frame_bytes: that a frame takes; by default of 256 x 256 with super-resolution. A CPU takes frames
            that are far larger one by one.
    """
    if device.type != "cuda":
        return 8 if frame_bytes <= 128 << 20 else 1
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(32, free // frame_bytes))


def in_parts(
    work: Callable[[slice], list[T]],
    frames: slice,
    device: torch.device,
    smaller: Callable[[int], None],
) -> list[T]:
    """Work on frames at once; where memory runs out, on either half by itself, and so on.

    On a CPU a thread for each core, or few, works on some of them: two cores that share each small map wait
    for each other a fifth of the time.

    Args:
        work: takes which frames of a batch, returns results in their order.
        frames: start and stop, all of the batch to begin with.
        device: where it runs.
        smaller: told how many frames may fit, before they are tried.

    Raises:
        FaceanimError: not even one frame fits.
    """
    count = frames.stop - frames.start
    try:
        return _on_each_core(work, frames) if device.type == "cpu" else work(frames)
    except torch.cuda.OutOfMemoryError as error:
        if count == 1:
            raise FaceanimError(
                f"{device}: out of memory with one frame at a time; use --no-sr, or --device cpu"
            ) from error
    # Outside of the except clause: the exception holds on to what was in memory.
    if device.type == "cuda":
        torch.cuda.empty_cache()
    logger.warning("%s: out of memory; going on with %d frames at a time", device, count // 2)
    smaller(count // 2)
    middle = frames.start + count // 2
    first = in_parts(work, slice(frames.start, middle), device, smaller)
    return first + in_parts(work, slice(middle, frames.stop), device, smaller)


def _on_each_core(work: Callable[[slice], list[T]], frames: slice) -> list[T]:
    count, threads = frames.stop - frames.start, torch.get_num_threads()
    workers = min(threads, count)
    if workers < 2 or count < threads // 2:  # one frame keeps several cores busier than none
        return work(frames)
    ends = [frames.start + count * i // workers for i in range(workers + 1)]
    parts = [slice(start, end) for start, end in pairwise(ends)]
    with _starting:  # stages of a pipeline come here side by side, and the cache would start two
        pool = _core_threads(threads, workers)
    return [result for part in pool.map(work, parts) for result in part]


@cache
def _core_threads(threads: int, workers: int) -> ThreadPoolExecutor:
    del threads  # the key of the cache: each worker has its share of them
    return sharing_threads("core", workers)
