"""Crops faces by facial landmarks, as LivePortrait's authors do for its networks.

Unlike the crop around a Viola-Jones box (``faces.framing``), the square follows the face's own extent along
the line from eyes to mouth. Kept upright: the networks see tilted heads in training, too.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from faceanim_cli.animation.framer import Framer
from faceanim_cli.animation.landmark_model import LandmarkModel
from faceanim_cli.faces import Box, FaceDetector, FaceTrack, crop_image
from faceanim_cli.motion.landmark_lifting import NUM_LANDMARKS
from faceanim_cli.pictures import Image, Points
from faceanim_cli.weights.catalogue import ANIMATION, shipped_weights

logger = logging.getLogger(__name__)

OPEN_LIPS = 0.03  # gap over width, from which on LivePortrait's authors take lips for open
SEARCHED = 512  # pixels a side of a crop in which a face is looked for
EYE_CORNERS = (36, 39, 42, 45)
MOUTH_CORNERS = (48, 54)


@dataclass(frozen=True)
class LandmarkFraming:
    """How a square lies around landmarks."""

    scale: float  # its side, in sides of the landmarks' own box
    rise: float  # how far its centre lies above that box's, towards the hair, in sides of the square
    box_scale: float  # its side in sides of a Viola-Jones box, where there are no landmarks
    box_rise: float  # the same of its centre, in sides of a Viola-Jones box

    def around(self, landmarks: Points) -> Box:
        """The upright square around landmarks (68, 2), pixels of the image."""
        down = landmarks[list(MOUTH_CORNERS)].mean(0) - landmarks[list(EYE_CORNERS)].reshape(2, 2, 2).mean(
            (0, 1)
        )
        length = float(np.hypot(*down))
        down = down / length if length > 0 else np.array([0.0, 1.0])
        right = np.array([down[1], -down[0]])
        turned = landmarks @ np.stack((right, down), axis=1)  # along right and down
        low, high = turned.min(0), turned.max(0)
        side = self.scale * float((high - low).max())
        centre = np.stack((right, down), axis=1) @ ((low + high) / 2) - self.rise * side * down
        return _square(centre, side)

    def around_box(self, face: Box) -> Box:
        """The square where a Viola-Jones box is all that is known."""
        centre = np.array([face.cx - 0.5, face.cy - 0.5 - self.box_rise * face.side])
        return _square(centre, self.box_scale * face.side)


def _square(centre: Points, side: float) -> Box:
    """A box in edge coordinates around a point."""
    x, y = centre + 0.5 - side / 2
    return Box(float(x), float(y), side, side)


# Against landmarks, the box's square is right to within a tenth of its side.
PHOTO_FRAMING = LandmarkFraming(2.3, 0.125, 1.89, 0.088)
DRIVER_FRAMING = LandmarkFraming(2.2, 0.1, 1.89 * 2.2 / 2.3, 0.088)


class LandmarkFramer(Framer):
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
        """See ``Framer``; not rounded."""
        return self._frame(PHOTO_FRAMING, image, face)

    def frame_clips(
        self,
        samples: Iterable[tuple[int, int, Image]],
        tracks: Sequence[FaceTrack],
        image_size: tuple[int, int],
    ) -> list[Box]:
        """See ``Framer``: the mean of the squares around the face in a clip's frames; not rounded."""
        squares: list[list[Box]] = [[] for _ in tracks]
        for clip, number, image in samples:
            squares[clip].append(self._frame(DRIVER_FRAMING, image, tracks[clip].box_at(number)))
        return [
            _mean(found or list(map(DRIVER_FRAMING.around_box, track.boxes)))
            for found, track in zip(squares, tracks, strict=True)
        ]

    def open_lips(self, image: Image, crop: Box | None, face: Box | None, name: str) -> float | None:
        """How far a photo's lips are open, gap over width; None where they are closed, or not found.

        Args:
            image, face: as ``landmarks``; without a face the largest in the crop is taken.
            crop: of the photo, whole pixels; None for all of it.
            name: the photo, for a message where there are no lips.
        """
        if face is None:
            image = crop_image(image, crop, SEARCHED)
            face = next(iter(FaceDetector().detect(image, thorough=True)), None)
        landmarks = None if face is None else self.landmarks(image, face)
        if landmarks is None:
            logger.warning("%s: --close-lips finds no lips in it and leaves them as they are", name)
            return None
        gap, width = (np.linalg.norm(landmarks[a] - landmarks[b]) for a, b in ((62, 66), (48, 54)))
        opening = float(gap) / max(float(width), 1e-6)
        logger.info("%s: lips open by %.3f of their width", name, opening)
        return opening if opening >= OPEN_LIPS else None

    def _frame(self, framing: LandmarkFraming, image: Image, face: Box) -> Box:
        landmarks = self.landmarks(image, face)
        return framing.around_box(face) if landmarks is None else framing.around(landmarks)


def _mean(squares: Sequence[Box]) -> Box:
    x, y, side = np.mean([(square.cx, square.cy, square.side) for square in squares], axis=0).tolist()
    return Box(x - side / 2, y - side / 2, side, side)
