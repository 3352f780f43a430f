"""Ctrl-C, SIGTERM and a closed terminal end a command through everything that tidies up."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

# The last: the terminal is closed. Windows has no such signal.
NUMBERS = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)
AGAIN_S = 0.02  # after which a lost interrupt is sent again: the callback that it met has ended
_received: list[int] = []
_unraisable: list[Callable[[Any], object]] = []  # the hook before ours


def end_on_interrupts() -> None:
    """From now on each of the signals raises, in the main thread: Ctrl-C ``KeyboardInterrupt``, the others
    ``SystemExit``. Those that are ignored stay so, as under nohup."""
    _received.clear()
    if sys.unraisablehook is not _send_again:
        _unraisable.append(sys.unraisablehook)
        sys.unraisablehook = _send_again
    for number in NUMBERS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def interrupted_by() -> int | None:
    """The first of the signals that arrived: a library may have made another error of what it raised."""
    return _received[0] if _received else None


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """What arrives while the block runs takes effect at its end, where nothing is half done any more.

    For the main thread; in others nothing arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handlers = {number: signal.getsignal(number) for number in NUMBERS}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in ours:
            signal.signal(number, lambda number, _: arrived.append(number))
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
    for number in arrived:
        signal.raise_signal(number)


def _send_again(lost: "sys.UnraisableHookArgs") -> None:
    """Where no error can be raised, as in a weak reference's callback, Python drops what a signal raised."""
    if _received and issubclass(lost.exc_type, KeyboardInterrupt | SystemExit):
        threading.Timer(AGAIN_S, _send, (_received[-1],)).start()
    else:
        _unraisable[-1](lost)


def _send(number: int) -> None:
    """The signal, to the main thread; on POSIX it ends what that waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)


def _end(number: int, _: FrameType | None) -> None:
    _received.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
