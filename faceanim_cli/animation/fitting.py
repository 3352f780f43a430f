"""Batches that fit into a device's memory."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from faceanim_cli.errors import FaceanimError

logger = logging.getLogger(__name__)

T = TypeVar("T")


def fitting_batch(device: torch.device) -> int:
    """Driving frames to work on at a time: more make a GPU no faster from some number on, and a CPU from 8.

    On CUDA no more than free memory holds, at 128 MB a frame of 256 x 256 with super-resolution.
    """
    if device.type != "cuda":
        return 8
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(32, free // (128 << 20)))


def in_parts(
    work: Callable[[slice], list[T]],
    frames: slice,
    device: torch.device,
    smaller: Callable[[int], None],
) -> list[T]:
    """Work on frames at once; where memory runs out, on either half by itself, and so on.

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
        return work(frames)
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
