"""Networks as CUDA graphs, on a stand-in for torch.compile that is as strict as graphs are."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from faceanim_cli import Animator
from faceanim_cli.animation.networks import Detected, Networks, graph_thread
from faceanim_cli.animation.pipeline import Pipeline

Result = Tensor | Detected


class Graphs:
    """Each function belongs to one thread, and its results are gone as soon as a step begins."""

    def __init__(self) -> None:
        self.sizes: list[int] = []  # of the batches that were run
        self._owner: int | None = None
        self._results: list[Tensor] = []
        self._begun = False

    def compile(self, function: Callable[..., Result], mode: str, dynamic: bool) -> Callable[..., Result]:
        assert (mode, dynamic) == ("reduce-overhead", False)

        def graph(*arguments: object) -> Result:
            self._owner = self._owner or threading.get_ident()
            assert self._begun, "results of an earlier call hold on to the graphs' memory"
            self._begun = False
            assert threading.get_ident() == self._owner, "a graph of another thread"
            assert torch.is_inference_mode_enabled()
            assert torch.is_autocast_enabled("cpu")
            result = function(*arguments)
            parts = [result]
            if not isinstance(result, Tensor):
                parts = [part for part in (*result.motion, result.sharpness) if part is not None]
            self.sizes.append(len(parts[0]))
            self._results += parts
            return result

        return graph

    def begin_step(self) -> None:
        for result in self._results:
            result.fill_(float("nan"))
        self._results.clear()
        self._begun = True


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graphs]:
    graphs = Graphs()
    monkeypatch.setattr(torch, "compile", graphs.compile)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", graphs.begin_step)
    yield graphs
    graph_thread().shutdown()
    graph_thread.cache_clear()


def animator(weights: Path, frames: list[np.ndarray], graphed: int) -> Animator:
    animate = Animator(weights, device="cpu", precision="bf16", sr=False, batch=4)
    model, resolver = animate._inference.networks.loaded
    animate._inference.networks = Networks(model, resolver, animate.device, torch.bfloat16, graphed)
    animate.set_photo(frames[0], crop=None)
    return animate


@pytest.fixture
def frames(astronaut: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(astronaut[:64, 180 + i : 244 + i]) for i in range(11)]


def test_whole_batches_run_as_graphs_and_the_frames_are_the_same(
    rigid_weights_file: Path, frames: list[np.ndarray], graphs: Graphs
) -> None:
    wanted = list(animator(rigid_weights_file, frames, 0).animate(frames))
    assert graphs.sizes == []
    found = list(animator(rigid_weights_file, frames, 4).animate(frames))
    assert graphs.sizes == [4, 4] * 2  # keypoints and pictures; three frames are no whole batch
    assert np.array_equal(found, wanted)


def test_results_of_graphs_outlive_the_next_step(
    rigid_weights_file: Path, frames: list[np.ndarray], graphs: Graphs
) -> None:
    wanted = list(animator(rigid_weights_file, frames, 0).detect(frames))
    found = list(animator(rigid_weights_file, frames, 4).detect(frames))
    assert graphs.sizes == [4, 4]
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.points, other.points)


def test_clips_in_threads_of_their_own_share_the_graphs(
    rigid_weights_file: Path, frames: list[np.ndarray], graphs: Graphs
) -> None:
    animate = animator(rigid_weights_file, frames, 4)
    wanted = list(animate.animate(frames))
    for _ in range(2):
        with Pipeline() as pipeline:
            assert np.array_equal(list(pipeline.stage("infer", animate.animate(frames))), wanted)
    assert graphs.sizes == [4] * 12
