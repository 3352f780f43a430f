"""Reads VoxCeleb's list of clips: the CSV of AliaksandrSiarohin/video-preprocessing.

Columns: video_id, start, end (frames at ``fps``), bbox (left-top-right-bottom, pixels of a frame of
``width`` x ``height``), fps, width, height; and where they are known partition (train or test) and person_id.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from faceanim_cli.csv_tables import read_table
from faceanim_cli.data.sequences import Dropped, Sequence, SequenceSettings, within
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.faces.framing import Box, square_crop

COLUMNS = {"video_id", "start", "end", "bbox", "fps", "width", "height"}
SPLITS = {"train": "train", "test": "val", "val": "val"}


@dataclass(frozen=True)
class VoxRow:
    """One row."""

    video_id: str
    start: int  # frames, at fps
    end: int  # exclusive
    bbox: tuple[int, int, int, int]  # left, top, right, bottom
    fps: Fraction
    width: int
    height: int
    split: str | None
    person: str | None

    @property
    def name(self) -> str:
        """The clip's name in first-order-model's lists: person#video#start#end."""
        parts = [self.person] if self.person else []
        return "#".join([*parts, *reversed(self.video_id.split("#")), f"{self.start:06d}", f"{self.end:06d}"])


def read_vox_metadata(path: Path) -> dict[str, list[VoxRow]]:
    """The rows by the name of their video file, without suffix.

    Raises:
        UnreadableInputError: no such file, a column missing, or a row that does not read.
    """
    table = read_table(path, COLUMNS)
    clips: dict[str, list[VoxRow]] = {}
    for row, number in zip(table.rows, table.lines, strict=True):
        try:
            clip = _parse(row)
        except (ValueError, ZeroDivisionError) as error:
            raise UnreadableInputError(f"{path}, line {number}: {error}") from error
        clips.setdefault(clip.video_id.partition("#")[0], []).append(clip)
    if not clips:
        raise UnreadableInputError(f"{path}: lists no clip")
    return clips


def listed_sequences(
    clips: list[VoxRow], fps: Fraction, size: tuple[int, int], settings: SequenceSettings
) -> list[Sequence | Dropped]:
    """The rows as frames and squares of a video of any rate and size, by their start.

    A frame belongs to a row if its time does. The box grows to the smallest square that holds it: the
    original scripts stretch it to one instead, which makes faces up to a third too wide.

    Args:
        clips: rows of one video.
        fps: the video's frames a second.
        size: its (width, height), pixels.
        settings: see ``SequenceSettings``.
    """
    found: list[Sequence | Dropped] = []
    for clip in sorted(set(clips), key=lambda clip: (clip.start, clip.end, clip.bbox)):
        start, stop = (math.ceil(frame * fps / clip.fps) for frame in (clip.start, clip.end))
        scale_x, scale_y = size[0] / clip.width, size[1] / clip.height
        left, top, right, bottom = clip.bbox
        box = Box(left * scale_x, top * scale_y, (right - left) * scale_x, (bottom - top) * scale_y)
        try:
            crop = within(square_crop(box, size), size)
        except UsageError as error:
            found.append(Dropped(start, stop, "box outside the frame", str(error)))
            continue
        if crop.side < settings.min_size:
            detail = f"a crop of {crop.side} pixels, --min-size is {settings.min_size}"
            found.append(Dropped(start, stop, "too small", detail))
        elif stop - start < settings.min_frames:
            detail = f"{stop - start} frames, --min-frames is {settings.min_frames}"
            found.append(Dropped(start, stop, "too short", detail))
        else:
            found.append(Sequence(start, stop, crop, name=clip.name, person=clip.person, split=clip.split))
    return found


def _parse(row: dict[str, str]) -> VoxRow:
    if absent := sorted(column for column in COLUMNS if not row[column]):
        raise ValueError(f"no {', '.join(absent)}")
    box = tuple(int(part) for part in row["bbox"].split("-"))
    if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f"bbox {row['bbox']!r} is not left-top-right-bottom")
    start, end = int(row["start"]), int(row["end"])
    fps, width, height = Fraction(row["fps"].replace(",", ".")), int(row["width"]), int(row["height"])
    if not (0 <= start < end and fps > 0 and width > 0 and height > 0):
        raise ValueError(f"start {start}, end {end}, fps {fps}, {width}x{height} cannot be")
    partition = row.get("partition", "").lower()
    if partition and partition not in SPLITS:
        raise ValueError(f"partition {partition!r} is neither train nor test")
    return VoxRow(
        row["video_id"],
        start,
        end,
        (box[0], box[1], box[2], box[3]),
        fps,
        width,
        height,
        SPLITS.get(partition),
        row.get("person_id") or None,
    )
