"""Copies beside the computing, on streams that put off all work until somebody waits for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from faceanim_cli.animation import image_batches
from faceanim_cli.animation.image_batches import DeviceCopies, Download


class Stream:
    """Runs its work in order, and not before it has to."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.work: list[Callable[[], None]] = []
        self.done = 0

    def run(self, count: int) -> None:
        while self.done < count:
            self.done += 1
            self.work[self.done - 1]()

    def wait_stream(self, other: "Stream") -> None:
        count = len(other.work)
        self.work.append(lambda: other.run(count))

    def record_event(self) -> SimpleNamespace:
        count = len(self.work)
        return SimpleNamespace(synchronize=lambda: self.run(count))


class Cuda:
    """What of ``torch`` the copies use; a thread's current stream is ``computing`` unless said otherwise."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.computing = self.current = Stream()
        self.cuda = SimpleNamespace(
            Stream=self.make, stream=self.entered, current_stream=lambda _: self.current
        )

    def make(self, device: torch.device) -> Stream:
        self.streams.append(Stream(device))
        return self.streams[-1]

    @contextmanager
    def entered(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    def empty(self, shape: tuple[int, ...], dtype: object, pin_memory: bool) -> "Buffer":
        return Buffer(self, np.full(shape, -1), pinned=pin_memory)


class Buffer:
    """A tensor whose values are there when the stream has come to them; before that they are -1."""

    def __init__(self, cuda: Cuda, values: np.ndarray, pinned: bool = False) -> None:
        self.cuda, self.values, self.pinned = cuda, values, pinned
        self.shape, self.dtype = values.shape, values.dtype
        self.users: list[Stream] = []

    def pin_memory(self) -> "Buffer":
        return Buffer(self.cuda, self.values.copy(), pinned=True)

    def to(self, device: torch.device, non_blocking: bool) -> "Buffer":
        assert self.pinned
        there = Buffer(self.cuda, np.full(self.shape, -1))
        there.fill(lambda: self.values)
        return there

    def copy_(self, other: "Buffer", non_blocking: bool) -> None:
        assert self.pinned
        assert non_blocking
        self.fill(lambda: other.values)

    def doubled(self) -> "Buffer":
        result = Buffer(self.cuda, np.full(self.shape, -1))
        result.fill(lambda: 2 * self.values)
        return result

    def fill(self, values: Callable[[], np.ndarray]) -> None:
        self.cuda.current.work.append(lambda: np.copyto(self.values, values()))

    def record_stream(self, stream: Stream) -> None:
        self.users.append(stream)

    def numpy(self) -> np.ndarray:
        return self.values


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    cuda = Cuda()
    monkeypatch.setattr(image_batches, "torch", cuda)
    return cuda


@pytest.fixture
def copies(cuda: Cuda) -> DeviceCopies:
    return DeviceCopies(torch.device("cuda"))


def test_each_copy_waits_for_what_it_needs(cuda: Cuda, copies: DeviceCopies) -> None:
    there = copies.upload(Buffer(cuda, np.array([1, 2, 3])))
    result = there.doubled()
    download = copies.download(result)
    assert cuda.computing.done == 0  # nobody has waited yet
    assert download.array().tolist() == [2, 4, 6]


def test_memory_is_not_used_again_before_the_other_stream_is_done(cuda: Cuda, copies: DeviceCopies) -> None:
    there = copies.upload(Buffer(cuda, np.array([1])))
    result = there.doubled()
    download = copies.download(result)
    _, down = cuda.streams
    assert there.users == [cuda.computing]
    assert result.users == [down]
    assert not np.shares_memory(download.array(), download._here.numpy())  # pinned memory is given back


def test_a_batch_goes_up_and_one_down_while_another_is_computed(cuda: Cuda, copies: DeviceCopies) -> None:
    first = copies.upload(Buffer(cuda, np.array([1])))
    download = copies.download(first.doubled())
    before = len(cuda.computing.work)
    second = copies.upload(Buffer(cuda, np.array([5])))
    up, _ = cuda.streams
    up.run(len(up.work))
    assert second.values.tolist() == [5]
    assert cuda.computing.done == 0
    copies.download(second.doubled())
    assert download.array().tolist() == [2]
    assert cuda.computing.done == before


@pytest.mark.parametrize(
    ("device", "order"),
    [
        ("cuda", "start 0, start 1, row 0, row 10, start 2, row 1, row 11, row 2, row 12"),
        ("cpu", "start 0, row 0, row 10, start 1, row 1, row 11, start 2, row 2, row 12"),
    ],
)
@pytest.mark.usefixtures("cuda")
def test_the_next_batch_is_started_before_one_is_waited_for(device: str, order: str) -> None:
    said: list[str] = []

    def batches() -> Iterator[list[Download]]:
        for index in range(3):
            said.append(f"start {index}")
            yield [Download(torch.tensor([index, 10 + index]), None)]

    for row in DeviceCopies(torch.device(device)).arrived(batches()):
        said.append(f"row {row}")
    assert ", ".join(said) == order
