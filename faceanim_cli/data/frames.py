"""Data set of single augmented frames, which the keypoint detector is trained on alone."""

import numpy as np
import numpy.typing as npt
import torch

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.expressions import change_expression, random_expression
from faceanim_cli.data.landmarks import expression_motion, gaze_motion
from faceanim_cli.data.pairs import (
    ClipDataset,
    augmented_frame,
    colour_table,
    jittered_framing,
    random_gaze,
)
from faceanim_cli.pictures import Floats

FLOOR = 0.1  # what a frame without any expression has, against some 5 on the average


class FrameDataset(ClipDataset):
    """Every frame of every clip once, in a random order, then once more in another, and so on.

    Every other item is a frame drawn by its expression instead: the farther brows, eyes, pupils and mouth are
    from where the clip has them most, the likelier. Blinks are rare, and lids seen open only stay open.
    Where pupils are among the keypoints, some are moved: see :func:`move_pupils`; mouths and brows of all
    kinds of faces are, see :func:`change_expression`.

    Each item: ``frame`` (3, S, S) in [0, 1], ``points`` (K, 2) in [-1, 1], NaN where a landmark is not known.
    """

    _order = (-1, np.empty(0, np.int64))  # of the last round that was asked for
    _ends: npt.NDArray[np.int64]  # of each clip, the place of its end among all frames
    _expressive: Floats

    def prepare(self) -> None:
        """As ``ClipDataset.prepare``; reads the landmarks of all clips."""
        self._ends = np.cumsum([len(clip.frames) for clip in self.clips])
        self._expressive = np.cumsum(np.concatenate([_expressiveness(clip) for clip in self.clips]))

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """As ``ClipDataset.draw``."""
        if index % 2:
            place = int(np.searchsorted(self._expressive, rng.random() * self._expressive[-1], side="right"))
            clip, frame = self._at(min(place, int(self._ends[-1]) - 1))
        else:
            clip, frame = self._in_turn(*divmod(index // 2, int(self._ends[-1])))
        shape, augmentation = clip.frames.shape[1:3], self.augmentation
        matrix = jittered_framing(clip.landmarks[frame], shape, self.size, augmentation, rng)
        colours = colour_table(augmentation, rng)
        flipped = rng.random() < augmentation.flip
        gaze = random_gaze(rng) if self.pupils and rng.random() < augmentation.gaze else None
        image, landmarks = augmented_frame(clip, frame, matrix, colours, flipped, self.size, gaze)
        if rng.random() < augmentation.expression:
            image, landmarks = change_expression(image, landmarks, random_expression(rng))
        return {"frame": torch.from_numpy(image), "points": self.points(landmarks)}

    def _in_turn(self, number: int, position: int) -> tuple[Clip, int]:
        """The clip, and the frame in it, at a position of a round."""
        if self._order[0] != number:
            order = np.random.default_rng((self.seed, number, 0)).permutation(int(self._ends[-1]))
            self._order = number, order
        return self._at(int(self._order[1][position]))

    def _at(self, place: int) -> tuple[Clip, int]:
        """The clip, and the frame in it, at a place among all frames."""
        clip = int(np.searchsorted(self._ends, place, side="right"))
        start = 0 if clip == 0 else int(self._ends[clip - 1])
        return self.clips[clip], place - start


def _expressiveness(clip: Clip) -> Floats:
    """How likely each frame of a clip is drawn, (N,), of no unit: by the square of what it moves."""
    landmarks = clip.landmarks[:]
    usual = np.median(landmarks, axis=0, keepdims=True)
    drawn = np.zeros(len(landmarks))
    for moved in (expression_motion(landmarks, usual), gaze_motion(landmarks, usual)):
        known = np.nan_to_num(moved)
        drawn += known / max(float(known.mean()), 1e-6)
    return np.asarray(drawn**2 + FLOOR)
