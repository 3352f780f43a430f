"""The peak rate of this machine, measured by one large convolution in torch."""

import time

import torch
from torch import nn

from faceanim_cli.benchmark.clock import synchronise

CHANNELS, SIDE = 256, 64  # large enough to be bound by arithmetic, not by memory
TRIES = 4


@torch.inference_mode()
def convolution_peak(dtype: torch.dtype, device: torch.device) -> float:
    """GFLOP/s of a 3x3 convolution, 256 to 256 channels, channels_last; the best of a few runs.

    A multiply-accumulate counts as two operations.
    """
    batch = 32 if device.type == "cuda" else 1  # enough work for thousands of cores
    conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False).to(device, dtype)
    conv = conv.to(memory_format=torch.channels_last)
    x = torch.ones(batch, CHANNELS, SIDE, SIDE, device=device, dtype=dtype)
    x = x.to(memory_format=torch.channels_last)
    conv(x)
    best = float("inf")
    for _ in range(TRIES):
        synchronise(device)
        start = time.perf_counter()
        conv(x)
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return 2 * batch * CHANNELS * CHANNELS * 9 * SIDE * SIDE / best / 1e9
