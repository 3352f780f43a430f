"""Guards stdin, stdout and stderr that are closed, full, or piped into a program that has ended."""

import errno
import io
import os
import sys
from typing import IO, Any

from faceanim_cli.errors import FaceanimError


class OutputStreamError(FaceanimError):
    """What a command prints cannot be written."""


class ReaderGoneError(OutputStreamError):
    """Nobody reads stdout any more, as after ``| head -1``: no reason for a word about it."""

    exit_code = 141  # as if ended by SIGPIPE


class _Guarded(io.RawIOBase):
    """A standard stream whose failures end the command in one line (stdout), or are no matter (stderr)."""

    def __init__(self, raw: Any, is_result: bool) -> None:
        self._raw, self._is_result, self._failed = raw, is_result, False

    def write(self, data: Any) -> int:
        """Write as much as can be. After a failure all is dropped: it is told once."""
        if not self._failed:
            try:
                return int(self._raw.write(data))
            except OSError as error:
                self._failed = True
                if self._is_result and error.errno in (errno.EPIPE, errno.EINVAL):  # the second on Windows
                    raise ReaderGoneError("nobody reads standard output any more") from error
                if self._is_result:
                    raise OutputStreamError(f"cannot write to standard output: {error.strerror}") from error
        return len(memoryview(data).cast("B"))

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The stream's own."""
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return bool(self._raw.isatty())


def guard_standard_streams() -> None:
    """Make the standard streams fit for any place that a command is started from.

    A closed one becomes the null device: otherwise the next file that is opened would take its number, and
    what some library prints would go into that file. What an encoding lacks is escaped, as ``\\u753b``: names
    hold letters of any script, and bytes that are no letters at all. Streams that something else has put in
    place, a test or a notebook, keep their ways.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _null_device(number, "r" if number == 0 else "w"))
        elif number > 0 and isinstance(stream, io.TextIOWrapper):
            if stream is getattr(sys, f"__{name}__"):
                raw = getattr(stream.buffer, "raw", stream.buffer)  # there is but one with PYTHONUNBUFFERED
                buffer = io.BufferedWriter(_Guarded(raw, is_result=number == 1))
                stream = io.TextIOWrapper(buffer, stream.encoding, line_buffering=stream.line_buffering)
                setattr(sys, name, stream)
            stream.reconfigure(errors="backslashreplace")


def _null_device(number: int, mode: str) -> IO[str]:
    opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if opened == number:
        os.set_inheritable(number, True)  # as the stream that it stands for
    return open(opened, mode, encoding="utf-8")  # noqa: PTH123 (it lasts as long as the process)
