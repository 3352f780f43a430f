"""Single frames of clips, augmented as the frames of a pair are: for the keypoint detector alone."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.landmark_motion import expression_motion, gaze_motion
from faceanim_cli.data.landmarks import PUPILS, Anchors, anchored_keypoints
from faceanim_cli.data.pairs import (
    Augmentation,
    augmented_frame,
    colour_table,
    jittered_framing,
    random_gaze,
)
from faceanim_cli.pictures import Floats

FLOOR = 0.1  # what a frame without any expression has, against some 5 on the average


class FrameDataset(Dataset[dict[str, torch.Tensor]]):
    """Every frame of every clip once, in a random order, then once more in another, and so on.

    Every other item is a frame drawn by its expression instead: the farther brows, eyes, pupils and mouth are
    from where the clip has them most, the likelier. Blinks are rare, and lids seen open only stay open.
    Where pupils are among the keypoints, some are moved: see :func:`move_pupils`.

    Frame ``index`` is drawn by generators seeded with ``seed``: the same on every run and machine. Each item:
    ``frame`` (3, S, S) in [0, 1], ``points`` (K, 2) in [-1, 1], NaN where a landmark is not known.

    Args:
        clips: at least one.
        anchors: which landmarks make which keypoint.
        size: S, pixels.
        length: how many frames there are.
        seed: of the draw.
        augmentation: see :class:`Augmentation`.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        anchors: Anchors,
        size: int,
        length: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.clips = list(clips)
        self.ends = np.cumsum([len(clip.frames) for clip in clips])
        self.anchors, self.size, self.length, self.seed = anchors, size, length, seed
        self.augmentation = augmentation or Augmentation()
        self.pupils = any(set(PUPILS) & set(group) for group in anchors)
        self._order = (-1, np.empty(0, np.int64))  # of the last round that was asked for
        self._expressive = np.cumsum(np.concatenate([_expressiveness(clip) for clip in clips]))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < self.length:
            raise IndexError(f"frame {index} of {self.length}")  # ends ``for item in frames``
        rng = np.random.default_rng((self.seed, index))
        if index % 2:
            place = int(np.searchsorted(self._expressive, rng.random() * self._expressive[-1], side="right"))
            clip, frame = self._at(min(place, int(self.ends[-1]) - 1))
        else:
            clip, frame = self._in_turn(*divmod(index // 2, int(self.ends[-1])))
        shape, augmentation = clip.frames.shape[1:3], self.augmentation
        matrix = jittered_framing(clip.landmarks[frame], shape, self.size, augmentation, rng)
        colours = colour_table(augmentation, rng)
        flipped = rng.random() < augmentation.flip
        gaze = random_gaze(rng) if self.pupils and rng.random() < augmentation.gaze else None
        image, landmarks = augmented_frame(clip, frame, matrix, colours, flipped, self.size, gaze)
        return {
            "frame": torch.from_numpy(image),
            "points": torch.from_numpy(anchored_keypoints(landmarks, self.anchors).astype(np.float32)),
        }

    def _in_turn(self, number: int, position: int) -> tuple[Clip, int]:
        """The clip, and the frame in it, at a position of a round."""
        if self._order[0] != number:
            order = np.random.default_rng((self.seed, number, 0)).permutation(int(self.ends[-1]))
            self._order = number, order
        return self._at(int(self._order[1][position]))

    def _at(self, place: int) -> tuple[Clip, int]:
        """The clip, and the frame in it, at a place among all frames."""
        clip = int(np.searchsorted(self.ends, place, side="right"))
        start = 0 if clip == 0 else int(self.ends[clip - 1])
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
