"""Finds the watermark in frames that may have been scaled, cropped, mirrored, and encoded anew."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import ceil, log

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

Spectrum = npt.NDArray[np.complex64]


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
    sampled = _Harmonics(mean)
    sizes = longest * np.geomspace(
        SMALLEST_TILE, LARGEST_TILE, 1 + ceil(log(LARGEST_TILE / SMALLEST_TILE) / log(STEP))
    )
    candidates: list[tuple[float, Spectrum]] = []
    for side in sizes:
        spectrum = sampled.of_tile(side)
        # what a mirror shows: x turns round; and a picture's spectrum at -f is the conjugate of that at f
        for seen in (spectrum, np.conj(np.roll(spectrum[::-1], 1, axis=0))):
            candidates.append((_peak(seen)[0], seen))
        candidates = sorted(candidates, key=lambda candidate: -candidate[0])[:FINALISTS]
    return max((_decoded(seen) for _, seen in candidates), key=lambda detection: detection.score)


@cache
def _references() -> Spectrum:
    """Conjugate spectra of the patterns: (64, 128, 65)."""
    return np.asarray(np.conj(np.fft.rfft2(patterns())), np.complex64)


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


class _Harmonics:
    """A picture's spectrum, from which that of a tile of any size is read, folded over the whole picture."""

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

    def of_tile(self, side: float) -> Spectrum:
        """Whitened, as ``numpy.fft.rfft2`` of a tile: (128, 65), zero outside ``band``."""
        cycles = np.arange(-CYCLES, CYCLES + 1)
        place = (cycles * (self._size / side) + self._zero).astype(np.float32)
        x, y = np.meshgrid(place[CYCLES:], place)
        real, imaginary = (cv2.remap(part, x, y, cv2.INTER_CUBIC) for part in self._parts)
        spectrum = np.zeros(band().shape, np.complex64)
        spectrum[cycles, : CYCLES + 1] = real + 1j * imaginary
        spectrum *= band()
        size = np.abs(spectrum)
        return np.asarray(spectrum / (size + 1e-6 * size.max() + 1e-12) ** 0.7, np.complex64)


def _peak(spectrum: Spectrum) -> tuple[float, int, float]:
    """Where the known pattern correlates best: in standard deviations, the place, and the deviation."""
    correlation = np.fft.irfft2(spectrum * _references()[0], (TILE, TILE))
    deviation = float(correlation.std()) or 1.0
    place = int(correlation.argmax())
    return float(correlation.flat[place]) / deviation, place, deviation


def _decoded(spectrum: Spectrum) -> Detection:
    z, place, deviation = _peak(spectrum)
    row, column = divmod(place, TILE)
    values = np.fft.irfft2(spectrum * _references()[1:], (TILE, TILE))[:, row, column] / deviation
    mark, fit, error_rate = decode(values.astype(np.float32))
    return Detection(z, fit, mark, error_rate)
