"""Motion files and the motions of the library in place of a driving video."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.driver import MOST_CANDIDATES, Candidates, DrivingMotion, Panel
from faceanim_cli.animation.driver_search import Excerpt
from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.errors import UsageError
from faceanim_cli.motion.library import is_library_motion, library_motion
from faceanim_cli.motion.limits import FrameRuns
from faceanim_cli.motion.motion_batch import MotionBatch
from faceanim_cli.motion.motion_file import MOTION_SUFFIX, read_motion
from faceanim_cli.pictures import Image
from faceanim_models import HeadMotion, Keypoints


def is_motion(driver: Path) -> bool:
    """Whether a driver is a motion file or, if there is no file of that name, a motion of the library."""
    return (driver.suffix.lower() == MOTION_SUFFIX and not driver.is_dir()) or is_library_motion(driver)


class MotionDriver:
    """Known motion; see ``Driver``.

    Args:
        path: a motion file, or a name of the library.
        animator: whose weights it must fit.
        excerpt: the part to take; None is all of it.
        rate: tells the rate to resample to, from the motion's own; its length stays.

    Raises:
        UsageError: it is of other weights. UnreadableInputError: it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        animator: Animator,
        rate: Callable[[Fraction], Fraction],
        excerpt: Excerpt | None = None,
    ) -> None:
        motion = library_motion(str(path), animator.anchors) if is_library_motion(path) else read_motion(path)
        motion = motion.fitted(animator.network, animator.anchors, animator.weights_sha256, str(path))
        excerpt = excerpt or Excerpt()
        self._motion = motion.resampled(rate(motion.fps)).excerpt(excerpt.start, excerpt.duration, str(path))
        self._animator = animator
        self.path, self.fps, self.size = path, self._motion.fps, (1, 1)
        self.frame_count_estimate: int | None = len(self._motion)
        self.sound: Path | None = None
        self.sound_start, self.missed = 0.0, 0
        self.starts = list(self._motion.starts)
        self.faceless = FrameRuns()

    def candidates(self, wanted: int | None, most: int = MOST_CANDIDATES) -> list[Candidates | None]:
        """See ``Driver``; a file may say itself which frame it is."""
        wanted = self._motion.reference if wanted is None else wanted
        if wanted is not None and wanted >= len(self._motion):
            raise UsageError(f"{self.path}: has no frame {wanted}; give --start-frame a smaller number")
        picked: list[Candidates | None] = []
        for first, end in self._shots():
            given = wanted is not None and first <= wanted < end
            frames = [wanted] if given and wanted is not None else list(range(first, end))
            picked.append(Candidates(frames, self._part(frames[0], frames[-1] + 1)))
        return picked

    def motion(self, pipeline: Pipeline, panel: Panel, whole: bool = False) -> Iterator[DrivingMotion]:
        """See ``Driver``; there are no frames to show."""
        step = self._animator.batch
        for shot, (start, end) in enumerate(self._shots()):
            for first in range(start, end, step):
                yield DrivingMotion(shot, self._part(first, min(first + step, end)))

    def next_panel(self) -> Image | None:
        """See ``Driver``."""
        return None

    def close(self) -> None:
        """See ``Driver``."""

    def _shots(self) -> Iterator[tuple[int, int]]:
        """(first, end) of each."""
        return zip(self.starts, [*self.starts[1:], len(self._motion)], strict=True)

    def _part(self, first: int, end: int) -> MotionBatch:
        arrays, device = self._motion.arrays, self._animator.device
        tensors = {name: torch.from_numpy(rows[first:end]).to(device) for name, rows in arrays.items()}
        return Keypoints(**tensors) if "points" in tensors else HeadMotion(**tensors)
