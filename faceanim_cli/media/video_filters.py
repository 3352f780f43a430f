"""ffmpeg filters for decoding: constant rate, excerpt, crop, rotation, SDR colours."""

from fractions import Fraction

from faceanim_cli.media.frame_source import Crop
from faceanim_cli.media.probe import Colours

# Without these swscale drops chroma precision for speed; flat colours would come back 2 or 3 levels off.
SCALE_FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"

# Sides, pixels, from which players take a picture whose file tells no matrix for BT.709 rather than BT.601.
HD_LONG, HD_SHORT = 1280, 720
HDR_TRANSFERS = ("smpte2084", "arib-std-b67")  # PQ and HLG
WIDE_PRIMARIES = ("bt2020", "smpte431", "smpte432")
# What swscale, and what zscale beyond it, takes; names as in ffmpeg's banner. Files are tagged with anything.
SWSCALE_MATRICES = ("unknown", "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc", "gbr")
ZSCALE_MATRICES = ("bt709", "fcc", "bt470bg", "smpte170m", "bt2020nc", "bt2020c", "ycgco", "gbr")
ZSCALE_PRIMARIES = ("bt709", "bt470bg", "smpte170m", "smpte240m", *WIDE_PRIMARIES)
ZSCALE_TRANSFERS = ("bt709", "smpte170m", "iec61966-2-1", "bt2020-10", "bt2020-12", *HDR_TRANSFERS)

# HDR white, 203 cd/m2 (ITU-R BT.2408), becomes SDR white; what is brighter, up to 1000 cd/m2, is compressed
# into the last 30 per cent, and all below stays as it is. Other curves darken faces.
_TONE_MAP = "tonemap=mobius:param=0.7:desat=0:peak=4.93"
_MARGIN = 16  # pixels around a crop that chroma is interpolated from; crops begin at multiples of half of it


def colour_filters(colours: Colours, size: tuple[int, int]) -> tuple[list[str], list[str]]:
    """Filters at the very beginning, which cost nothing, and those after cropping, which do.

    Args:
        colours: of the decoded frames.
        size: (width, height) of the frames.
    """
    begin = ["bwdif=mode=send_frame:deint=interlaced"] if colours.interlaced else []
    is_yuv = colours.pixels.startswith(("yuv", "nv", "p0", "p2", "uyvy", "yuyv"))
    if is_yuv and colours.matrix == "unknown" and (max(size) >= HD_LONG or min(size) >= HD_SHORT):
        begin.append("setparams=colorspace=bt709")  # else swscale takes BT.601
    is_hdr = colours.transfer in HDR_TRANSFERS
    if not is_hdr and colours.primaries not in WIDE_PRIMARIES and colours.matrix in SWSCALE_MATRICES:
        return begin, []
    is_wide = is_hdr or colours.primaries in WIDE_PRIMARIES or colours.matrix.startswith("bt2020")
    matrices = (*ZSCALE_MATRICES, "ictcp") if is_hdr else ZSCALE_MATRICES
    matrix = colours.matrix if colours.matrix in matrices else "bt2020nc" if is_wide else "bt709"
    usual = "bt2020" if is_wide else "bt709"
    primaries = colours.primaries if colours.primaries in ZSCALE_PRIMARIES else usual
    transfer = colours.transfer if colours.transfer in ZSCALE_TRANSFERS else "bt709"
    if matrix != "gbr":
        begin.append("setparams=colorspace=bt709")  # a name that swscale knows; it only resamples chroma
    return begin, [
        f"format={'gbrp16le' if matrix == 'gbr' else 'yuv444p16le'}",  # zscale wants even sizes else
        f"zscale=min={matrix}:pin={primaries}:tin={transfer}:m=gbr:p=bt709:t=linear:npl=203",
        "format=gbrpf32le",
        *([_TONE_MAP] if is_hdr else []),
        "zscale=t=bt709:r=pc",
        "format=gbrp",
    ]


def crop_filters(crop: Crop | None, size: tuple[int, int]) -> tuple[list[str], list[str]]:
    """Filters before the conversion to RGB, which cut out a little more, and after it, which cut exactly.

    Cut before, pixels need not be converted; but chroma that is stored at half the size wants neighbours.

    Args:
        crop: x, y, width, height in pixels; None is all.
        size: (width, height) of the frames.
    """
    if crop is None:
        return [], []
    x, y, width, height = crop
    left, top = (max(0, (edge - _MARGIN) // 8 * 8) for edge in (x, y))
    right, bottom = (
        min((end + _MARGIN + 1) // 2 * 2, most)
        for end, most in zip((x + width, y + height), size, strict=True)
    )
    # Whole chroma pixels, else swscale stretches them; in a frame of odd size the last is half a one, which
    # ffmpeg would leave away if it were not told to be exact.
    rough = f"crop={right - left}:{bottom - top}:{left}:{top}:exact=1"
    return [rough], [f"crop={width}:{height}:{x - left}:{y - top}"]


def turn_filters(turn: int) -> list[str]:
    """Quarter turns clockwise, 0 to 3."""
    return ([], ["transpose=clock"], ["hflip", "vflip"], ["transpose=cclock"])[turn]


def unturned(crop: Crop | None, size: tuple[int, int], turn: int) -> Crop | None:
    """A crop of turned frames as one of the frames before they were turned.

    Args:
        crop: x, y, width, height in pixels of the turned frames.
        size: (width, height) before turning.
        turn: quarter turns clockwise.
    """
    if crop is None:
        return None
    x, y, width, height = crop
    full_width, full_height = size
    return (
        (x, y, width, height),
        (y, full_height - x - width, height, width),
        (full_width - x - width, full_height - y - height, width, height),
        (full_width - y - height, x, height, width),
    )[turn]


def rate_filters(fps: Fraction, from_zero: bool, step: int, first: int, limit: int | None) -> list[str]:
    """A steady rate, an excerpt of it, and every ``step``-th frame of that.

    Args:
        fps: frames per second.
        from_zero: the first frame is held from time 0 on, if it starts later; else its own time is 0.
        step: distance of the frames that are kept.
        first, limit: frames to leave out and to keep; None keeps all.
    """
    end = "" if limit is None else f":end_frame={first + limit}"
    # Without new times ffmpeg would repeat the first frame for as long as was left out.
    trim = [f"trim=start_frame={first}{end}", "setpts=PTS-STARTPTS"] if first or end else []
    return [
        f"fps={fps}{':start_time=0' if from_zero else ''}",
        *trim,
        *([f"framestep={step}"] if step > 1 else []),
    ]
