"""Limits motion to what the weights were trained for.

The limits are what 99 of 100 pairs of training frames stay within: head poses and openings farther from the
photo's have hardly been seen, and faces smear or tear there. Within a limit nothing changes; beyond it motion
is compressed, and never reaches the double: a head that turns too far slows down and stops, without a jerk.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from faceanim_cli.pictures import Flags, Points

TURN = np.radians(35.0)  # between the photo's pose and the result's
GROWTH = np.log(1.25)  # of the head's size, either way
SHIFT = 0.9  # of the head's centre, in distances of the outer eye corners
MOUTH_GAP = 0.33  # between the inner lips, in the same unit
LID_GAP = 0.124  # between the lids
HEADROOM = 0.5  # how far beyond a limit the result goes at most, as a share of it

REASONS = {
    "turn": "head turned",
    "growth": "head nearer or farther",
    "shift": "head moved away",
    "mouth": "mouth opened",
}
NAMED_AT_MOST = 6  # runs of frames in a message


def held_back(values: Points, limit: float) -> Points:
    """Magnitudes (>= 0) as they are up to ``limit``, then bending smoothly towards 1.5 times the limit."""
    room = HEADROOM * limit
    return np.asarray(np.where(values <= limit, values, limit + room * np.tanh((values - limit) / room)))


def shortened(motion: Points, limit: float) -> tuple[Points, Flags]:
    """Vectors (N, D) held back by their length, and which of them were longer than ``limit``, (N,)."""
    length = np.linalg.norm(motion, axis=1, keepdims=True)
    return motion * (held_back(length, limit) / np.maximum(length, 1e-12)), length[:, 0] > limit


class FrameRuns:
    """Some of a clip's frames, as runs of frame numbers: memory grows with runs only."""

    def __init__(self) -> None:
        self._runs: list[list[int]] = []

    def add(self, first_frame: int, flags: Flags) -> None:
        """Add the frames of a batch that starts at ``first_frame``, where flagged; batches come in order."""
        for frame in (np.flatnonzero(flags) + first_frame).tolist():
            if self._runs and self._runs[-1][1] == frame - 1:
                self._runs[-1][1] = frame
            else:
                self._runs.append([frame, frame])

    def __str__(self) -> str:
        """For people, "40-57, 90"; empty when there are none."""
        words = [f"{a}" if a == b else f"{a}-{b}" for a, b in self._runs[:NAMED_AT_MOST]]
        rest = len(self._runs) - NAMED_AT_MOST
        return ", ".join(words) + (f" and {rest} more runs" if rest > 0 else "")


@dataclass
class OutOfRange:
    """Which driving frames went beyond a limit, by the limit."""

    frames: dict[str, FrameRuns] = field(default_factory=lambda: defaultdict(FrameRuns))

    def note(self, reason: str, first_frame: int, beyond: Flags) -> None:
        """Add the frames of a batch; see ``FrameRuns.add``."""
        self.frames[reason].add(first_frame, beyond)

    def __str__(self) -> str:
        """The frames and what happened in them, "40-57, 90 (head turned)"; empty when there are none."""
        return ", ".join(f"{runs} ({REASONS[why]})" for why, runs in self.frames.items() if str(runs))
