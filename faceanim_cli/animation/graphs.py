"""Functions of tensors as CUDA graphs: a batch is one launch, not one for each of hundreds of kernels.

torch.compile makes them (``mode="reduce-overhead"``; "CUDAGraph Trees" in PyTorch's notes). Such a graph is
for one shape of its arguments. Its results lie in its own memory, where later calls overwrite them. And it
belongs to the thread that recorded it: in older torch a call from another fails, in newer it records one more
(https://github.com/pytorch/pytorch/issues/123177 and pull request 184357).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from typing import Generic, TypeVar

import torch
from torch import Tensor

from faceanim_models import Keypoints

R = TypeVar("R", Tensor, Keypoints)


class Graphed(Generic[R]):
    """A function that runs as a CUDA graph, in the one thread that this process has for them.

    Args:
        function: of tensors and named tuples of them, of one device.
        inside: entered for each call: inference mode and autocast are a thread's own.
    """

    def __init__(
        self, function: Callable[..., R], inside: Callable[[], AbstractContextManager[None]]
    ) -> None:
        # Kernels for the shapes that come; from the second on torch would make slower ones for any.
        self._function: Callable[..., R] = torch.compile(function, mode="reduce-overhead", dynamic=False)
        self._inside = inside

    def __call__(self, *arguments: object) -> R:
        return graph_thread().submit(self._run, *arguments).result()

    def _run(self, *arguments: object) -> R:
        with self._inside():
            torch.compiler.cudagraph_mark_step_begin()  # results of earlier calls may be overwritten
            return _cloned(self._function(*arguments))


def _cloned(result: R) -> R:
    if isinstance(result, Tensor):
        return result.clone()
    points, turns = result
    return Keypoints(points.clone(), None if turns is None else turns.clone())


@cache
def graph_thread() -> ThreadPoolExecutor:
    """Runs all graphs of this process."""
    return ThreadPoolExecutor(1, "faceanim-graphs")
