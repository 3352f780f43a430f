"""The watermark's error-correcting code, BCH(63,16), with a minimum distance of 23."""

from functools import cache

import numpy as np

from faceanim_cli.pictures import Floats

MARK_BITS, CODE_BITS = 16, 63
LARGEST_MARK = (1 << MARK_BITS) - 1
# The primitive narrow-sense binary BCH code (63, 16), which corrects 11 errors: its generator polynomial,
# of degree 47, as in Lin and Costello, "Error Control Coding", table of primitive BCH codes.
GENERATOR = 0o6331141367235453


@cache
def codebook() -> Floats:
    """All words, (65536, 63), of -1 and 1; the row is the number that the word stands for."""
    words = np.zeros((1, CODE_BITS), bool)
    for bit in range(MARK_BITS):  # a shift of the generator for each bit that is set
        row = np.array([GENERATOR << bit >> place & 1 for place in range(CODE_BITS)], bool)
        words = np.concatenate((words, words ^ row))
    return np.where(words, 1, -1).astype(np.float32)


def encode(mark: int) -> Floats:
    """The word of a number from 0 to 65535: (63,), of -1 and 1.

    Raises:
        ValueError: another number.
    """
    if not 0 <= mark <= LARGEST_MARK:
        raise ValueError(f"a mark is 0 to {LARGEST_MARK}, not {mark}")
    return np.asarray(codebook()[mark])


def decode(values: Floats) -> tuple[int, float, float]:
    """The number whose word is closest to what was received, of all 65536.

    Args:
        values: (63,), each about -1 or 1 times a common factor, with noise of unit variance.

    Returns:
        The number; how well its word fits, in standard deviations of the noise, of which chance alone reaches
        4 to 5; and the share of bits received wrong.
    """
    fits = codebook() @ values
    mark = int(fits.argmax())
    wrong = float(np.mean(np.sign(values) != codebook()[mark]))
    return mark, float(fits[mark]) / CODE_BITS**0.5, wrong
