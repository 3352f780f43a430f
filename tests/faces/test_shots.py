"""Cuts, gaps and faces of drivers that are made up: grey frames, and a detector that reads a mark in them."""

from fractions import Fraction

import numpy as np
import pytest

from faceanim_cli.errors import NoFaceError, UnreadableInputError, UsageError
from faceanim_cli.faces import Box
from faceanim_cli.faces.shots import DriverScan, scan_driver

SIZE = (96, 54)
RNG = np.random.default_rng(0)
ROOMS = {name: np.kron(RNG.integers(40, 216, (6, 8)), np.ones((9, 12))).astype(np.uint8) for name in "ABC"}
FACES = {"a": Box(8, 10, 20, 20), "b": Box(60, 12, 22, 22), "c": Box(34, 10, 20, 20)}
MARKS = {mark: 1 + 2 * i for i, mark in enumerate(FACES)}


class MarkDetector:
    """Finds the faces whose marks are in the first row of pixels."""

    def detect_with_votes(self, image: np.ndarray, *, quick: bool = False) -> list[tuple[Box, int]]:
        if image.shape[0] > image.shape[1]:  # on its side
            return []
        return [(FACES[mark], 100) for mark, x in MARKS.items() if image[0, x] == 255]


def frame(room: str, marks: str = "", light: float = 1.0) -> np.ndarray:
    picture = np.zeros(SIZE[::-1], np.uint8) if room == "-" else (ROOMS[room] * light).astype(np.uint8)
    picture[0, :8] = 0
    for mark in marks:
        picture[0, MARKS[mark]] = 255
    return picture


def scan(*runs: tuple[str, str, int], number: int | None = None) -> DriverScan:
    """Of runs of (room, faces, frames), at 25 frames per second."""
    frames = [frame(room, marks) for room, marks, count in runs for _ in range(count)]
    detector = MarkDetector()
    return scan_driver(frames, SIZE, Fraction(25), detector, per_second=3.0, name="d.mp4", number=number)


def starts(found: DriverScan) -> list[int]:
    return [shot.first for shot in found.shots]


@pytest.mark.parametrize(
    ("runs", "cuts"),
    [
        ([("A", "a", 50)], []),
        ([("A", "a", 25), ("B", "b", 25)], [25]),
        ([("A", "a", 21), ("B", "b", 2), ("A", "a", 20)], []),  # a flash
        ([("A", "a", 21), ("B", "b", 20), ("A", "a", 20), ("B", "b", 9)], [21, 41, 61]),  # two people in turn
        ([("A", "a", 21), ("-", "", 1), ("A", "a", 28)], []),  # one black frame
        ([("A", "a", 25), ("-", "", 25), ("A", "a", 25)], []),  # the same picture goes on
        ([("A", "a", 25), ("-", "", 10), ("B", "b", 25)], [35]),  # another does
        ([("A", "a", 25), ("C", "", 10), ("A", "a", 25)], []),  # a title between
        ([("A", "a", 25), ("C", "", 10), ("B", "b", 25)], [35]),  # a cut while no face
        ([("-", "", 25), ("A", "a", 25)], []),
        ([("C", "", 25), ("A", "a", 25)], []),
        ([("A", "a", 25), ("C", "", 25)], []),
        ([("A", "a", 1)], []),
        ([("A", "a", 1), ("B", "b", 1)], [1]),
    ],
)
def test_shots_begin_where_another_picture_shows_a_face(
    runs: list[tuple[str, str, int]], cuts: list[int]
) -> None:
    found = scan(*runs)
    assert starts(found) == [0, *cuts]
    assert [shot.first for shot in found.shots if shot.cut] == cuts
    for shot, end in zip(found.shots, [*cuts, 10**6], strict=True):
        assert all(shot.first <= index < end for index in shot.track.indices)
        assert len(set(shot.track.boxes)) == 1  # nobody else's box


def test_a_fade_through_black_to_another_picture_is_a_cut() -> None:
    fade = [0.8, 0.6, 0.4, 0.2, 0.05]
    frames = [frame("A", "a")] * 25 + [frame("A", "a" if f > 0.3 else "", f) for f in fade] + [frame("-")] * 4
    frames += [frame("B", "b" if f > 0.3 else "", f) for f in fade[::-1]] + [frame("B", "b")] * 25
    found = scan_driver(frames, SIZE, Fraction(25), MarkDetector(), per_second=3.0, name="d")
    assert len(found.shots) == 2
    assert 29 <= found.shots[1].first <= 35


def test_a_cross_fade_to_a_face_elsewhere_begins_a_shot() -> None:
    a, b = frame("A", "a"), frame("B", "b")
    mixed = [np.rint(a + (b.astype(float) - a) * share).astype(np.uint8) for share in np.linspace(0, 1, 14)]
    found = scan_driver(
        [a] * 25 + mixed + [b] * 25, SIZE, Fraction(25), MarkDetector(), per_second=3, name="d"
    )
    assert len(found.shots) == 2
    assert 24 <= found.shots[1].first <= 40
    assert [set(shot.track.boxes) for shot in found.shots] == [{FACES["a"]}, {FACES["b"]}]


def test_a_face_that_comes_back_elsewhere_is_framed_anew_but_not_called_a_cut() -> None:
    found = scan(("A", "a", 25), ("A", "", 25), ("A", "b", 25))
    assert len(found.shots) == 2
    assert not any(shot.cut for shot in found.shots)
    assert 24 < found.shots[1].first <= 50


def test_fast_motion_is_no_cut() -> None:
    ramps = [np.roll(ROOMS["A"], 12 * i, 1) for i in range(25)]
    for picture in ramps:
        picture[0, :8] = 0
        picture[0, MARKS["a"]] = 255
    found = scan_driver(ramps, SIZE, Fraction(25), MarkDetector(), per_second=3.0, name="d")
    assert starts(found) == [0]


@pytest.mark.parametrize(("number", "mark"), [(None, "b"), (1, "a"), (2, "c"), (3, "b")])
def test_a_face_is_followed_by_its_number_from_the_left(number: int | None, mark: str) -> None:
    (shot,) = scan(("A", "cab", 40), number=number).shots
    assert set(shot.track.boxes) == {FACES[mark]}


def test_a_number_that_is_not_there_is_said_with_how_many_are() -> None:
    with pytest.raises(UsageError, match=r"--driver-face 3: d\.mp4 shows 2 at a time"):
        scan(("A", "ab", 40), number=3)


def test_boxes_are_those_of_the_frames_as_they_are() -> None:
    frames = [frame("A", "a")] * 9
    found = scan_driver(frames, (960, 540), Fraction(25), MarkDetector(), per_second=3.0, name="d")
    assert found.shots[0].track.boxes[0] == Box(80, 100, 200, 200)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_video_on_its_side_is_recognised(turn: int) -> None:
    class Upright(MarkDetector):
        def detect_with_votes(self, image: np.ndarray, *, quick: bool = False) -> list[tuple[Box, int]]:
            right = image[0, 0] == 255 and image.shape == SIZE[::-1]
            return [(FACES["a"], 100 if right else 12)]  # and a cheek, a collar in the others

    upright = ROOMS["A"].copy()
    upright[0, 0], upright[0, -1], upright[-1, 0], upright[-1, -1] = 255, 0, 0, 0
    lying = np.ascontiguousarray(np.rot90(upright, turn))  # counter-clockwise: so often clockwise rights it
    found = scan_driver([lying] * 40, lying.shape[::-1], Fraction(25), Upright(), per_second=3.0, name="d")
    assert found.turn == turn
    size = lying.shape[::-1]
    assert not scan_driver(
        [lying] * 9, size, Fraction(25), Upright(), per_second=3, name="d", turnable=False
    ).turn


def test_no_face_and_no_frames_are_named() -> None:
    with pytest.raises(NoFaceError, match=r"d\.mp4: no face found in 2 sampled frames"):
        scan(("A", "", 12))
    with pytest.raises(UnreadableInputError, match=r"d\.mp4"):
        scan()


def test_stretches_without_a_face_are_told() -> None:
    assert scan(("-", "", 25), ("A", "a", 25), ("C", "", 10), ("B", "b", 9)).faceless == ((0, 24), (50, 59))


class SlowToFind(MarkDetector):
    """Finds face b by a long search only, as a small or tilted one."""

    def __init__(self) -> None:
        self.long_searches = 0

    def detect_with_votes(self, image: np.ndarray, *, quick: bool = False) -> list[tuple[Box, int]]:
        self.long_searches += not quick
        return [
            (box, votes) for box, votes in super().detect_with_votes(image) if not quick or box != FACES["b"]
        ]


def searched(*runs: tuple[str, str, int]) -> tuple[SlowToFind, list[int]]:
    """Of the same runs: the detector, and the numbers of the frames in which it has found the face."""
    frames = [frame(room, marks) for room, marks, count in runs for _ in range(count)]
    detector = SlowToFind()
    found = scan_driver(frames, SIZE, Fraction(25), detector, per_second=3.0, name="d.mp4")
    return detector, [index for shot in found.shots for index in shot.track.indices]


def test_where_there_is_no_face_the_search_is_short() -> None:
    """One frame in eight is searched."""
    detector, at = searched(("A", "a", 8), ("A", "", 800))
    assert at == [0]
    assert detector.long_searches < 1 + 3 + 100 / 6 + 15 + 3  # not 101 for faces, and 15 for other ways round


def test_a_small_face_that_comes_back_is_found_soon_and_then_followed() -> None:
    _, at = searched(("A", "b", 80), ("A", "", 160), ("A", "b", 240))
    assert at[:10] == list(range(0, 80, 8))
    assert 240 <= at[10] <= 240 + 6 * 8
    assert at[10:] == list(range(at[10], 480, 8))


def test_after_a_cut_a_small_face_is_found_at_once() -> None:
    _, at = searched(("A", "a", 80), ("A", "", 160), ("B", "b", 81))
    assert at == [*range(0, 80, 8), *range(240, 321, 8)]


@pytest.mark.parametrize("small", [False, True])
def test_what_lies_on_its_side_with_a_small_face_is_recognised(small: bool) -> None:
    class Lying(SlowToFind):
        def detect_with_votes(self, image: np.ndarray, *, quick: bool = False) -> list[tuple[Box, int]]:
            self.long_searches += not quick
            upright = image.shape == SIZE[::-1] and image[0, 0] == 255
            return [(FACES["a"], 100)] if upright and not (small and quick) else []

    upright = ROOMS["A"].copy()
    upright[0, 0], upright[-1, -1] = 255, 0
    lying = np.ascontiguousarray(np.rot90(upright))
    detector = Lying()
    found = scan_driver([lying] * 400, lying.shape[::-1], Fraction(25), detector, per_second=3.0, name="d")
    assert found.turn == 1
    assert detector.long_searches < 3 + 50 / 6 + 2 + 3 + 5
