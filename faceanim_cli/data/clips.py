"""Clips of faces on disk, decoded once.

A data folder holds ``manifest.csv`` with the columns ``file``, ``split`` (train or val) and ``identity``
(one person), the clips it names, and ``landmarks/<clip>.npy``: float (frames, 68, 2), x and y in
pixels of the clip's frame, rows of NaN where no face was found. ``faceanim prepare`` makes one. A clip is a
video, a folder of frames, or a picture of frames side by side.
"""

import csv
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faceanim_cli.data.landmarks import NUM_LANDMARKS, read_landmarks
from faceanim_cli.data.stacked_frames import open_frames, stacked_count
from faceanim_cli.errors import FaceanimError, UnreadableInputError
from faceanim_cli.media import whole_file
from faceanim_cli.media.find_files import FRAME_SUFFIXES
from faceanim_cli.pictures import Floats, Frames, Landmarks, Progress

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
    landmarks: Floats


def read_manifest(data: Path) -> list[ClipRecord]:
    """The clips of a data folder that have landmarks, in the manifest's order.

    Raises:
        UnreadableInputError: no manifest, a column missing, or no clip in it.
    """
    manifest = data / "manifest.csv"
    if not manifest.is_file():
        raise UnreadableInputError(f"{data}: no manifest.csv in this folder; faceanim prepare makes one")
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
    records = [record for record in records if record.landmarks.is_file() and not is_photo(record.path)]
    if not records:
        raise UnreadableInputError(f"{manifest}: names no clip that has landmarks/<clip>.npy")
    twice = [name for name, count in Counter(record.name for record in records).items() if count > 1]
    if twice:
        raise UnreadableInputError(
            f"{manifest}: two clips are called {twice[0]} and would share their landmarks; rename one"
        )
    return records


def is_photo(path: Path) -> bool:
    """Whether a file of the manifest is a photo, for super-resolution, and no clip."""
    return path.suffix.lower() in FRAME_SUFFIXES and not stacked_count(path)


def open_clips(
    records: Sequence[ClipRecord], cache: Path, progress: Progress | None = None
) -> Iterator[Clip]:
    """The clips, decoded into ``cache`` unless they are there as they are now.

    Unreadable ones are skipped and logged.

    Args:
        records: of ``read_manifest``.
        cache: a folder; about 300 KB for each frame kept.
        progress: told how many clips are open, and of how many.

    Raises:
        FaceanimError: the cache cannot be written: the disk is full.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        futures = [pool.submit(_open_clip, record, cache) for record in records]
        try:
            for done, future in enumerate(futures, start=1):
                clip = future.result()
                if progress is not None:
                    progress(done, len(records))
                if clip is not None:
                    yield clip
        finally:  # an error, or nobody wants the rest
            for future in futures:
                future.cancel()


def cache_bytes(width: int, height: int, frames: int, fps: float) -> int:
    """About how much of the cache a clip takes."""
    scale = _scale(width, height)
    return round(frames / _step(fps) * width * scale * height * scale * 3)


def _open_clip(record: ClipRecord, cache: Path) -> Clip | None:
    frames_file, points_file = cache / f"{record.name}.frames.npy", cache / f"{record.name}.landmarks.npy"
    stamp_file = cache / f"{record.name}.json"
    cached = _cached(record, frames_file, points_file, stamp_file)
    if cached is None:
        stamp_file.unlink(missing_ok=True)
        stamp = _stamp(record)  # before decoding: should the clip change meanwhile, that will be noticed
        try:
            _decode(record, frames_file, points_file)
            with whole_file(stamp_file) as partial:  # last: it means done
                partial.write_text(json.dumps(stamp))
        except UnreadableInputError as error:
            log.warning("skipped: %s", error)
            return None
        except OSError as error:
            raise FaceanimError(
                f"cannot write {frames_file}: {error.strerror}; give --cache a folder with more room"
            ) from error
        cached = np.load(frames_file, mmap_mode="r"), np.load(points_file)
    frames, landmarks = cached
    if len(landmarks) < 2:
        log.warning("skipped: %s has fewer than two frames with a face", record.path)
        return None
    return Clip(record.name, record.identity, frames[: len(landmarks)], landmarks)


def _cached(
    record: ClipRecord, frames_file: Path, points_file: Path, stamp_file: Path
) -> tuple[Frames, Landmarks] | None:
    """What the cache has of a clip, if it is whole and the clip has not changed since, or is gone."""
    try:
        stamp = json.loads(stamp_file.read_text())
        if record.path.exists() and stamp != _stamp(record):
            return None
        frames, landmarks = np.load(frames_file, mmap_mode="r"), np.load(points_file)
    except (OSError, ValueError, EOFError):  # not there, or cut off
        return None
    whole = frames.ndim == 4 and landmarks.shape[1:] == (NUM_LANDMARKS, 2) and len(frames) >= len(landmarks)
    return (frames, landmarks) if whole else None


def _stamp(record: ClipRecord) -> dict[str, Any]:
    """What the cache of a clip depends on."""
    stamp: dict[str, Any] = {"side": CACHED_SIDE, "fps": CACHED_FPS}
    for name, file in (("clip", record.path), ("landmarks", record.landmarks)):
        if file.exists():
            status = file.stat()
            stamp[name] = [str(file.resolve()), status.st_size, status.st_mtime_ns]
    return stamp


def _decode(record: ClipRecord, frames_file: Path, points_file: Path) -> None:
    """Write frames and landmarks; frames go to the file one by one, so memory does not grow with the clip."""
    points = read_landmarks(record.landmarks)
    kept: list[Floats] = []
    with open_frames(record.path) as reader:
        step, scale = _step(float(reader.fps)), _scale(reader.width, reader.height)
        size = (round(reader.width * scale), round(reader.height * scale))
        factors = np.array([size[0] / reader.width, size[1] / reader.height], np.float32)
        wanted = np.isfinite(points[::step].reshape(-1, 2 * NUM_LANDMARKS).sum(1))
        shape = (int(wanted.sum()), size[1], size[0], 3)
        with whole_file(frames_file) as partial, partial.open("wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            start = stream.tell()
            for index, frame in enumerate(reader):
                if index >= len(points):
                    break
                if index % step or not wanted[index // step]:
                    continue
                small = frame if scale == 1 else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
                stream.write(np.ascontiguousarray(small, np.uint8).data)
                kept.append((points[index] + 0.5) * factors - 0.5)  # pixel centres, as cv2.resize has them
            stream.truncate(start + math.prod(shape))  # a video shorter than its landmarks leaves some unused
    landmarks = np.stack(kept) if kept else np.zeros((0, NUM_LANDMARKS, 2), np.float32)
    with whole_file(points_file) as partial:
        np.save(partial, landmarks.astype(np.float32))


def _step(fps: float) -> int:
    return max(1, round(fps / CACHED_FPS))


def _scale(width: int, height: int) -> float:
    return min(1.0, CACHED_SIDE / min(width, height))
