"""Tells driver frames without a face by the sharpness of the keypoint detector's heatmaps."""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from faceanim_cli.animation.networks import Detected
from faceanim_cli.motion.motion_batch import MotionBatch, all_finite, join_motion, part_of

# Shares of the sharpness that heatmaps have in frames with a face. In 22 clips of talking people they had
# 0.65 of it at least, 0.9 but for far turned heads, and 0.53 at most where there was no face.
NO_FACE = 0.58
SURE_FACE = 0.88
ADAPTING = 0.05  # share of a new value in what sharpness is usual in a stream
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


class FacePresenceSoFar:
    """Decides at once, for a stream of which nothing is known but what has come: a camera's, say.

    The first batch tells how sharp heatmaps usually are; sure frames that follow adapt it.
    """

    def __init__(self) -> None:
        self._usual = 0.0

    def shows(self, batch: Detected) -> list[bool]:
        """Which frames of the next batch show a face."""
        finite = all_finite(batch.motion).cpu().numpy()
        sharp = np.ones(len(finite)) if batch.sharpness is None else batch.sharpness.float().cpu().numpy()
        sharp = np.where(finite & np.isfinite(sharp), sharp, 0.0)
        self._usual = self._usual or float(np.percentile(sharp, 75))
        shown = []
        for value in sharp.tolist():
            shown.append(0 < value >= NO_FACE * self._usual)
            if value >= SURE_FACE * self._usual:
                self._usual += ADAPTING * (value - self._usual)
        return shown


def held(batches: Iterable[Detected]) -> Iterator[MotionBatch]:
    """The motion of each batch of a stream, where frames without a face have that of the last one with one.

    At the start they have that of the first one with a face, if it is in their batch.
    """
    presence = FacePresenceSoFar()
    last: MotionBatch | None = None
    for batch in batches:
        shown = presence.shows(batch)
        motion = batch.motion if last is None else join_motion([last, batch.motion])
        before = 0 if last is None else 1  # rows of it
        row = shown.index(True) if last is None and True in shown else 0
        rows = [row := before + i if shows else row for i, shows in enumerate(shown)]
        last = part_of(motion, [rows[-1]])
        yield batch.motion if all(shown) else part_of(motion, rows)
