"""Frames with a face, from how sharp heatmaps are."""

import math

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.face_presence import FacePresence, FacePresenceSoFar
from faceanim_cli.animation.networks import Detected
from faceanim_models import Keypoints


@pytest.mark.parametrize(
    ("shares", "shown"),
    [
        ([1, 1, 1], "yyy"),
        ([1, 0.3, 1], "yny"),
        ([0.3, 0.3, 1], "nny"),
        ([1, 0.7, 0.3, 0.3, 0.7, 1], "ynnnny"),  # on its way out and in
        ([1, 0.7, 0.7, 1], "yyyy"),  # a head that turns far
        ([1, 0.7, 0.7], "yyy"),
        ([1, *[0.7] * 8, 0.3], "yyyynnnnnn"),  # nobody takes longer to leave than five frames
        ([0.3, *[0.7] * 8], "nyyyyyyyy"),
        ([], ""),
    ],
)
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_what_is_doubtful_belongs_to_the_gap_beside_it(shares: list[float], shown: str, batch: int) -> None:
    presence = FacePresence(fps=10)  # five frames of patience
    for first in range(0, len(shares), batch):
        presence.see(shares[first : first + batch])
    presence.finish()
    assert "".join("y" if shows else "n" for shows in presence.decided) == shown


@pytest.mark.parametrize(
    ("batches", "shown"),
    [
        ([[10], [10], [5], [6], [10]], "yynyy"),
        ([[5, 10, 10, 10], [5, 10]], "nyyyny"),  # the first batch tells what is usual
        ([[10] * 4, [math.nan, 10], [math.inf, 10]], "yyyynyny"),  # of float16, say
        ([[math.nan], [10], [5]], "nyn"),
        ([[10], *([8.9 + i / 10] for i in range(60)), [7]], "y" + "y" * 60 + "n"),  # light comes up
        ([None, None], "yyyy"),  # other networks do not tell
    ],
)
def test_of_a_stream_what_came_before_tells(batches: list[list[float] | None], shown: str) -> None:
    presence, said = FacePresenceSoFar(), []
    for sharpness in batches:
        points = torch.zeros(2, 1, 2) if sharpness is None else torch.tensor(sharpness)[:, None, None]
        told = None if sharpness is None else torch.tensor(sharpness)
        said += presence.shows(Detected(Keypoints(points), told))
    assert "".join("y" if shows else "n" for shows in said) == shown


def test_a_title_card_is_no_face_however_sharp_its_letters_are() -> None:
    photo = astronaut()
    card = np.full_like(photo, (30, 110, 200))
    cv2.putText(card, "C", (150, 330), cv2.FONT_HERSHEY_SIMPLEX, 12, (250, 170, 20), 40)
    cv2.putText(card, "a", (420, 330), cv2.FONT_HERSHEY_SIMPLEX, 2, (250, 170, 20), 12)
    animator = Animator(size=256, sr=False, mark=None, device="cpu")
    animator.set_photo(photo)
    place = animator.photo_crop
    (found,) = animator.detections([photo, card], place)
    assert found.sharpness[1] < 0.4 * found.sharpness[0]
    before, after = animator.animate([photo, card], place)
    assert (before == after).all()
