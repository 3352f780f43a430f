"""Numbers faces from left to right, and draws the numbers."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from faceanim_cli.errors import UsageError
from faceanim_cli.faces.detector import SURE_VOTES, FaceDetector, no_face
from faceanim_cli.faces.framing import Box
from faceanim_cli.pictures import Image

logger = logging.getLogger(__name__)

# In 26 photos and clips, upright faces had 22 to 291 votes, and the best of the other ways round 0.5 of them.
UPRIGHT_VOTES = 2 * SURE_VOTES  # with fewer, the other ways round are tried
TURN_AHEAD = 2.5  # times the votes that another way round must have
LYING = {1: "lies on its side", 2: "is upside down", 3: "lies on its side"}  # by the turn that rights it
SMALLEST_USEFUL = 48  # pixels of a face: the networks see it three times as large

COLOUR, INK = (255, 210, 0), (0, 0, 0)  # RGB: seen on skin as on hair


class SearchedPhoto(NamedTuple):
    """A photo as it was read, and what a search for faces found in it."""

    image: Image
    faces: list[Box]
    """Pixels of the photo when it is turned; largest first."""
    turn: int
    """The quarter turns clockwise that right it."""


def find_faces(image: Image, name: str) -> tuple[Image, list[Box]]:
    """The photo upright, and all faces in it from left to right: the first is number 1.

    A photo that lies on its side or upside down is turned, and a warning says so.

    Args:
        image: uint8 RGB (H, W, 3).
        name: the photo, for messages.

    Raises:
        NoFaceError: there is none.
    """
    return upright_faces(search_photo(image, name), name)


def upright_faces(searched: SearchedPhoto, name: str) -> tuple[Image, list[Box]]:
    """As ``find_faces``, of a photo that was searched before."""
    image, faces, turn = searched
    if turn:
        logger.warning("%s: %s; it is turned by %d degrees", name, LYING[turn], 90 * turn)
    side = max(face.side for face in faces)
    if side < SMALLEST_USEFUL:
        logger.warning(
            "%s: the face in it is only %.0f pixels wide and will be blurred; take a larger photo", name, side
        )
    return quarter_turned(image, turn), sorted(faces, key=lambda face: (face.cx, face.cy))


def search_photo(image: Image, name: str) -> SearchedPhoto:
    """Look for faces, upright and the other ways round; arguments and errors as ``find_faces``."""
    detector = FaceDetector()
    found = detector.detect_with_votes(image, thorough=True)
    votes, turn = strongest(found), 0
    if votes < UPRIGHT_VOTES:
        for quarters in (1, 2, 3):
            turned = detector.detect_with_votes(quarter_turned(image, quarters), thorough=True)
            if strongest(turned) >= max(SURE_VOTES, TURN_AHEAD * votes):
                found, votes, turn = turned, strongest(turned), quarters
    if not found:
        raise no_face(image, name)
    return SearchedPhoto(image, [box for box, _ in found], turn)


def quarter_turned(image: Image, turn: int) -> Image:
    """An image, colour or grey, turned clockwise by so many times 90 degrees."""
    return np.ascontiguousarray(np.rot90(image, -turn))


def strongest(found: Sequence[tuple[Box, int]]) -> int:
    """The most votes of any face; 0 if there is none."""
    return max((votes for _, votes in found), default=0)


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
