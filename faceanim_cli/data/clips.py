"""Clips of faces on disk, decoded once.

A data folder holds ``manifest.csv`` with the columns ``file``, ``split`` (train or val) and ``identity``
(one person), the clips it names, and ``landmarks/<clip>.npy``: float (frames, 68, 2), x and y in
pixels of the clip's frame, rows of NaN where no face was found (more that it may hold: ``landmarks``).
``faceanim prepare`` makes one. A clip is a video, a folder of frames, or a picture of frames side by side.
"""

import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from faceanim_cli.data.data_folder import ClipFile
from faceanim_cli.data.landmarks import (
    NUM_LANDMARKS,
    NUM_POINTS,
    landmark_files,
    read_aperture,
    read_landmarks,
)
from faceanim_cli.data.stacked_frames import open_frames
from faceanim_cli.errors import FaceanimError, UnreadableInputError
from faceanim_cli.files import file_stamp, parse_json
from faceanim_cli.media import whole_file
from faceanim_cli.pictures import Floats, Frames, Landmarks, Progress

CACHED_SIDE = 320  # pixels: frames are stored with at most this shorter side, enough for crops of 256
CACHED_FPS = 15.0  # neighbouring frames of a talking face teach next to nothing apart

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedArray:
    """The first entries of a ``.npy`` file; indexing reads from the file, and gives arrays.

    A memory map of numpy's would keep a file open for each clip, of which a system allows a few hundred, and
    be pickled with all that it shows: a loader process that is spawned, as on macOS and Windows, would get a
    copy of the whole cache. This is pickled as its path and mapped for the moment of each access.
    """

    path: Path
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @classmethod
    def open(cls, path: Path) -> "CachedArray":
        """Read the header.

        Raises:
            OSError: no such file.
            ValueError: not a whole array, or one of Python objects.
        """
        array = np.load(path, mmap_mode="r")
        if array.dtype.hasobject or not array.flags.c_contiguous:
            raise ValueError(f"{path}: not an array as the cache writes them")
        return cls(path, int(array.offset), array.dtype, array.shape)

    def first(self, length: int) -> "CachedArray":
        """The first ``length`` entries."""
        return replace(self, shape=(length, *self.shape[1:]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        if isinstance(key, int | np.integer):  # by far the most frequent, and faster without a map
            index = range(len(self))[key]
            count = math.prod(self.shape[1:])
            place = self.offset + index * count * self.dtype.itemsize
            return np.fromfile(self.path, self.dtype, count, offset=place).reshape(self.shape[1:])
        if 0 in self.shape:  # an empty file cannot be mapped
            return np.asarray(np.zeros(self.shape, self.dtype)[key])
        return np.array(np.memmap(self.path, self.dtype, "r", self.offset, self.shape)[key])

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype)


@dataclass(frozen=True)
class Clip:
    """A decoded clip; every frame has a face.

    Attributes:
        name: of its file, without suffix.
        identity: whose face it is.
        frames: (N, H, W, 3) uint8 RGB.
        landmarks: (N, 80, 2) float32, pixels of the frames; 68 are finite, the others NaN if unknown.
        aperture: (N, 2) float32, how far the eyes are open, NaN where nobody measured it.
    """

    name: str
    identity: str
    frames: Frames | CachedArray
    landmarks: Landmarks | CachedArray
    aperture: Floats | CachedArray | None = None


def open_clips(
    files: Sequence[ClipFile], cache: Path, progress: Progress | None = None, side: int = CACHED_SIDE
) -> Iterator[Clip]:
    """The clips, decoded into ``cache`` unless they are there as they are now.

    Unreadable ones are skipped and logged.

    Args:
        files: of ``clip_files.clips_with_landmarks``.
        cache: a folder; about 300 KB for each frame kept.
        progress: told how many clips are open, and of how many.
        side: pixels of the frames' shorter side, at most; clips of another have a cache of their own.

    Raises:
        FaceanimError: the cache cannot be written: the disk is full.
    """
    if side != CACHED_SIDE:
        cache = cache / f"{side}"
    cache.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        futures = [pool.submit(_open_clip, file, cache, side) for file in files]
        try:
            for done, future in enumerate(futures, start=1):
                clip = future.result()
                if progress is not None:
                    progress(done, len(files))
                if clip is not None:
                    yield clip
        finally:  # an error, or nobody wants the rest
            for future in futures:
                future.cancel()


def cache_bytes(width: int, height: int, frames: int, fps: float) -> int:
    """About how much of the cache a clip takes."""
    scale = _scale(width, height, CACHED_SIDE)
    return round(frames / _step(fps) * width * scale * height * scale * 3)


def _open_clip(file: ClipFile, cache: Path, side: int) -> Clip | None:
    files = [cache / f"{file.path.stem}.{what}.npy" for what in ("frames", "landmarks", "aperture")]
    stamp_file = cache / f"{file.path.stem}.json"
    cached = _cached(file, files, stamp_file, side)
    if cached is None:
        stamp_file.unlink(missing_ok=True)
        stamp = _stamp(file, side)  # before decoding: should the clip change meanwhile, that will be noticed
        try:
            _decode(file, side, *files)
            with whole_file(stamp_file) as partial:  # last: it means done
                partial.write_text(json.dumps(stamp))
        except UnreadableInputError as error:
            log.warning("skipped: %s", error)
            return None
        except OSError as error:
            raise FaceanimError(
                f"cannot write {files[0]}: {error.strerror}; give --cache a folder with more room"
            ) from error
        cached = [CachedArray.open(path) for path in files]
    frames, landmarks, aperture = cached
    if len(landmarks) < 2:
        log.warning("skipped: %s has fewer than two frames with a face", file.path)
        return None
    return Clip(file.path.stem, file.identity, frames.first(len(landmarks)), landmarks, aperture)


def _cached(file: ClipFile, files: Sequence[Path], stamp_file: Path, side: int) -> list[CachedArray] | None:
    """What the cache has of a clip, if it is whole and the clip has not changed since, or is gone."""
    try:
        stamp = parse_json(stamp_file.read_text())
        if file.path.exists() and stamp != _stamp(file, side):
            return None
        frames, landmarks, aperture = arrays = [CachedArray.open(path) for path in files]
    except (OSError, ValueError, EOFError):  # not there, or cut off
        return None
    whole = len(frames) >= len(landmarks) == len(aperture)
    shapes = (frames.shape[3:], landmarks.shape[1:], aperture.shape[1:])
    return arrays if whole and shapes == ((3,), (NUM_POINTS, 2), (2,)) else None


def _stamp(file: ClipFile, side: int) -> dict[str, Any]:
    """What the cache of a clip depends on."""
    stamp: dict[str, Any] = {"side": side, "fps": CACHED_FPS, "points": [NUM_POINTS, "as shown"]}
    if file.path.exists():
        stamp["clip"] = file_stamp(file.path)
    if file.landmarks is not None and file.landmarks.exists():
        stamp["landmarks"] = [file_stamp(path) for path in landmark_files(file.landmarks)]
    return stamp


def _decode(file: ClipFile, side: int, frames_file: Path, points_file: Path, aperture_file: Path) -> None:
    """Write the arrays; frames go to the file one by one, so memory does not grow with the clip."""
    assert file.landmarks is not None
    kept: list[int] = []
    with open_frames(file.path) as reader:
        points = read_landmarks(file.landmarks, (reader.width, reader.height), reader.pixel_aspect)
        step, scale = _step(float(reader.fps)), _scale(reader.width, reader.height, side)
        size = (round(reader.width * scale), round(reader.height * scale))
        wanted = np.asarray(np.isfinite(points[::step, :NUM_LANDMARKS]).all((1, 2)))
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
                kept.append(index)
            stream.truncate(start + math.prod(shape))  # a video shorter than its landmarks leaves some unused
    factors = np.array([size[0] / reader.width, size[1] / reader.height], np.float32)
    with whole_file(points_file) as partial:
        np.save(partial, (points[kept] + 0.5) * factors - 0.5)  # pixel centres, as cv2.resize has them
    aperture = np.full((len(points), 2), np.nan, np.float32)
    if (measured := read_aperture(file.landmarks)) is not None:
        aperture[: len(measured)] = measured[: len(aperture)]
    with whole_file(aperture_file) as partial:
        np.save(partial, aperture[kept])


def _step(fps: float) -> int:
    return max(1, round(fps / CACHED_FPS))


def _scale(width: int, height: int, side: int) -> float:
    return min(1.0, side / min(width, height))
