"""The faces of a photo, whichever way round it lies."""

import cv2
import numpy as np
import pytest

from faceanim_cli.faces import find_faces


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_photo_on_its_side_is_turned_and_it_is_said(
    astronaut: np.ndarray, turn: int, caplog: pytest.LogCaptureFixture
) -> None:
    _, wanted = find_faces(astronaut, "a.jpg")
    upright, faces = find_faces(np.ascontiguousarray(np.rot90(astronaut, turn)), "a.jpg")
    assert np.array_equal(upright, astronaut)
    assert faces == wanted
    assert (f"a.jpg: {'is upside down' if turn == 2 else 'lies on its side'}" in caplog.text) == bool(turn)


@pytest.mark.parametrize(("side", "told"), [(64, True), (200, False)])
def test_a_face_too_small_to_animate_is_told(
    astronaut: np.ndarray, side: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    small = np.asarray(cv2.resize(astronaut[:320, 60:380], (side, side), interpolation=cv2.INTER_AREA))
    find_faces(small, "a.jpg")
    assert ("a.jpg: the face in it is only" in caplog.text) == told
