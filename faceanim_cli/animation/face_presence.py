"""Tells driver frames without a face by the sharpness of the keypoint detector's heatmaps."""

import math
from collections.abc import Iterable

# Shares of the sharpness that heatmaps have in frames with a face. In 22 clips of talking people they had
# 0.65 of it at least, 0.9 but for far turned heads, and 0.53 at most where there was no face.
NO_FACE = 0.58
SURE_FACE = 0.88
PATIENCE = 0.5  # seconds in which a face fades or leaves: in the end it is sure again, or gone


class FacePresence:
    """Decides frame by frame. What lies between sure and none belongs to a gap that it leads into or out of.

    A face on its way out of the picture gives keypoints that are wrong before they are plainly nonsense.

    Args:
        fps: frames per second.
    """

    def __init__(self, fps: float) -> None:
        self.decided: list[bool] = []
        self._patience = max(1, math.ceil(PATIENCE * fps))
        self._doubtful = 0
        self._gone = False

    def see(self, shares: Iterable[float]) -> None:
        """The sharpness of the next frames; ``decided`` grows by them, a little later where in doubt."""
        for share in shares:
            if share < NO_FACE:
                self._decide(False, False)
                self._gone = True
            elif share >= SURE_FACE:
                self._decide(not self._gone, True)
                self._gone = False
            else:
                self._doubtful += 1
                if self._doubtful > self._patience:  # the oldest is a face all the same
                    self._doubtful, self._gone = self._doubtful - 1, False
                    self.decided.append(True)

    def finish(self) -> None:
        """Decide what is left."""
        self.decided += [True] * self._doubtful
        self._doubtful, self._gone = 0, False

    def _decide(self, doubtful: bool, this: bool) -> None:
        self.decided += [doubtful] * self._doubtful + [this]
        self._doubtful = 0
