"""Finds the watermark in frames that may have been scaled, cropped, mirrored, and encoded anew."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import ceil, log
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from faceanim_cli.pictures import Floats, Image
from faceanim_cli.provenance.watermark import SHORTEST_WAVE, TILE, band, patterns
from faceanim_cli.provenance.watermark_code import decode

THRESHOLD = 8.5
"""Of ``Detection.score``; see README.md for how often pictures without a watermark come near."""
LONGEST_SIDE = 1280
"""Pixels of the frames that are searched; larger ones are made smaller first."""
SMALLEST_TILE, LARGEST_TILE = 1 / 16, 0.8
"""Sides of the tiles that are searched for, in longer sides of the frame: a frame as it was written has 1/4,
one on a screen or between black bars less, a part of one more."""
STEP = 1.006
"""Between sizes that are tried; half of it shifts no wave by more than a tenth of it, at the edges."""
FINALISTS = 6
"""Of all sizes: those at which the known pattern shows best are asked for the number."""
CYCLES = ceil(TILE / SHORTEST_WAVE)
"""Of the shortest wave, along a tile."""
CYCLE_NUMBERS = np.arange(-CYCLES, CYCLES + 1)

Harmonics: TypeAlias = npt.NDArray[np.complex64]
"""What a tile has of the frequencies in use: (27, 14), y of -13 to 13 and x of 0 to 13 cycles a tile."""


@dataclass(frozen=True)
class Detection:
    """The most probable watermark of some frames."""

    z: float
    """How far the known pattern stands out from chance, in standard deviations of the correlation with it at
    all places of a tile. The best of all sizes: 4.5 to 5.5 where there is no watermark."""
    fit: float
    """How far the number's pattern does, in the same unit; the best of 65536: about 4 by chance."""
    mark: int
    """The number."""
    error_rate: float
    """Share of the 63 coded bits that were received wrong; chance alone gives about 0.25."""

    @property
    def score(self) -> float:
        """Both halves of the watermark together."""
        return float((self.z + self.fit) / 2**0.5)

    @property
    def found(self) -> bool:
        """Whether there is a watermark."""
        return self.score >= THRESHOLD


def detect(frames: Iterable[Image]) -> Detection:
    """Search for the watermark in grey frames of one size: uint8 (H, W), of one video or picture.

    Raises:
        ValueError: there is no frame.
    """
    mean = _residual(frames)
    longest = max(mean.shape)
    spectrum = _Spectrum(mean)
    sizes = longest * np.geomspace(
        SMALLEST_TILE, LARGEST_TILE, 1 + ceil(log(LARGEST_TILE / SMALLEST_TILE) / log(STEP))
    )
    candidates: list[tuple[float, Harmonics]] = []
    for side in sizes:
        harmonics = spectrum.of_tile(side)
        # a mirror turns x round, and a picture's spectrum at -f is the conjugate of that at f
        for seen in (harmonics, np.conj(harmonics[::-1])):
            candidates.append((_peak(seen, TILE // 2)[0], seen))
        candidates = sorted(candidates, key=lambda candidate: -candidate[0])[:FINALISTS]
    return max((_decoded(seen) for _, seen in candidates), key=lambda detection: detection.score)


@cache
def _references() -> Harmonics:
    """Of the patterns, conjugate: (64, 27, 14)."""
    return np.asarray(np.conj(np.fft.rfft2(patterns()))[:, CYCLE_NUMBERS, : CYCLES + 1], np.complex64)


def _residual(frames: Iterable[Image]) -> Floats:
    """What frames have of middling frequencies, (H, W): their mean, each weighed down where it is busy."""
    total, count = np.zeros((0, 0), np.float32), 0
    for frame in frames:
        grey = frame.astype(np.float32)
        rest = grey - cv2.GaussianBlur(grey, (0, 0), max(2.0, 3 * max(grey.shape) / 512))
        deviation = np.sqrt(np.maximum(cv2.blur(rest * rest, (9, 9)), 0))
        rest /= (deviation + 1) ** 1.5  # found on clips: 1 leaves edges too loud, 2 drowns the rest
        total, count = (total + rest if count else rest), count + 1
    if not count:
        raise ValueError("no frame to search")
    return total / np.float32(count)


class _Spectrum:
    """Of a picture; it holds that of a tile of any size, as if the picture were cut into tiles and summed."""

    def __init__(self, picture: Floats) -> None:
        height, width = picture.shape
        longest = max(picture.shape)
        self._size = cv2.getOptimalDFTSize(2 * longest)  # twice: the spectrum is smooth enough to interpolate
        padded = np.zeros((self._size, self._size), np.float32)
        padded[:height, :width] = picture
        # around the picture's centre, where phases turn least from one frequency to the next
        padded = np.roll(padded, (-(height // 2), -(width // 2)), (0, 1))
        spectrum = cv2.dft(padded, flags=cv2.DFT_COMPLEX_OUTPUT)
        highest = min(self._size // 2 - 1, ceil(CYCLES * self._size / (longest * SMALLEST_TILE)) + 3)
        kept = np.arange(-highest, highest + 1) % self._size
        self._parts = [np.ascontiguousarray(spectrum[..., part][np.ix_(kept, kept)]) for part in (0, 1)]
        self._zero = highest

    def of_tile(self, side: float) -> Harmonics:
        """Whitened, as the picture's own frequencies differ in strength; ``side`` in pixels."""
        place = (CYCLE_NUMBERS * (self._size / side) + self._zero).astype(np.float32)
        x, y = np.meshgrid(place[CYCLES:], place)
        real, imaginary = (cv2.remap(part, x, y, cv2.INTER_CUBIC) for part in self._parts)
        harmonics = (real + 1j * imaginary) * band()[CYCLE_NUMBERS, : CYCLES + 1]
        size = np.abs(harmonics)
        return np.asarray(harmonics / (size + 1e-6 * size.max() + 1e-12) ** 0.7, np.complex64)


def _peak(harmonics: Harmonics, side: int) -> tuple[float, int, int, float]:
    """Where the known pattern correlates best, of ``side`` by ``side`` places in a tile.

    Returns:
        The peak in standard deviations of the correlation, its row and column, and that deviation.
    """
    product = np.zeros((side, side // 2 + 1), np.complex64)
    product[CYCLE_NUMBERS, : CYCLES + 1] = harmonics * _references()[0]
    correlation = np.fft.irfft2(product, (side, side)) * (side / TILE) ** 2
    deviation = float(correlation.std()) or 1.0
    row, column = divmod(int(correlation.argmax()), side)
    return float(correlation[row, column]) / deviation, row, column, deviation


def _decoded(harmonics: Harmonics) -> Detection:
    z, row, column, deviation = _peak(harmonics, TILE)
    turned = np.exp(2j * np.pi / TILE * (CYCLE_NUMBERS[:, None] * row + CYCLE_NUMBERS[CYCLES:] * column))
    # the inverse transform at that place alone; x of less than 0 is the conjugate of what is there
    twice = np.where(CYCLE_NUMBERS[CYCLES:] > 0, 2, 1)
    values = (_references()[1:] * harmonics * turned * twice).real.sum((1, 2)) / TILE**2 / deviation
    mark, fit, error_rate = decode(values.astype(np.float32))
    return Detection(z, fit, mark, error_rate)
