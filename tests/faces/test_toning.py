"""A photo of one tone keeps it, one with colours is left alone."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from faceanim_cli.faces.toning import tone_curve, toned

TONES = {"grey": (1.0, 1.0, 1.0), "sepia": (1.0, 0.85, 0.65), "blueprint": (0.6, 0.7, 1.0)}


def one_tone(photo: np.ndarray, tone: tuple[float, float, float]) -> np.ndarray:
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None]
    return np.rint(grey * np.array(tone)).astype(np.uint8)


@pytest.mark.parametrize("tone", TONES.values(), ids=list(TONES))
@pytest.mark.parametrize("quality", [None, 75])
def test_invented_colours_become_those_of_the_photo(
    astronaut: np.ndarray, tone: tuple[float, float, float], quality: int | None
) -> None:
    photo = one_tone(astronaut, tone)
    if quality is not None:
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "JPEG", quality=quality)
        photo = np.array(Image.open(file))
    curve = tone_curve(photo)
    assert curve is not None
    tinted = photo.copy()
    tinted[200:240, 200:240] = np.clip(tinted[200:240, 200:240] + np.array([16, 0, -16]), 0, 255)
    result = toned(tinted, curve).astype(float)
    brightness = result @ (0.299, 0.587, 0.114) / np.dot(tone, (0.299, 0.587, 0.114))
    assert np.abs(result - brightness[..., None] * tone).max() <= (1.5 if quality is None else 8)
    assert np.abs(toned(photo, curve).astype(int) - photo).mean() < (0.6 if quality is None else 2)


def test_colours_are_kept(astronaut: np.ndarray) -> None:
    assert tone_curve(astronaut) is None
    assert tone_curve((0.85 * one_tone(astronaut, (1, 1, 1)) + 0.15 * astronaut).astype(np.uint8)) is None
