"""Motion files and the motions of the library in place of a driving video."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.driver import Panel
from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.errors import UsageError
from faceanim_cli.motion.library import is_library_motion, library_motion
from faceanim_cli.motion.motion_file import MOTION_SUFFIX, Motion, read_motion
from faceanim_cli.pictures import Image
from faceanim_models import Keypoints


def is_motion(driver: Path) -> bool:
    """Whether a driver is a motion file or, if there is no file of that name, a motion of the library."""
    return (driver.suffix.lower() == MOTION_SUFFIX and not driver.is_dir()) or is_library_motion(driver)


class MotionDriver:
    """Known keypoints; see ``Driver``.

    Args:
        path: a motion file, or a name of the library.
        animator: whose weights it must fit.
        rate: tells the rate to resample to, from the motion's own; its length stays.

    Raises:
        UsageError: it is of other weights. UnreadableInputError: it cannot be read.
    """

    def __init__(self, path: Path, animator: Animator, rate: Callable[[Fraction], Fraction]) -> None:
        motion = library_motion(str(path), animator.anchors) if is_library_motion(path) else read_motion(path)
        motion = motion.fitted(animator.anchors, animator.weights_sha256, str(path))
        self._motion = motion.resampled(rate(motion.fps))
        self._animator = animator
        self.path, self.fps, self.size = path, self._motion.fps, (1, 1)
        self.frame_count_estimate: int | None = len(self._motion.points)
        self.sound: Path | None = None
        self.missed = 0

    def candidates(self, wanted: int | None) -> tuple[list[int], Keypoints | None]:
        """See ``Driver``; a file may say itself which frame it is."""
        wanted = self._motion.reference if wanted is None else wanted
        count = len(self._motion.points)
        if wanted is not None and wanted >= count:
            raise UsageError(f"{self.path}: has no frame {wanted}; give --start-frame a smaller number")
        numbers = list(range(count)) if wanted is None else [wanted]
        return numbers, _part(self._motion, numbers[0], numbers[-1] + 1, torch.device("cpu"))

    def motion(self, pipeline: Pipeline, panel: Panel) -> Iterator[Keypoints]:
        """See ``Driver``; there are no frames to show."""
        step = self._animator.batch
        for first in range(0, len(self._motion.points), step):
            yield _part(self._motion, first, first + step, self._animator.device)

    def next_panel(self) -> Image | None:
        """See ``Driver``."""
        return None


def _part(motion: Motion, first: int, end: int, device: torch.device) -> Keypoints:
    turns = motion.jacobians
    return Keypoints(
        torch.from_numpy(np.ascontiguousarray(motion.points[first:end])).to(device),
        None if turns is None else torch.from_numpy(np.ascontiguousarray(turns[first:end])).to(device),
    )
