"""Faces framed by landmarks, as LivePortrait's networks know them."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from faceanim_cli.animation.landmark_model import LandmarkModel
from faceanim_cli.faces import Box, FaceTrack
from faceanim_cli.faces.landmark_framing import DRIVER_FRAMING, PHOTO_FRAMING, LandmarkFraming
from faceanim_cli.motion.landmark_lifting import NUM_LANDMARKS
from faceanim_cli.pictures import Image, Points
from faceanim_cli.weights.catalogue import ANIMATION, shipped_weights


class LandmarkFramer:
    """Frames faces by the landmarks that the shipped keypoints tell; where they tell none, by the face's box.

    Args:
        device: where the keypoint detector runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._model = LandmarkModel(shipped_weights(ANIMATION), device)

    def landmarks(self, image: Image, face: Box) -> Points | None:
        """The 68 landmarks of a face, (68, 2) in pixels of the image; None where they are not on it.

        Args:
            image: uint8 RGB (H, W, 3).
            face: its Viola-Jones box.
        """
        found = self._model([image], FaceTrack((0,), (face,), 0))[0, :NUM_LANDMARKS].astype(np.float64)
        return found if np.isfinite(found).all() else None

    def frame_photo(self, image: Image, face: Box) -> Box:
        """The square around a face of a photo; in pixels, not rounded."""
        return self._frame(PHOTO_FRAMING, image, face)

    def frame_clip(self, samples: Iterable[tuple[Image, Box]], boxes: Sequence[Box]) -> Box:
        """The one square of a clip: the mean of those around the face in some of its frames.

        Args:
            samples: frames, and where the face is in them; may be none.
            boxes: of the face, where it was found.
        """
        squares = [self._frame(DRIVER_FRAMING, image, face) for image, face in samples]
        squares = squares or [DRIVER_FRAMING.around_box(face) for face in boxes]
        x, y, side = np.mean([(square.cx, square.cy, square.side) for square in squares], axis=0).tolist()
        return Box(x - side / 2, y - side / 2, side, side)

    def _frame(self, framing: LandmarkFraming, image: Image, face: Box) -> Box:
        landmarks = self.landmarks(image, face)
        return framing.around_box(face) if landmarks is None else framing.around(landmarks)
