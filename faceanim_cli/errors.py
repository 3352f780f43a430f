"""Exceptions. Each carries the exit code that ``app.py`` ends with.

Library code raises; nothing below ``app.py`` prints or exits. A message is one line that says
what happened, with which file, and what to do about it.
"""

from collections.abc import Sequence


class FaceanimError(Exception):
    """Base of everything faceanim raises on purpose; on its own it means that some item failed."""

    exit_code = 1


class UsageError(FaceanimError):
    """Options that make no sense together, a tool that is missing, an output that cannot be written."""

    exit_code = 2


class NoFaceError(FaceanimError):
    """Viola-Jones found no face in a photo or in any sampled frame of a driving video."""

    exit_code = 3


class WeightsError(FaceanimError):
    """Weights are missing, are not what they claim to be, or do not fit the network."""

    exit_code = 4


class UnreadableInputError(FaceanimError):
    """An input is missing, empty, a folder, or not what its name says."""

    exit_code = 5


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first few names, for a message: ``a, b, c and 4 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
