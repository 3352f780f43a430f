"""Detects the watermark in frames that may be scaled, cropped, mirrored and compressed."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import ceil, log
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from faceanim_cli.pictures import Floats, Image
from faceanim_cli.provenance.watermark import SHORTEST_WAVE, TILE, band, patterns, tile_side
from faceanim_cli.provenance.watermark_code import decode

THRESHOLD = 8.5
"""Of ``Detection.score``; see README.md for how often pictures without a watermark come near."""
READABLE = 5.2
"""Of ``Detection.fit``, from which the number is told: by chance one of 65536 comes there in 150 files."""
KNOWN_PLACE = 1.7
"""What a score gains where tiles are looked for at one place and size only. By chance the sum of two normal
variables, over the root of 2, exceeds 7.0 once in 10 million for the best of 65536 numbers, and 8.7 for the
best of these at some 1.2 million independent places and sizes."""
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
"""What tiles have of the frequencies in use: (..., 27, 14), y of -13 to 13 and x of 0 to 13 cycles a tile."""


@dataclass(frozen=True)
class Detection:
    """The most probable watermark of some frames."""

    z: float
    """How far the known pattern stands out from chance, in standard deviations of its correlation. The best
    of all sizes and places: 4.5 to 5.5 where there is no watermark."""
    fit: float
    """How far the number's pattern does, in the same unit; the best of 65536: about 4 by chance."""
    mark: int
    """The most probable number."""
    error_rate: float
    """Share of the 63 coded bits that were received wrong; chance alone gives about 0.25."""
    aligned: bool
    """Whether the tiles lie as in a whole frame: one that was at most scaled as a whole."""

    @property
    def score(self) -> float:
        """Both halves of the watermark together, as improbable by chance as such a score of all places."""
        return float((self.z + self.fit) / 2**0.5) + (KNOWN_PLACE if self.aligned else 0.0)

    @property
    def number(self) -> int | None:
        """The number, where there is a watermark and it can be read."""
        return self.mark if self.found and self.fit >= READABLE else None

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
    height, width = mean.shape
    spectrum = _Spectrum(mean)
    longest = max(mean.shape)
    count = 1 + ceil(log(LARGEST_TILE / SMALLEST_TILE) / log(STEP))
    seen = spectrum.of_tiles(longest * np.geomspace(SMALLEST_TILE, LARGEST_TILE, count))
    # a mirror turns x round, and a picture's spectrum at -f is the conjugate of that at f
    seen = np.concatenate((seen, np.conj(seen[:, ::-1])))
    correlations = _correlations(seen, TILE // 2)
    z = correlations.max((1, 2)) / np.maximum(correlations.std((1, 2)), 1e-12)
    found = []
    for number in np.argsort(-z)[:FINALISTS]:
        (correlation,) = _correlations(seen[number, None], TILE)
        row, column = divmod(int(correlation.argmax()), TILE)
        found.append(_decoded(seen[number], row, column, float(correlation.std()), False))
    # A frame that is whole, of whatever size: then it is known where its tiles lie, from its centre.
    side = tile_side(width, height)
    (whole,) = spectrum.of_tiles(np.array([side]))
    row, column = (0.5 - (0.5 + length // 2) * TILE / side for length in (height, width))
    found.append(_decoded(whole, row, column, float(_correlations(whole[None], TILE).std()), True))
    return max(found, key=lambda detection: detection.score)


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

    def of_tiles(self, sides: Floats) -> Harmonics:
        """Whitened, as the picture's own frequencies differ in strength; ``sides`` in pixels: (N, 27, 14)."""
        place = (CYCLE_NUMBERS * (self._size / sides[:, None]) + self._zero).astype(np.float32)
        y, x = np.broadcast_arrays(place[:, :, None], place[:, None, CYCLES:])
        columns, rows = x.reshape(-1, CYCLES + 1), y.reshape(-1, CYCLES + 1)
        real, imaginary = (cv2.remap(part, columns, rows, cv2.INTER_CUBIC) for part in self._parts)
        harmonics = (real + 1j * imaginary).reshape(x.shape) * band()[CYCLE_NUMBERS, : CYCLES + 1]
        size = np.abs(harmonics)
        size += 1e-6 * size.max((1, 2), keepdims=True) + 1e-12
        return np.asarray(harmonics / size**0.7, np.complex64)


def _correlations(harmonics: Harmonics, side: int) -> Floats:
    """With the known pattern at ``side`` by ``side`` places of a tile: (N, side, side)."""
    products = np.zeros((len(harmonics), side, side // 2 + 1), np.complex64)
    products[:, CYCLE_NUMBERS, : CYCLES + 1] = harmonics * _references()[0]
    return np.asarray(np.fft.irfft2(products, (side, side)) * (side / TILE) ** 2, np.float32)


def _decoded(harmonics: Harmonics, row: float, column: float, deviation: float, aligned: bool) -> Detection:
    """What is read of a tile that begins at ``row`` and ``column``; ``deviation`` of its correlations."""
    turned = np.exp(2j * np.pi / TILE * (CYCLE_NUMBERS[:, None] * row + CYCLE_NUMBERS[CYCLES:] * column))
    # the inverse transform at that place alone; x of less than 0 is the conjugate of what is there
    twice = np.where(CYCLE_NUMBERS[CYCLES:] > 0, 2, 1)
    values = (_references() * harmonics * turned * twice).real.sum((1, 2)) / TILE**2 / max(deviation, 1e-12)
    mark, fit, error_rate = decode(values[1:].astype(np.float32))
    return Detection(float(values[0]), fit, mark, error_rate, aligned)
