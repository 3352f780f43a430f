"""Signals in training: Ctrl-C and SIGTERM end a run after its step, and loader processes outlive the step."""

import signal
from types import FrameType, TracebackType

GRACE = 600  # seconds: for a step and a save on the slowest disk; a loader ends with its trainer anyway


class StopOnSignal:
    """While the block runs, the first Ctrl-C or SIGTERM is a request to stop after the step."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> "StopOnSignal":
        self._before = {
            number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Signals mean again what they meant before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, _: FrameType | None) -> None:
        self.requested = True
        if number == signal.SIGINT:  # a second Ctrl-C ends at once; torchrun passes SIGTERM on more than once
            signal.signal(number, signal.default_int_handler)


def quiet_worker(_: int) -> None:
    """Loader processes leave Ctrl-C to the training process, and stay a while when all are told to end.

    torchrun and SLURM send SIGTERM to every process of a run. Without its loader the training process could
    not finish the step and save.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):  # not on Windows, where nobody sends SIGTERM either
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
