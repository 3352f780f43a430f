"""Faces by number, left to right as one reads, and a picture that shows the numbers."""

from collections.abc import Sequence

import cv2

from faceanim_cli.errors import UsageError
from faceanim_cli.faces.detector import FaceDetector, no_face
from faceanim_cli.faces.framing import Box
from faceanim_cli.pictures import Image

COLOUR, INK = (255, 210, 0), (0, 0, 0)  # RGB: seen on skin as on hair


def find_faces(image: Image, name: str) -> list[Box]:
    """All faces of a photo, uint8 RGB (H, W, 3), from left to right: the first is number 1.

    Raises:
        NoFaceError: there is none; ``name`` is the photo's.
    """
    faces = FaceDetector().detect(image, thorough=True)
    if not faces:
        raise no_face(image, name)
    return sorted(faces, key=lambda face: (face.cx, face.cy))


def choose_face(faces: Sequence[Box], number: int | None, name: str) -> Box:
    """The face of that number, counted from 1 in ``faces`` as ``find_faces`` gives them; None is the largest.

    Raises:
        UsageError: there are fewer; ``name`` is the photo's.
    """
    if number is None:
        return max(faces, key=lambda face: face.area)
    if not 1 <= number <= len(faces):
        count = "one face" if len(faces) == 1 else f"{len(faces)} faces"
        raise UsageError(f"--face {number}: {name} has {count}; `faceanim faces` shows the numbers")
    return faces[number - 1]


def draw_numbers(image: Image, faces: Sequence[Box]) -> Image:
    """A copy of ``image``, uint8 RGB (H, W, 3), with each face framed and numbered from 1, as given."""
    picture = image.copy()
    line = max(2, round(max(image.shape[:2]) / 400))
    for number, face in enumerate(faces, 1):
        left, top = round(face.x), round(face.y)
        cv2.rectangle(picture, (left, top), (round(face.x + face.w), round(face.y + face.h)), COLOUR, line)
        text, font = str(number), cv2.FONT_HERSHEY_SIMPLEX
        scale = max(0.5, face.side / 150)
        (width, height), _ = cv2.getTextSize(text, font, scale, line)
        cv2.rectangle(picture, (left, top), (left + width + 4 * line, top + height + 4 * line), COLOUR, -1)
        place = (left + 2 * line, top + height + 2 * line)
        cv2.putText(picture, text, place, font, scale, INK, line, cv2.LINE_AA)
    return picture
