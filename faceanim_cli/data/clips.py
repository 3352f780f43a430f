"""Clips of faces on disk, decoded once.

A data folder holds ``manifest.csv`` with the columns ``file``, ``split`` (train or val) and ``identity``
(one person), the clips it names, and ``landmarks/<clip>.npy``: float (frames, 68, 2), x and y in
pixels of the clip's frame, rows of NaN where no face was found.
"""

import csv
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from faceanim_cli.data.landmarks import NUM_LANDMARKS
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media import VideoReader

Frames: TypeAlias = npt.NDArray[np.uint8]

CACHED_SIDE = 320  # pixels: frames are stored with at most this shorter side, enough for crops of 256
CACHED_FPS = 15.0  # neighbouring frames of a talking face teach next to nothing apart

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipRecord:
    """One row of the manifest."""

    path: Path
    landmarks: Path
    identity: str
    split: str

    @property
    def name(self) -> str:
        """The clip's name without folder or suffix."""
        return self.path.stem


@dataclass(frozen=True)
class Clip:
    """A decoded clip: frames (N, H, W, 3) uint8 RGB, memory-mapped; landmarks (N, 68, 2) in their pixels."""

    name: str
    identity: str
    frames: Frames
    landmarks: npt.NDArray[np.float32]


def read_manifest(data: Path) -> list[ClipRecord]:
    """The clips of a data folder that have landmarks, in the manifest's order.

    Raises:
        UnreadableInputError: no manifest, a column missing, or no clip in it.
    """
    manifest = data / "manifest.csv"
    if not manifest.is_file():
        raise UnreadableInputError(f"{data}: no manifest.csv in this folder; give --data a prepared folder")
    with manifest.open(newline="", encoding="utf-8-sig") as file:  # -sig: Excel writes a byte order mark
        reader = csv.DictReader(file)
        missing = {"file", "split", "identity"} - set(reader.fieldnames or ())
        rows = list(reader)
    if missing:
        raise UnreadableInputError(f"{manifest}: lacks the columns {', '.join(sorted(missing))}")
    records = [
        ClipRecord(
            data / row["file"],
            data / "landmarks" / f"{Path(row['file']).stem}.npy",
            row["identity"],
            row["split"],
        )
        for row in rows
    ]
    records = [record for record in records if record.landmarks.is_file()]
    if not records:
        raise UnreadableInputError(f"{manifest}: names no clip that has landmarks/<clip>.npy")
    return records


def open_clips(records: list[ClipRecord], cache: Path) -> Iterator[Clip]:
    """The clips, decoded into ``cache`` unless they are there; unreadable ones are skipped and logged."""
    cache.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for clip in pool.map(lambda record: _open_clip(record, cache), records):
            if clip is not None:
                yield clip


def _open_clip(record: ClipRecord, cache: Path) -> Clip | None:
    frames_file, points_file = cache / f"{record.name}.frames.npy", cache / f"{record.name}.landmarks.npy"
    if not points_file.exists():
        try:
            frames, landmarks = _decode(record)
        except UnreadableInputError as error:
            log.warning("skipped: %s", error)
            return None
        for file, array in (
            (frames_file, frames),
            (points_file, landmarks),
        ):  # landmarks last: they mean done
            partial = file.with_suffix(f".{os.getpid()}.partial")
            with partial.open("wb") as stream:
                np.save(stream, array)
            partial.replace(file)
    landmarks = np.load(points_file)
    if len(landmarks) < 2:
        log.warning("skipped: %s has fewer than two frames with a face", record.path)
        return None
    return Clip(record.name, record.identity, np.load(frames_file, mmap_mode="r"), landmarks)


def _decode(record: ClipRecord) -> tuple[Frames, npt.NDArray[np.float32]]:
    try:
        points = np.load(record.landmarks).astype(np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise UnreadableInputError(f"{record.landmarks}: not an array of landmarks ({error})") from error
    if points.shape[1:] != (NUM_LANDMARKS, 2):
        raise UnreadableInputError(f"{record.landmarks}: {points.shape} is not (frames, {NUM_LANDMARKS}, 2)")
    frames: list[Frames] = []
    kept: list[npt.NDArray[np.float32]] = []
    with VideoReader(record.path) as reader:
        step = max(1, round(float(reader.fps) / CACHED_FPS))
        scale = min(1.0, CACHED_SIDE / min(reader.width, reader.height))
        size = (round(reader.width * scale), round(reader.height * scale))
        for index, frame in enumerate(reader):
            if index % step or index >= len(points) or not np.isfinite(points[index]).all():
                continue
            small = frame if scale == 1 else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            frames.append(np.asarray(small, np.uint8))
            factors = np.array([size[0] / reader.width, size[1] / reader.height], np.float32)
            kept.append((points[index] + 0.5) * factors - 0.5)  # pixel centres, as cv2.resize has them
    if not frames:
        return np.zeros((0, 1, 1, 3), np.uint8), np.zeros((0, NUM_LANDMARKS, 2), np.float32)
    return np.stack(frames), np.stack(kept)
