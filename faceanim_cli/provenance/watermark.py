"""Embeds an invisible watermark with 16 bits of payload into the luma of every frame.

A spread-spectrum watermark (Cox et al. 1997): a noise pattern of middling frequencies, the same in all
frames, repeated over the frame as tiles. One half of its energy is a known pattern, by which the tiles' place
and size are found again (Kutter 1998); the other half is 63 patterns, each added or subtracted as a bit of
the coded number says. It is weaker where a picture is flat and it would be seen. The patterns are public: it
survives accidents, and nobody who wants to remove or forge it.
"""

import hashlib
from functools import cache, lru_cache

import cv2
import numpy as np

from faceanim_cli.pictures import Floats, Image
from faceanim_cli.provenance.watermark_code import CODE_BITS, encode

VERSION = 1
"""Of the format; another one has other patterns."""
TILE = 128
"""Pixels of a tile's side, as drawn."""
TILES_ALONG, SMALLEST_TILE = 4, 64
"""Tiles along the longer side of a frame, and the least pixels of their sides: small frames hold fewer."""
LONGEST_WAVE, SHORTEST_WAVE = 40.0, 10.0  # pixels of a tile: what video codecs keep, and eyes see least
STRENGTH = 1.1
"""Standard deviation of what is added, in levels of 255, where the factor below is 1."""
WEAKEST, STRONGEST = 0.32, 1.5
"""Factors of the strength in smooth and in busy places; more shows as grain on walls and skin."""
ACTIVITY = 6.0
"""Levels of deviation around, shading aside, that add 1 to the factor."""
AROUND = 5
"""Sides of four pixels that around means: 20 x 20 pixels."""


def tile_side(width: int, height: int) -> float:
    """Pixels of a tile's side in a frame of that size."""
    return max(SMALLEST_TILE, max(width, height) / TILES_ALONG)


@cache
def band() -> Floats:
    """Which of the frequencies of ``numpy.fft.rfft2`` of a tile are used: (128, 65), 0 or 1."""
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None])
    inside = (frequency >= 1 / LONGEST_WAVE) & (frequency <= 1 / SHORTEST_WAVE)
    return np.asarray(inside, np.float32)


@cache
def patterns() -> Floats:
    """The known pattern and those of the 63 bits, (64, 128, 128), each of zero mean and unit variance."""
    shape = (CODE_BITS + 1, *band().shape)
    # numbers that no version of a library draws otherwise
    drawn = hashlib.shake_256(f"faceanim watermark {VERSION}".encode()).digest(4 * int(np.prod(shape)))
    phase = np.frombuffer(drawn, "<u4").reshape(shape) * (2 * np.pi / 2**32)
    noise = np.fft.irfft2(np.exp(1j * phase) * band(), (TILE, TILE))
    return np.asarray(noise / noise.std((1, 2), keepdims=True), np.float32)


class Watermark:
    """Marks frames of any size; below 128 pixels there is too little room to find it again.

    Args:
        mark: a number that is read back with the watermark, 0 to 65535.

    Raises:
        ValueError: another number.
    """

    def __init__(self, mark: int = 0) -> None:
        self.mark = mark
        bits = np.tensordot(encode(mark), patterns()[1:], 1)
        tile = patterns()[0] + bits / bits.std()
        self._tile = np.asarray(tile * (STRENGTH / tile.std()), np.float32)
        self._spread = lru_cache(maxsize=2)(self._spread_over)

    def embed(self, frame: Image) -> Image:
        """A marked copy of a frame, uint8 RGB (H, W, 3); about 46 dB from it."""
        height, width = frame.shape[:2]
        factor = cv2.resize(_factor(frame), (width, height), interpolation=cv2.INTER_LINEAR)
        brighter, darker = self._spread(width, height)
        # sums of bytes, which take a tenth of the time of sums with float32
        more, less = (
            cv2.cvtColor(cv2.multiply(factor, part, dtype=cv2.CV_8U), cv2.COLOR_GRAY2RGB)
            for part in (brighter, darker)
        )
        return np.asarray(cv2.subtract(cv2.add(frame, more), less))

    def _spread_over(self, width: int, height: int) -> tuple[Floats, Floats]:
        """The tiles over a frame of that size, what they add and what they take, each (height, width)."""
        scale = TILE / tile_side(width, height)
        x = ((np.arange(width) + 0.5) * scale - 0.5) % TILE
        y = ((np.arange(height) + 0.5) * scale - 0.5) % TILE
        columns, rows = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        spread = cv2.remap(self._tile, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
        return np.maximum(spread, 0), np.maximum(-spread, 0)


def _factor(frame: Image) -> Floats:
    """How strong the watermark may be, a quarter as high and wide as the frame."""
    height, width = frame.shape[:2]
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    size = (max(1, width // 4), max(1, height // 4))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    around = (AROUND, AROUND)
    rest = small - cv2.blur(small, around, borderType=cv2.BORDER_REPLICATE)  # shading is no activity
    deviation = np.sqrt(cv2.blur(rest * rest, around, borderType=cv2.BORDER_REPLICATE))
    return np.clip(WEAKEST + deviation / ACTIVITY, WEAKEST, STRONGEST)
