"""Where and how precisely the networks run."""

import logging
import time
from importlib.util import find_spec
from typing import Literal, TypeAlias

import cv2
import torch
from torch import nn

from faceanim_cli.errors import UsageError

logger = logging.getLogger(__name__)

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

    Raises:
        UsageError: unknown.
    """
    if name in DTYPES:
        return DTYPES[name]
    if name != "auto":
        raise UsageError(f"--precision {name}: unknown; use auto, {', '.join(DTYPES)}")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu" and _bf16_pays():
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


def share_machine(device: str, worker: int, workers: int) -> str:
    """Keep this process out of the way of its fellow workers: a GPU each where there are several, else cores.

    Args:
        device: what was asked for; one that is named exactly stays.
        worker: this one's number, from 0.
        workers: how many there are.

    Returns:
        The device for this worker.
    """
    threads = max(1, torch.get_num_threads() // workers)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    gpus = torch.cuda.device_count()
    return f"cuda:{worker % gpus}" if device in ("auto", "cuda") and gpus > 1 else device


@torch.inference_mode()
def _bf16_pays() -> bool:
    """Whether this CPU convolves faster in bfloat16: measured, because not every one that can is.

    CPUs with AMX or AVX-512 BF16 are two to eight times faster, others emulate it at a loss.
    """
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        conv = nn.Conv2d(64, 64, 3, padding=1).to(dtype).to(memory_format=torch.channels_last)
        x = torch.zeros(1, 64, 64, 64, dtype=dtype).to(memory_format=torch.channels_last)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            conv(x)
            times.append(time.perf_counter() - start)
        best[dtype] = min(times)
    return best[torch.bfloat16] < 0.8 * best[torch.float32]
