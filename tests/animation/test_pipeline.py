"""Stages side by side: order, bounded queues, and how they end."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from faceanim_cli.animation.pipeline import Pipeline


def until(condition: Callable[[], bool]) -> bool:
    """Whether the condition came true within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return condition()


def stage_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("faceanim-")]


class Counter:
    """Numbers from 0 on; knows how many were taken, and whether and by whom it was closed."""

    def __init__(self, fault_at: int | None = None) -> None:
        self.taken = 0
        self.closed_in = ""
        self.fault_at = fault_at

    def __iter__(self) -> Iterator[int]:
        try:
            while self.taken != self.fault_at:
                self.taken += 1
                yield self.taken - 1
            raise OSError("the disk is gone")
        finally:
            self.closed_in = threading.current_thread().name


def test_all_items_pass_once_and_in_order() -> None:
    with Pipeline() as pipeline:
        numbers = pipeline.stage("count", range(500))
        squares = pipeline.stage("square", (n * n for n in numbers), depth=1)
        assert list(squares) == [n * n for n in range(500)]
        assert list(squares) == []  # and then nothing more


def test_stages_work_at_the_same_time() -> None:
    met = threading.Barrier(2, timeout=10)  # opens only if both sides are there together

    def meeting() -> Iterator[None]:
        for _ in range(3):
            met.wait()
            yield

    with Pipeline() as pipeline:
        stage = pipeline.stage("meet", meeting())
        for _ in range(3):
            met.wait()
            next(stage)


def test_a_stage_runs_ahead_as_far_as_it_may_and_no_further() -> None:
    counter = Counter()
    with Pipeline() as pipeline:
        stage = pipeline.stage("count", counter, depth=3)
        assert next(stage) == 0
        assert until(lambda: counter.taken >= 5)  # one taken, three waiting, one in hand
        time.sleep(0.05)
        assert counter.taken == 5


def test_a_fault_comes_after_the_items_before_it_and_ends_every_stage() -> None:
    first, second = Counter(fault_at=2), Counter()
    got = []
    with pytest.raises(OSError, match="the disk is gone"), Pipeline() as pipeline:
        numbers = pipeline.stage("faulty", first)
        pipeline.stage("bystander", second)
        for number in pipeline.stage("pass on", (n for n in numbers)):
            got.append(number)
    assert got == [0, 1]
    assert (first.closed_in, second.closed_in) == ("faceanim-faulty", "faceanim-bystander")
    assert stage_threads() == []


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit, ValueError])
def test_whatever_ends_the_block_ends_the_stages(fault: type[BaseException]) -> None:
    counter = Counter()
    with pytest.raises(fault), Pipeline() as pipeline:
        numbers = pipeline.stage("count", counter)
        for number in pipeline.stage("pass on", (n for n in numbers)):
            if number == 5:
                raise fault
    assert counter.closed_in == "faceanim-count"
    assert stage_threads() == []


def test_leaving_early_does_not_wait_for_the_end() -> None:
    counter = Counter()
    with Pipeline() as pipeline:
        assert next(pipeline.stage("endless", counter)) == 0
    assert counter.closed_in == "faceanim-endless"
    assert counter.taken < 10
