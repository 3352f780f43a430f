"""Devices and processes of a training run, by lightning-fabric."""

import contextlib
import logging
import os
from collections.abc import Iterator

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.training.settings import Precision, RunSettings

AUTOCAST = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}


def launch(settings: RunSettings) -> Fabric:
    """Start the processes of a run, or join those that torchrun has started; weights are drawn by the seed.

    Raises:
        UsageError: devices that are not there, or others than torchrun's.
    """
    launched = os.environ.get("LOCAL_WORLD_SIZE")  # by torchrun
    if launched and (settings.devices != "auto" or settings.nodes != 1):
        raise UsageError("--devices and --nodes are torchrun's to say: leave them away under torchrun")
    nodes = int(os.environ["GROUP_WORLD_SIZE"]) if launched else settings.nodes
    # Its banners are for those who ask for more: -v.
    logging.getLogger("lightning_fabric").setLevel(logging.getLogger(__name__).getEffectiveLevel())
    try:
        # Fabric's own mixed precision would round inputs, keypoints included, to 8 bits: autocast is ours.
        fabric = Fabric(
            accelerator="auto",
            strategy="ddp" if launched or nodes > 1 else "auto",
            devices=int(launched) if launched else _devices(settings.devices),
            num_nodes=nodes,
            precision="32-true",
        )
    except (MisconfigurationException, ValueError, RuntimeError, TypeError) as error:
        raise UsageError(f"--devices {settings.devices}: {' '.join(str(error).split())}") from error
    fabric.launch()
    fabric.seed_everything(settings.seed, verbose=False)
    return fabric


def _devices(wanted: str) -> str | int | list[int]:
    if wanted == "auto":
        return wanted
    try:
        return [int(part) for part in wanted.split(",")] if "," in wanted else int(wanted)
    except ValueError as error:
        raise UsageError(f"--devices {wanted}: a number, a list such as 0,2, or auto") from error


def autocast(fabric: Fabric, precision: Precision) -> torch.autocast:
    """The context in which networks compute with ``precision``."""
    return torch.autocast(fabric.device.type, AUTOCAST[precision], enabled=precision != "32")


def synchronise_batch_norms(fabric: Fabric, network: nn.Module) -> nn.Module:
    """Let batch norms see the batches of all processes, where torch can: on GPUs."""
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return synchronised
    return network


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make what a process draws in a step depend on nothing before it: a stopped run draws the same."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0]))


@contextlib.contextmanager
def memory_explained(settings: RunSettings) -> Iterator[None]:
    """Turn what torch says when memory runs out into one line that helps.

    Raises:
        FaceanimError: out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError, a GPU's, is a RuntimeError
        of_cpu = "can't allocate memory" in str(error)
        if not (of_cpu or isinstance(error, MemoryError | torch.OutOfMemoryError)):
            raise
        raise FaceanimError(
            f"out of memory with batches of {settings.batch}: try --batch {max(1, settings.batch // 2)} "
            f"--accumulate {2 * settings.accumulate}; {settings.out} goes on from its last checkpoint"
        ) from error
