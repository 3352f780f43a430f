"""Parsers and shell completions of option values. Nothing heavy is imported."""

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Literal

import typer

LIBRARY_MOTIONS = ("nod", "shake", "smile-and-blink")
METRICS = (
    *("psnr", "ssim", "ms-ssim", "l1", "lpips", "fid"),
    *("akd", "flicker", "csim", "pose", "expression", "slopes"),
)


def parse_device(text: str) -> str:
    """``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:1``; whether it is on this machine is seen later.

    Raises:
        typer.BadParameter: something else.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", text.lower()):
        raise typer.BadParameter(f"{text!r} is not one of auto, cpu, cuda, cuda:1, mps")
    return text.lower()


WIDEST = 4096  # channels
LARGEST_BOX = 100_000  # pixels a side; no picture that can be read is larger


def parse_crop(text: str | None) -> Literal["auto"] | tuple[float, float, float, float] | None:
    """``x,y,w,h`` in pixels; ``none`` is no crop: the whole frame. None, when nothing was said, is auto.

    Raises:
        typer.BadParameter: not four numbers, or w or h not above 0.
    """
    if text is None:
        return "auto"
    if text.lower() == "none":
        return None
    try:
        x, y, w, h = (float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not x,y,w,h in pixels, such as 120,80,400,400") from error
    if not (w > 0 and h > 0):
        raise typer.BadParameter(f"{text!r}: w and h must be above 0")
    if not max(abs(x), abs(y), w, h) <= LARGEST_BOX:  # nor nan, nor inf
        raise typer.BadParameter(f"{text!r}: no picture is so large; x,y,w,h are in pixels")
    return x, y, w, h


def parse_widths(text: str | None) -> tuple[int, ...] | None:
    """``32,64,128,192``: channels at a half, a quarter, an eighth and a sixteenth. None stays None.

    Raises:
        typer.BadParameter: not four numbers from 1 to 4096.
    """
    if text is None:
        return None
    widths = tuple(int(n) for n in text.split(",")) if re.fullmatch(r"\d{1,4}(,\d{1,4}){3}", text) else ()
    if not widths or not all(0 < width <= WIDEST for width in widths):
        raise typer.BadParameter(f"{text!r}: give four numbers of channels, such as 32,64,128,192")
    return widths


# What people call television's rates, and what they are.
TELEVISION = {
    text: Fraction(n * 1000, 1001)
    for n, texts in {
        24: ("23.976", "23.98"),
        30: ("29.97",),
        48: ("47.952", "47.95"),
        60: ("59.94",),
        120: ("119.88",),
    }.items()
    for text in texts
}


def parse_fps(text: str | None) -> Fraction | None:
    """Frames per second: ``25``, ``12.5``, ``30000/1001``; ``29.97`` means 30000/1001. None stays None.

    Raises:
        typer.BadParameter: no number, or not from 1 to 240.
    """
    if text is None:
        return None
    if text in TELEVISION:
        return TELEVISION[text]
    valid = re.fullmatch(r"\d{1,7}(\.\d{1,6}|/\d{1,7})?", text)
    fps = Fraction(text) if valid and not re.search(r"/0+$", text) else Fraction(0)
    if not 1 <= fps <= 240:
        raise typer.BadParameter(f"{text!r} is no frame rate from 1 to 240, such as 25 or 30000/1001")
    return fps


def parse_metrics(text: str) -> str:
    """Names of metrics, with commas.

    Raises:
        typer.BadParameter: one of them is unknown.
    """
    names = [name.strip().lower() for name in text.split(",")]
    unknown = [name for name in names if name and name not in METRICS]
    if unknown:
        raise typer.BadParameter(f"unknown metric {', '.join(unknown)}; known are {', '.join(METRICS)}")
    return text


def parse_time(text: str) -> float:
    """Seconds: ``3``, ``3.5``, ``1:20`` or ``1:02:03.5``.

    Raises:
        typer.BadParameter: no such time.
    """
    match = re.fullmatch(r"(?:(?:(\d{1,3}):)?(\d{1,4}):)?(\d{1,6}(?:\.\d{1,6})?)s?", text.strip())
    hours, minutes, seconds = match.groups(default="0") if match else ("0", "0", "")
    if not match or (":" in text and float(seconds) >= 60):
        raise typer.BadParameter(f"{text!r} is no time such as 3.5 (seconds) or 1:20")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def check_times(start: float | None, end: float | None, duration: float | None) -> None:
    """Refuse an excerpt that cannot be; all in seconds.

    Raises:
        typer.BadParameter: an end and a duration, or nothing between them.
    """
    if end is not None and duration is not None:
        raise typer.BadParameter("--end and --duration say the same: give one of them")
    if duration == 0 or (end is not None and end <= (start or 0.0)):
        raise typer.BadParameter("nothing is left: --end must be after --start, --duration above 0")


def parse_shift(text: str | None) -> tuple[float, float]:
    """``x,y`` in sides of a frame; None is no shift.

    Raises:
        typer.BadParameter: not two numbers from -1 to 1.
    """
    try:
        x, y = (float(part) for part in (text or "0,0").split(","))
    except ValueError:
        x = y = math.nan
    if not (abs(x) <= 1 and abs(y) <= 1):  # nor nan
        raise typer.BadParameter(f"{text!r} is not x,y from -1 to 1, such as 0.1,-0.1")
    return x, y


def parse_audio(text: str) -> Literal["driver", "none"] | Path:
    """``driver``, ``none``, or a file; one that is called none is ./none."""
    return "driver" if text == "driver" else "none" if text == "none" else Path(text)


def devices(incomplete: str) -> list[str]:
    """Kinds of devices."""
    return _starting_with(("auto", "cpu", "cuda", "mps"), incomplete)


def drivers(incomplete: str) -> list[str]:
    """Motions of the library, and files."""
    return _starting_with(LIBRARY_MOTIONS, incomplete) + files(incomplete)


def metrics(incomplete: str) -> list[str]:
    """Metrics, after those that stand before the last comma."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _starting_with(METRICS, last)]


def weights_names(incomplete: str) -> list[str]:
    """Names of the catalogue, and files."""
    from faceanim_cli.weights.catalogue import CATALOGUE  # noqa: PLC0415 (only Tab needs it)

    return _starting_with(tuple(CATALOGUE), incomplete) + files(incomplete)


def files(incomplete: str) -> list[str]:
    """Files and folders whose names begin so; a shell adds none where something else was found."""
    folder, slash, begin = incomplete.rpartition("/")
    try:
        found = sorted(Path(folder + slash or ".").iterdir())
    except OSError:
        return []
    return [
        f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if path.name.startswith(begin) and (begin or not path.name.startswith("."))
    ]


def _starting_with(names: tuple[str, ...], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
