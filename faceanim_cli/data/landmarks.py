"""Facial landmarks: their meaning, their files, and keypoints and motion derived from them.

The usual 68 (indices 0-67): 0-16 jaw, 17-26 brows, 27-35 nose, 36-47 eyes, 48-67 mouth; 36 and 48 on the
picture's left. Data may know 12 more: 68, 69 pupils, 70-74 forehead from the picture's left to its right, 75,
76 cheeks, 77 between the brows, 78, 79 temples. What nobody knows is NaN.
"""

import logging
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media import whole_file
from faceanim_cli.motion import head_model, landmark_lifting
from faceanim_cli.pictures import Flags, Floats, Landmarks, Points

Anchors: TypeAlias = head_model.Anchors

NUM_LANDMARKS = landmark_lifting.NUM_LANDMARKS
NUM_POINTS = landmark_lifting.NUM_POINTS
PUPILS = head_model.PUPILS

# Folders of a data folder, with <clip>.npy each.
LANDMARKS_FOLDER = "landmarks"  # (frames, 68, 2), pixels as the file stores them
EXTRA_FOLDER = "landmarks_extra"  # (frames, 12, 2): landmarks 68-79
PUPILS_SEEN_FOLDER = "iris_ok"  # (frames, 2) bool: whether a pupil's place can be trusted
APERTURE_FOLDER = "aperture"  # (frames, 2): distance of the lids over the eye's width

SQUARE = Fraction(1)  # pixels: no video but anamorphic ones has others
LARGEST_COORDINATE = 1e6  # pixels
SMALLEST_FACE = 0.1  # pixels: width and height of landmarks that all lie in one place
SHARE_INSIDE = 0.25  # of the 68 lie inside the frame, where they are a face in it
FARTHEST_EXTRA = 1.0  # sides of the face box from its centre; foreheads and temples lie within 0.6

log = logging.getLogger(__name__)

# The paper's ten (§3.1): eyes, brows, nose tip, mouth corners, lips, chin.
PAPER_ANCHORS: Anchors = (
    (36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47),
    (17, 18, 19, 20, 21), (22, 23, 24, 25, 26),
    (30,), (48,), (54,), (51,), (57,), (8,),
)  # fmt: skip

# The shipped model's: upper and lower lids apart, so that an eye can close, inner lips apart from the outer,
# brows in three parts, and the jaw up to the ears, which shows how far the head is turned.
DENSE_ANCHORS: Anchors = (
    (36,), (39,), (42,), (45,),  # eye corners
    (37, 38), (40, 41), (43, 44), (46, 47),  # lids: upper, lower; upper, lower
    (17, 18), (19,), (21,), (22,), (24,), (25, 26),  # brows
    (27, 28), (30,), (31,), (35,),  # nose: bridge, tip, wings
    (48,), (54,), (51,), (57,), (62,), (66,),  # mouth: corners, outer lips, inner lips
    (8,), (4,), (12,), (1,), (15,),  # chin and jaw
)  # fmt: skip

# Landmark i of a face is landmark MIRROR[i] of the same face in a mirror.
MIRROR: tuple[int, ...] = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
    64, 63, 62, 61, 60, 67, 66, 65,
    69, 68, 74, 73, 72, 71, 70, 76, 75, 77, 79, 78,
)  # fmt: skip

EYES = head_model.EYES
MOUTH = head_model.MOUTH
EYE_CORNERS = ((36, 39), (42, 45))  # from the picture's left to its right
EXPRESSIVE = sorted(EYES | MOUTH | head_model.BROWS)
BONE_WEIGHTS = head_model.bone_weights(tuple((i,) for i in range(NUM_LANDMARKS)))
BONE_WEIGHTS = BONE_WEIGHTS / BONE_WEIGHTS.sum()
BONE_PLACES = head_model.HEAD[:NUM_LANDMARKS] - BONE_WEIGHTS @ head_model.HEAD[:NUM_LANDMARKS]


def read_landmarks(
    path: Path, size: tuple[int, int] | None = None, pixel_aspect: Fraction = SQUARE
) -> Landmarks:
    """The landmarks (N, 80, 2) of a video; rows of NaN where no face was found, single points where unknown.

    Points 68-79 come from the same file if it has 80, else from ``landmarks_extra`` beside its folder where
    that is ``landmarks``; pupils that ``iris_ok`` does not trust are unknown. Rows that are no face (see
    :func:`not_a_face`) are taken for missing, and the log says how many.

    Args:
        path: (frames, 68, 2) or (frames, 80, 2).
        size: (width, height) of the frames as they are shown; None if nobody knows.
        pixel_aspect: of the video. Files of landmarks count stored pixels, as OpenCV shows them; what is
            returned are pixels of the frames as they are shown.

    Raises:
        UnreadableInputError: not such an array.
    """
    given = load_points(path)
    points = np.full((len(given), NUM_POINTS, 2), np.nan, np.float32)
    points[:, : given.shape[1]] = given
    extra = _sibling(path, EXTRA_FOLDER)
    if given.shape[1] == NUM_LANDMARKS and extra is not None:
        known = _load(extra, (NUM_POINTS - NUM_LANDMARKS, 2))[: len(points)]
        points[: len(known), NUM_LANDMARKS:] = known
    seen = _sibling(path, PUPILS_SEEN_FOLDER)
    if seen is not None:
        trusted = _load(seen, (2,))[: len(points)] != 0
        points[: len(trusted), list(PUPILS)] = np.where(
            trusted[..., None], points[: len(trusted), list(PUPILS)], np.nan
        )
    points[..., 0] = (points[..., 0] + 0.5) * float(pixel_aspect) - 0.5
    wrong = not_a_face(points, size)
    if wrong.any():
        log.warning(
            "%s: %d of %d rows are no face (all zero, one point, or outside the frame); taken for missing",
            *(path, wrong.sum(), len(wrong)),
        )
    points[wrong] = np.nan
    x, y, side = landmark_lifting.landmark_box(points)
    centre, reach = np.stack((x, y), axis=-1)[:, None], FARTHEST_EXTRA * side[:, None]
    more = points[:, NUM_LANDMARKS:]
    more[~(np.abs(more - centre).max(-1) <= reach)] = np.nan
    more[np.ptp(more, axis=1).max(-1) < SMALLEST_FACE] = np.nan  # zeros, near a face in the frame's corner
    return points


def read_aperture(landmarks: Path) -> Floats | None:
    """How far eyes are open, (N, 2), beside the file of landmarks; None where nobody measured it.

    Raises:
        UnreadableInputError: not such an array.
    """
    path = _sibling(landmarks, APERTURE_FOLDER)
    return None if path is None else _load(path, (2,))


def landmark_files(path: Path) -> list[Path]:
    """All files that ``read_landmarks`` and ``read_aperture`` read for this one."""
    folders = (EXTRA_FOLDER, PUPILS_SEEN_FOLDER, APERTURE_FOLDER)
    more = [_sibling(path, folder) for folder in folders]
    return [path, *(file for file in more if file is not None)]


def write_landmarks(data: Path, name: str, landmarks: Landmarks) -> None:
    """Write the landmarks (N, 80, 2) of a data folder's clip; points 68-79 only if any of them is known."""
    extra = data / EXTRA_FOLDER / f"{name}.npy"
    parts = {data / LANDMARKS_FOLDER / extra.name: landmarks[:, :NUM_LANDMARKS]}
    if np.isfinite(landmarks[:, NUM_LANDMARKS:]).any():
        parts[extra] = landmarks[:, NUM_LANDMARKS:]
    else:
        extra.unlink(missing_ok=True)
    for path, points in parts.items():
        path.parent.mkdir(exist_ok=True)
        with whole_file(path) as partial:
            np.save(partial, points.astype(np.float32))


def load_points(path: Path) -> Landmarks:
    """Landmarks (N, 68, 2) or (N, 80, 2) as a file has them.

    Raises:
        UnreadableInputError: not such an array.
    """
    return _load(path, (NUM_LANDMARKS, 2), (NUM_POINTS, 2))


def not_a_face(points: Landmarks, size: tuple[int, int] | None = None) -> Flags:
    """Rows (N,) with numbers that cannot be a face's: all in one place, such as zeros, or outside the frame.

    Rows of NaN are none of them: they say themselves that nothing was found.

    Args:
        points: (N, 68 or more, 2), pixels.
        size: (width, height) of the frames; None if nobody knows.
    """
    face = points[:, :NUM_LANDMARKS]
    told = np.asarray(~np.isnan(face).any((1, 2)))
    safe = np.where(told[:, None, None], face, 0)
    wild = np.abs(safe).max((1, 2)) > LARGEST_COORDINATE  # infinite ones among them
    safe = np.where(wild[:, None, None], 0, safe)
    wrong = np.asarray(np.ptp(safe, axis=1).min(-1) < SMALLEST_FACE)
    if size is not None:
        inside = ((safe >= -0.5) & (safe < np.array(size) - 0.5)).all(-1)
        wrong |= inside.mean(-1) < SHARE_INSIDE
    return np.asarray(told & (wild | wrong))


def _load(path: Path, *shapes: tuple[int, ...]) -> Floats:
    try:
        array = np.load(path, mmap_mode="r")  # a header alone cannot make us allocate
    except (OSError, ValueError, EOFError) as error:
        raise UnreadableInputError(f"{path}: not an array of landmarks ({error})") from error
    if array.shape[1:] not in shapes or array.dtype.kind not in "fiub":
        wanted = " or ".join(f"(frames, {', '.join(map(str, shape))})" for shape in shapes)
        raise UnreadableInputError(f"{path}: {array.shape} is not {wanted} of numbers ({array.dtype})")
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite, and no face
        return np.asarray(array, np.float32)


def _sibling(path: Path, folder: str) -> Path | None:
    """The file of the same clip in another of a data folder's folders."""
    file = path.parent.parent / folder / path.name
    return file if path.parent.name == LANDMARKS_FOLDER and file.is_file() else None


def anchored_keypoints(landmarks: Points, anchors: Anchors) -> Points:
    """Keypoints (..., K, 2): the mean of each anchor's landmarks (..., 80, 2), in their unit."""
    return head_model.anchor_means(landmarks, anchors)


def mirrored(landmarks: Points) -> Points:
    """Landmarks (..., 68 or 80, 2) renamed as those of the same face in a mirror; places stay."""
    return np.asarray(landmarks[..., list(MIRROR[: landmarks.shape[-2]]), :])


def expressive(anchors: Anchors) -> tuple[int, ...]:
    """The keypoints that belong to eyes or mouth, where expression shows."""
    return tuple(k for k, group in enumerate(anchors) if set(group) <= EYES | MOUTH | set(PUPILS))


def expression_motion(first: Points, second: Points) -> Points:
    """Mean difference (N,) of brows, eyes and mouth that no motion of the head explains, in eye distances.

    The head's pose is taken out of both frames: the scaled rotation in three dimensions that carries an
    average head's bone onto the face's. A similarity in the picture's plane would explain shifts, zooms and
    tilts just as well, but take a head that turns for an expression.

    Args:
        first, second: (N, 68 or more, 2), finite among the 68, in any unit.
    """
    return np.asarray(np.linalg.norm(_expression(first) - _expression(second), axis=-1).mean(-1))


def gaze_motion(first: Points, second: Points) -> Points:
    """How far pupils have moved within their eyes (N,), in eye widths; NaN where no pupil is known twice.

    Args:
        first, second: (N, 80, 2), in any unit; of 68 landmarks nothing is known.
    """
    moved = np.abs(_gaze(first) - _gaze(second))  # (N, 2)
    known = np.isfinite(moved)
    count = known.sum(-1)
    return np.where(count > 0, np.where(known, moved, 0).sum(-1) / np.maximum(count, 1), np.nan)


def _expression(landmarks: Points) -> Points:
    """Where brows, eyes and mouth are beside their average places, (N, M, 2), in eye distances.

    As if the head were seen from the front, but that what its turn hides stays hidden.
    """
    face = landmarks[:, :NUM_LANDMARKS].astype(np.float64)
    pose = head_model.fit_pose(face, BONE_PLACES, BONE_WEIGHTS)
    rest = (face - pose.project(BONE_PLACES))[:, EXPRESSIVE]
    return np.asarray(rest @ pose.rotation[:, :2, :2] / pose.scale[:, None, None])


def _gaze(landmarks: Points) -> Points:
    """Places of the pupils as complex numbers (N, 2): along the eye from its middle, and down."""
    if landmarks.shape[1] <= max(PUPILS):
        return np.full((len(landmarks), len(PUPILS)), np.nan + 0j)
    points = landmarks[..., 0] + 1j * landmarks[..., 1]
    places = []
    for pupil, (left, right) in zip(PUPILS, EYE_CORNERS, strict=True):
        along = points[:, right] - points[:, left]
        with np.errstate(divide="ignore", invalid="ignore"):  # an eye without width tells nothing
            places.append((points[:, pupil] - (points[:, left] + points[:, right]) / 2) / along)
    return np.stack(places, axis=-1)
