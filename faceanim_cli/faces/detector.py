"""Viola-Jones face detection (paper, section 3.1) with OpenCV's Haar cascades, made to agree with each other.

One cascade alone misses turned heads and takes a collar or a mouth for a face. Four searches, frontal
default, frontal alt2, profile and mirrored profile, are brought to the framing of the frontal default one,
and boxes that mean the same face are merged. A face is trusted by its *votes*: how many overlapping windows
fired, added up over the searches. True faces collect about a hundred, false ones mostly under eight.

The constants were measured on 1106 frames of 222 clips of talking people with known landmarks; a test repeats
the rates where those clips are at hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from faceanim_cli.errors import NoFaceError, UsageError
from faceanim_cli.faces.framing import Box
from faceanim_cli.pictures import Image

SEARCH_SIDE = 320  # longest side that the image is searched at; the cascades' own windows are 20 to 24 pixels
TILT = 25.0  # degrees; the cascades themselves bear 15 to 20
# (longest side, tilts) of each attempt, until one finds a face to be trusted; the last for photos only.
ATTEMPTS = ((SEARCH_SIDE, (0.0,)), (SEARCH_SIDE, (TILT, -TILT)), (640, (0.0,)), (1280, (0.0,)))
SMALLEST_FACE = 28  # pixels at the search side; sure from about 35, 11 % of the longest side at 320
GLANCE_SIDE = 160  # pixels at which sees_face() looks first
LARGEST_RETRIED = 84  # pixels at a larger side: larger faces were searched for at the side before
SCALE_STEP = 1.1
MIN_NEIGHBOURS = 3  # votes that a box needs from its own cascade
SURE_VOTES = 30  # votes of the first cascade that settle a frame: 80 % of the frames, 4 of 1106 wrongly
TRUSTED_VOTES = 8  # a face needs this many: loses 5 of 1096 faces in the clips, and 9 of 10 false boxes
TRUSTED_SHARE = 0.2  # and this share of the strongest face's in the image: loses two of three that are left


@dataclass(frozen=True)
class _Search:
    """One pass of one cascade, and how its boxes lie compared with the frontal default cascade's.

    ``size`` is the side of its box over the frontal one, ``dx`` and ``dy`` the offset of its centre from the
    frontal one in frontal sides. Medians over the clips in which both fire on the same frame.
    """

    file: str
    mirrored: bool = False
    size: float = 1.0
    dx: float = 0.0
    dy: float = 0.0
    alone: tuple[float, float, float] | None = None
    """(size, dx, dy) for a face that no frontal cascade sees: then the head is turned far, and a profile box
    is larger. Against what the landmarks say a frontal box would be; 18 frames only."""


# In order of preference when several see the same face. The profile cascade looks for faces turned to the
# left of the picture. Measured on 220 clips (1058 frames) for alt2, on 160 and 150 clips for profile and its
# mirror image, whose mean is used.
SEARCHES = (
    _Search("haarcascade_frontalface_default.xml"),
    _Search("haarcascade_frontalface_alt2.xml", size=0.973, dy=-0.003),
    _Search("haarcascade_profileface.xml", size=1.018, dx=0.17, dy=-0.03, alone=(1.25, 0.2, 0.043)),
    _Search(
        "haarcascade_profileface.xml",
        mirrored=True,
        size=1.018,
        dx=-0.17,
        dy=-0.03,
        alone=(1.25, -0.2, 0.043),
    ),
)


@dataclass(frozen=True)
class _Candidate:
    """A box that a search (its place in ``SEARCHES``) found: as its cascade gave it, and as a frontal box."""

    found: Box
    box: Box
    votes: int
    search: int


class FaceDetector:
    """Finds faces, frontal to profile, upright or tilted by up to about 40 degrees (profile: 15).

    Not thread-safe: OpenCV's classifiers keep buffers while they search. One detector per thread.

    Raises:
        UsageError: OpenCV has no Viola-Jones, or its cascade files are missing.
    """

    def __init__(self) -> None:
        self._classifiers = {search.file: _load_cascade(search.file) for search in SEARCHES}

    def detect(self, image: Image, *, thorough: bool = False) -> list[Box]:
        """Faces, largest first, in the framing of the frontal default cascade.

        The image is searched at 320 pixels: about 35 ms on one core when the frontal cascade is sure, 180 ms
        when all have to look. When they find nothing, the image is tilted both ways, and the stronger answer
        counts; still nothing, and it is searched at 640 pixels.

        Args:
            image: RGB, uint8 (H, W, 3), or grey (H, W).
            thorough: always use all cascades, and go up to 1280 pixels for small faces in a large photo.

        Returns:
            Square boxes, pixels of the image, without duplicates; empty when there is no face.
        """
        return [box for box, _ in self.detect_with_votes(image, thorough=thorough)]

    def detect_with_votes(
        self, image: Image, *, thorough: bool = False, quick: bool = False
    ) -> list[tuple[Box, int]]:
        """As ``detect``, and how many windows fired on each: an upright face collects about a hundred.

        Args:
            image, thorough: as of ``detect``.
            quick: leave it at the first attempt, which takes a fifth of the time where there is no face.
        """
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        for side, tilts in ATTEMPTS if thorough else ATTEMPTS[:1] if quick else ATTEMPTS[:-1]:
            if side > max(SEARCH_SIDE, *grey.shape):
                break  # enlarging shows nothing new
            answers = [self._search(grey, side, tilt, thorough) for tilt in tilts]
            faces = trusted_faces(max(answers, key=lambda answer: answer[0][1] if answer else 0))
            if faces:
                return faces
        return []

    def sees_face(self, image: Image) -> bool:
        """Whether there is a face to be trusted: as ``detect`` says, sooner where a face fills the picture.

        The frontal cascade looks at 160 pixels first, for faces that are a fifth of the longest side: about
        6 ms, and enough for nine of ten framed faces; ``detect`` judges the others. Of 218 framed faces and
        144 pictures made of cut, turned and blurred ones, none was judged otherwise than by ``detect`` alone.

        Args:
            image: RGB, uint8 (H, W, 3).
        """
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        scale = GLANCE_SIDE / max(grey.shape)
        size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
        _, votes = self._classifiers[SEARCHES[0].file].detectMultiScale2(
            cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR),
            scaleFactor=SCALE_STEP,
            minNeighbors=MIN_NEIGHBOURS - 1,
            minSize=(GLANCE_SIDE // 5, GLANCE_SIDE // 5),
        )
        return max(votes, default=0) >= TRUSTED_VOTES or bool(self.detect(image))

    def _search(self, grey: Any, side: int, tilt: float, thorough: bool) -> list[tuple[Box, int]]:
        """(box, votes) of all faces at one search size and tilt, most votes first, in pixels of ``grey``."""
        height, width = grey.shape
        scale = side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        if tilt:
            turn = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), tilt, 1.0)
            back = cv2.invertAffineTransform(turn)
            small = cv2.warpAffine(small, turn, size, borderMode=cv2.BORDER_REPLICATE)
        largest = 0 if side == SEARCH_SIDE else LARGEST_RETRIED

        candidates: list[_Candidate] = []
        for number, search in enumerate(SEARCHES[:2] if tilt else SEARCHES):
            candidates += self._run(small, number, search, largest)
            if not thorough and number == 0 and any(c.votes >= SURE_VOTES for c in candidates):
                break

        faces = []
        for box, votes in merged(candidates):
            cx, cy = back @ (box.cx, box.cy, 1.0) if tilt else (box.cx, box.cy)
            w, h = box.w * width / size[0], box.h * height / size[1]
            centred = Box(cx * width / size[0] - w / 2, cy * height / size[1] - h / 2, w, h)
            faces.append((centred, votes))
        return faces

    def _run(self, small: Any, number: int, search: _Search, largest: int) -> list[_Candidate]:
        # Equalising the histogram lost more faces than it found (recall 96.8 against 97.0 %, and a third more
        # false boxes): the cascades normalise the contrast of each window themselves.
        rectangles, votes = self._classifiers[search.file].detectMultiScale2(
            small[:, ::-1].copy() if search.mirrored else small,
            scaleFactor=SCALE_STEP,
            minNeighbors=MIN_NEIGHBOURS - 1,  # OpenCV keeps groups of more windows than this
            minSize=(SMALLEST_FACE, SMALLEST_FACE),
            maxSize=(largest, largest),
        )
        candidates = []
        for (x, y, w, h), count in zip(rectangles, votes, strict=True):
            left = small.shape[1] - x - w if search.mirrored else x
            found = Box(float(left), float(y), float(w), float(h))
            framed = _as_frontal(found, search.size, search.dx, search.dy)
            candidates.append(_Candidate(found, framed, int(count), number))
        return candidates


def no_face(image: Image, name: str) -> NoFaceError:
    """What to raise when ``detect`` finds nothing in a photo: what was tried, and what to do."""
    height, width = image.shape[:2]
    return NoFaceError(
        f"{name}: no face found in {width}x{height} pixels, upright or tilted by {TILT:.0f} degrees; say "
        "where it is with --crop x,y,w,h, or take a photo that shows the whole face"
    )


def merged(candidates: Sequence[_Candidate]) -> list[tuple[Box, int]]:
    """(box, votes) of each face, most votes first: candidates for one face made one.

    The box is the one of the preferred search, its votes those of all.
    """
    groups: list[list[_Candidate]] = []
    for candidate in sorted(candidates, key=lambda c: c.votes, reverse=True):
        for group in groups:
            if _same_face(group[0].box, candidate.box):
                group.append(candidate)
                break
        else:
            groups.append([candidate])

    faces = []
    for group in groups:
        best = min(group, key=lambda c: (c.search, -c.votes))
        alone = SEARCHES[best.search].alone
        box = _as_frontal(best.found, *alone) if alone else best.box
        faces.append((box, sum(c.votes for c in group)))
    return sorted(faces, key=lambda face: face[1], reverse=True)


def trusted_faces(faces: Sequence[tuple[Box, int]]) -> list[tuple[Box, int]]:
    """Of (box, votes), most votes first: those with votes enough, largest first.

    Where a small strong box lies in a large one that can be trusted as well, the large one is the face and
    the small one its mouth or eye: in the measured clips no false box was both trusted and larger.
    """
    strongest = faces[0][1] if faces else 0
    strong = [face for face in faces if face[1] >= max(TRUSTED_VOTES, TRUSTED_SHARE * strongest)]
    kept: list[tuple[Box, int]] = []
    for box, votes in sorted(strong, key=lambda face: face[0].area, reverse=True):
        if all(_overlap(box, other) < 0.5 for other, _ in kept):
            kept.append((box, votes))
    return kept


def _as_frontal(found: Box, size: float, dx: float, dy: float) -> Box:
    side = found.side / size
    return Box(found.cx - dx * side - side / 2, found.cy - dy * side - side / 2, side, side)


def _same_face(a: Box, b: Box) -> bool:
    large, small = max(a.side, b.side), min(a.side, b.side)
    return math.hypot(a.cx - b.cx, a.cy - b.cy) < 0.4 * large and large < 1.8 * small


def _overlap(a: Box, b: Box) -> float:
    """Shared area over the smaller box's area: 1 when one lies inside the other."""
    w = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    h = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    return max(w, 0) * max(h, 0) / min(a.area, b.area)


def _load_cascade(file: str) -> Any:
    advice = "install the one that has them: pip install 'opencv-python>=4.8,<5'"
    data: Any = getattr(cv2, "data", None)  # not in OpenCV's type stubs
    if data is None or not hasattr(cv2, "CascadeClassifier"):
        raise UsageError(f"OpenCV {cv2.__version__} has no Viola-Jones cascades; {advice}")
    path = Path(data.haarcascades) / file
    if not path.is_file():
        raise UsageError(f"OpenCV {cv2.__version__} came without {path}; {advice}")
    try:
        classifier = cv2.CascadeClassifier(str(path))
    except (cv2.error, SystemError):  # a file of another format: OpenCV's parser throws
        classifier = None
    if classifier is None or classifier.empty():
        raise UsageError(f"OpenCV {cv2.__version__} cannot read {path}; {advice}")
    return classifier
