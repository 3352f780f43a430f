"""The square crop that LivePortrait's networks see, from facial landmarks, as its authors cut it.

Unlike the crop around a Viola-Jones box (``framing``), the square follows the face's own extent along the
line from eyes to mouth. Kept upright: the networks see tilted heads in training, too.
"""

from dataclasses import dataclass

import numpy as np

from faceanim_cli.faces.framing import Box
from faceanim_cli.pictures import Points

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
