"""Estimates how long a benchmark will take."""

from faceanim_cli.benchmark.cases import CaseOptions
from faceanim_cli.benchmark.files import FPS
from faceanim_cli.benchmark.peak import convolution_peak
from faceanim_cli.device import choose_device, choose_precision

# Of the shipped networks; other weights are of the same order.
GMAC = {
    False: 4.7,
    True: 9.0,
}  # billions of multiply-accumulates for a frame, without and with super-resolution
PEAK_SHARE = 0.65  # of one large convolution's rate that they reach on a CPU
FILE_SECONDS = 0.02  # a frame's decoding, detection, pasting and encoding
START_SECONDS = 5.0  # of ``faceanim animate`` before its first frame
WARM_UPS = 2  # of each case, a batch each


def estimate_seconds(options: CaseOptions, seconds: float) -> float:
    """About how long :func:`run_benchmark` will take; half or twice as long is no surprise.

    Args:
        options: the cases.
        seconds: length of the clip that is animated from file to file.

    Raises:
        UsageError: a device or precision that cannot be.
    """
    device = choose_device(options.device)
    dtypes = {name: choose_precision(name, device) for name in (*options.precisions, "auto")}
    peaks = {dtype: convolution_peak(dtype, device) for dtype in dict.fromkeys(dtypes.values())}
    measured = dict.fromkeys(dtypes[name] for name in options.precisions)  # one that is named twice is one
    total = 0.0
    for sr, _ in options.results:
        frame = {dtype: 2 * GMAC[sr] / (PEAK_SHARE * peak) for dtype, peak in peaks.items()}
        for batch in options.batches:
            frames = options.rounds * -(-options.frames // batch) * batch + WARM_UPS * batch
            total += frames * sum(frame[dtype] for dtype in measured)
        if seconds > 0:
            total += START_SECONDS + seconds * float(FPS) * (frame[dtypes["auto"]] + FILE_SECONDS)
    files = len({size for _, size in options.results}) * options.rounds * float(FPS) * FILE_SECONDS
    return len(options.weights) * total + files


def in_words(seconds: float) -> str:
    """Such as ``40 seconds`` or ``3 minutes``."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    return f"{seconds / 60:.0f} minutes"
