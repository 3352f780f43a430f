"""The One Euro filter, which steadies jitter without lag in fast motion (Casiez et al., CHI 2012).

An exponential average whose cutoff grows with the speed. Time is counted in frames and places in half crops,
as keypoints are; each keypoint has its own speed.
"""

import numpy as np

from faceanim_cli.pictures import Points

STRONGEST = 0.15  # share of a new value in the average of a still keypoint at full strength
SPEED_SHARE = 0.3  # the same for speeds
RESPONSE = 500.0  # growth of 2 pi times the cutoff with speed: of 0.01 a frame, nearly all is let through


class OneEuro:
    """Filters the keypoints of one clip, batch by batch and in order.

    Args:
        strength: 0 (values stay as they are) to 1.
    """

    def __init__(self, strength: float) -> None:
        least = 1 - strength * (1 - STRONGEST)
        self._cutoff = least / (1 - least) if strength > 0 else np.inf  # 2 pi times, per frame
        self._value: Points | None = None
        self._speed: Points | None = None

    def __call__(self, values: Points) -> Points:
        """The next frames, (N, K, D)."""
        return np.stack([self._step(value) for value in values]) if len(values) else values

    def _step(self, value: Points) -> Points:
        if self._value is None or self._speed is None:
            self._value, self._speed = value, np.zeros_like(value)
            return value
        self._speed = self._speed + SPEED_SHARE * (value - self._value - self._speed)
        cutoff = self._cutoff + RESPONSE * np.linalg.norm(self._speed, axis=-1, keepdims=True)
        share = np.ones_like(cutoff) if np.isinf(self._cutoff) else cutoff / (1 + cutoff)
        self._value = self._value + share * (value - self._value)
        return self._value
