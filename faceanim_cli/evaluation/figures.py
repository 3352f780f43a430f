"""Figures of a report: plots as inline SVG, strips of frames, and a grid of people.

Plots need no plotting library, no script, and no file beside the report.
"""

import html
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from faceanim_cli.animation.animator import Animator
from faceanim_cli.data.data_folder import ClipFile
from faceanim_cli.evaluation.frames import CropMode, FramedClip, resized
from faceanim_cli.image_metrics import Picture, as_bytes, as_unit
from faceanim_cli.media import read_photo, write_photo
from faceanim_cli.pictures import Image

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 30, 40  # margins that hold axes and titles
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#4a5568")
TICKS = 5
MOST_BARS = 120  # clips: with more, bars are thinner than a pixel, and only names on hover tell them apart

TILE = 192  # pixels a side of each picture of a strip
GAP = 4  # white pixels between pictures
ERROR_GAIN = 4.0  # an error of a quarter of the range is white
PHOTOS, FRAMES = 4, 6  # of a grid, when nobody says how many
GRID_TILE = 160  # pixels


def bars(title: str, unit: str, values: Mapping[str, Mapping[str, float]]) -> str:
    """A group of bars for each clip, one for each subject. ``values``: by subject, then by clip."""
    clips = list(dict.fromkeys(clip for by_clip in values.values() for clip in by_clip))
    first = next(iter(values.values()), {})
    clips.sort(key=lambda clip: _or(first.get(clip), math.inf))
    clips = clips[:: max(1, -(-len(clips) // MOST_BARS))]
    finite = [value for by_clip in values.values() for value in by_clip.values() if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(0.0, *finite), max(finite)
    scale = Scale(low, high, HEIGHT - BOTTOM, TOP)
    group = (WIDTH - LEFT - RIGHT) / len(clips)
    width = 0.8 * group / len(values)
    parts = [_frame(title, scale, unit)]
    for s, (subject, by_clip) in enumerate(values.items()):
        for c, clip in enumerate(clips):
            value = by_clip.get(clip, math.nan)
            if math.isfinite(value):
                x, y, base = LEFT + c * group + 0.1 * group + s * width, scale(value), scale(0.0)
                parts.append(
                    f'<rect x="{x:.1f}" y="{min(y, base):.1f}" width="{max(width, 0.6):.1f}" '
                    f'height="{abs(base - y):.1f}" fill="{_colour(s)}">'
                    f"<title>{html.escape(f'{clip}, {subject}: {value:.4g}')}</title></rect>"
                )
    parts.append(_text(WIDTH / 2, HEIGHT - 12, f"{len(clips)} clips, by {next(iter(values), '')}", "middle"))
    return _svg(parts, list(values))


def scatter(
    title: str, across: str, unit: str, points: Mapping[str, Sequence[tuple[float, float, str]]]
) -> str:
    """Dots. ``points``: by subject, (x, y, what it is)."""
    known = [(x, y) for dots in points.values() for x, y, _ in dots if math.isfinite(x) and math.isfinite(y)]
    if not known:
        return ""
    upright = Scale(min(y for _, y in known), max(y for _, y in known), HEIGHT - BOTTOM, TOP)
    level = Scale(min(0.0, *(x for x, _ in known)), max(x for x, _ in known), LEFT, WIDTH - RIGHT)
    parts = [_frame(title, upright, unit)]
    for tick in level.ticks():
        parts.append(_text(level(tick), HEIGHT - BOTTOM + 14, f"{tick:g}", "middle"))
    parts.append(_text(WIDTH / 2, HEIGHT - 8, across, "middle"))
    for s, (subject, dots) in enumerate(points.items()):
        for x, y, name in dots:
            if math.isfinite(x) and math.isfinite(y):
                told = html.escape(f"{name}, {subject}: {x:.3g}, {y:.4g}")
                parts.append(
                    f'<circle cx="{level(x):.1f}" cy="{upright(y):.1f}" r="3.5" fill="{_colour(s)}" '
                    f'fill-opacity="0.75"><title>{told}</title></circle>'
                )
    return _svg(parts, list(points))


class Scale:
    """A linear axis from values to pixels, with round ticks."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        if high <= low:
            low, high = low - 0.5, high + 0.5
        raw = (high - low) / TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        self.step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
        self.low, self.high = math.floor(low / self.step) * self.step, math.ceil(high / self.step) * self.step
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """Pixels of a value."""
        return self._start + (value - self.low) / (self.high - self.low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values along the axis."""
        count = round((self.high - self.low) / self.step)
        return [round(self.low + i * self.step, 10) for i in range(count + 1)]


def _frame(title: str, scale: Scale, unit: str) -> str:
    parts = [_text(LEFT, 16, f"{title}{f', {unit}' if unit else ''}", "start", bold=True)]
    for tick in scale.ticks():
        y = scale(tick)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{tick:g}", "end"))
    return "".join(parts)


def _svg(parts: Sequence[str], subjects: Sequence[str]) -> str:
    legend = []
    x = float(WIDTH - RIGHT)
    for s in reversed(range(len(subjects))):
        x -= 7.0 * len(subjects[s]) + 22
        legend.append(f'<rect x="{x:.0f}" y="8" width="10" height="10" fill="{_colour(s)}"/>')
        legend.append(_text(x + 14, 17, subjects[s], "start"))
    inside = "".join([*parts, *legend])
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" xmlns="http://www.w3.org/2000/svg" role="img">{inside}</svg>'


def _text(x: float, y: float, text: str, anchor: str, bold: bool = False) -> str:
    look = f'text-anchor="{anchor}" font-size="11"' + (' font-weight="600"' if bold else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{html.escape(text)}</text>'


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _or(value: float | None, other: float) -> float:
    return other if value is None or math.isnan(value) else value


def strip(source: Picture, driving: Picture, result: Picture) -> Image:
    """Source, driving frame, result and error side by side: (TILE, W, 3)."""
    error = np.abs(as_unit(result) - as_unit(driving)).mean(-1, keepdims=True).repeat(3, axis=-1)
    return _in_a_row([source, driving, result, np.clip(ERROR_GAIN * error, 0, 1)], TILE)


def choose_people(clips: Sequence[ClipFile], seed: int) -> tuple[list[ClipFile], ClipFile]:
    """Clips whose first frames are the photos, one a person, and a driver: somebody else if possible."""
    order = np.random.default_rng(seed).permutation(len(clips))
    driver = clips[order[0]]
    photos: dict[str, ClipFile] = {}
    for i in order[1:]:
        if clips[i].identity != driver.identity:
            photos.setdefault(clips[i].identity, clips[i])
    return list(photos.values())[:PHOTOS] or [driver], driver


def write_grid(
    path: Path,
    animator: Animator,
    photos: Sequence[ClipFile | Path],
    driver: ClipFile,
    size: int,
    crop: CropMode,
) -> None:
    """Write the figure as PNG or JPEG.

    Args:
        animator: in relative mode, without super-resolution, giving frames of ``size``.
        photos: photo files, or clips of which the first frame is taken.

    Raises:
        NoFaceError: in a photo or the driver. UnreadableInputError: one of them.
        UsageError: the place cannot be written, or its name is neither .png nor .jpg.
    """
    framed = FramedClip(driver, size, crop)
    every = max(1, (framed.frame_count_estimate or 1) // (4 * FRAMES))  # finely enough to space them evenly
    driving = [as_bytes(frame.image) for frame in framed.frames(every)]
    columns = np.unique(np.linspace(0, len(driving) - 1, FRAMES).round().astype(int)).tolist()
    white = np.full((GRID_TILE, GRID_TILE, 3), 255, np.uint8)
    chosen = [driving[i] for i in columns]  # the first frame first: relative motion counts from it
    rows = [_in_a_row([white, *chosen], GRID_TILE)]
    for photo in photos:
        if isinstance(photo, ClipFile):
            picture = as_bytes(next(FramedClip(photo, size, crop).frames()).image)
            animator.set_photo(picture, crop=None)
        else:
            picture = read_photo(photo)
            animator.set_photo(picture, crop="auto", name=str(photo))
            if animator.photo_crop is not None:
                box = animator.photo_crop
                picture = picture[
                    max(int(box.y), 0) : int(box.y + box.h), max(int(box.x), 0) : int(box.x + box.w)
                ]
        rows.append(_in_a_row([picture, *animator.animate(chosen, crop=None)], GRID_TILE))
    write_photo(path, _joined(rows, axis=0))


def _in_a_row(pictures: Sequence[Picture], side: int) -> Image:
    return _joined([as_bytes(resized(as_bytes(picture), (side, side))) for picture in pictures], axis=1)


def _joined(tiles: Sequence[Image], axis: int) -> Image:
    """Tiles below (axis 0) or beside each other, with white gaps."""
    shape = list(tiles[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([*chain.from_iterable((gap, tile) for tile in tiles)][1:], axis=axis)
