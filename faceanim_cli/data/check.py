"""Checks of a data folder before training: unreadable clips, misfitting landmarks, people in both splits."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceanim_cli.data.data_folder import MANIFEST, ManifestRow, in_both_splits, read_manifest
from faceanim_cli.data.landmarks import (
    LANDMARKS_FOLDER,
    NUM_LANDMARKS,
    SQUARE,
    load_points,
    not_a_face,
    read_landmarks,
)
from faceanim_cli.data.stacked_frames import open_frames
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.files import file_sha256
from faceanim_cli.media import read_photo
from faceanim_cli.motion.landmark_lifting import landmark_box
from faceanim_cli.pictures import Landmarks, Progress

TINY_FACE = 80  # pixels: side of the face box; the networks see faces of about 146
STILL = 0.004  # face sides: mean distance of landmarks from their median; the stillest real clip had 0.006
UNSEEN = 0.25  # share of the frames without landmarks
SPLITS = ("train", "val")


@dataclass(frozen=True)
class Problem:
    """What is wrong, and with which clip; "" where it is no single clip's."""

    clip: str
    what: str

    def __str__(self) -> str:
        return f"{self.clip}: {self.what}" if self.clip else self.what


@dataclass(frozen=True)
class CheckResult:
    """What a check looked at, and the problems that it found."""

    clips: int
    photos: int
    people: Mapping[str, int]  # by split
    trouble: list[Problem]


def check_data(data: Path, progress: Progress | None = None) -> CheckResult:
    """Look for problems in a data folder: one of ``prepare``'s, or any with such a manifest.

    Clips that no longer read, or are others than the manifest says; landmarks that are missing, of another
    length, or found in too few frames; tiny faces and still ones; two clips that are the same file or go by
    one name; people in both splits; nobody to train or validate on; photos that do not read. Files with
    the SHA-256 that the manifest gives are whole; others are decoded.

    Raises:
        UnreadableInputError: no manifest, a column missing, or nothing in it.
    """
    rows = read_manifest(data)
    if not rows:
        raise UnreadableInputError(f"{data / MANIFEST}: lists no clip and no photo")
    clips = [row for row in rows if not row.is_photo]
    found = list(_of_all(rows, clips or rows))

    def problems_of(row: ManifestRow) -> list[Problem]:
        return list(_of_clip(data, row) if row in clips else _of_photo(row))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, problems in enumerate(pool.map(problems_of, rows), start=1):
            found += problems
            if progress is not None:
                progress(done, len(rows))
    people = {split: len({row.identity for row in clips or rows if row.split == split}) for split in SPLITS}
    return CheckResult(len(clips), len(rows) - len(clips), people, found)


def _of_all(rows: list[ManifestRow], clips: list[ManifestRow]) -> Iterator[Problem]:
    """Problems between files; of clips, where there are any, between these."""
    for row in rows:
        if row.split not in SPLITS:
            yield Problem(row.file, f"split {row.split!r} is neither train nor val: it is not used")
    for identity in in_both_splits((row.identity, row.split) for row in rows):
        yield Problem("", f"{identity} is in train and in val: nothing trains on that")
    for split, use in (("train", "to train on"), ("val", "to validate on")):
        if not any(row.split == split for row in clips):
            yield Problem("", f"nobody {use}")
    for files in _groups((row.file, row.path.stem.casefold()) for row in clips if not row.is_photo):
        yield Problem(files[0], f"has the same name as {', '.join(files[1:])}, and so the same landmarks")
    for files in _groups((row.file, row.cells.get("sha256") or None) for row in rows):
        yield Problem(files[0], f"is the same file as {', '.join(files[1:])}")


def _groups(keys: Iterable[tuple[str, str | None]]) -> Iterator[list[str]]:
    """Files that share a key with others."""
    groups: dict[str, list[str]] = defaultdict(list)
    for file, key in keys:
        if key is not None:
            groups[key].append(file)
    return (files for files in groups.values() if len(files) > 1)


def _of_photo(row: ManifestRow) -> Iterator[Problem]:
    try:
        if not (row.path.is_file() and row.cells.get("sha256") == file_sha256(row.path)):
            read_photo(row.path)
    except UnreadableInputError as error:
        yield Problem(row.file, str(error))


def _of_clip(data: Path, row: ManifestRow) -> Iterator[Problem]:
    file, path = row.file, row.path
    try:
        stated, width, height = (_number(row, column) for column in ("frames", "width", "height"))
        frames, size, aspect = stated, (width, height) if width and height else None, SQUARE
        if not (path.is_file() and row.cells.get("sha256") == file_sha256(path)):
            with open_frames(path) as video:
                frames, size, aspect = sum(1 for _ in video), (video.width, video.height), video.pixel_aspect
            if stated is not None and stated != frames:
                yield Problem(file, f"has {frames} frames where the manifest says {stated}")
    except (UnreadableInputError, ValueError) as error:
        yield Problem(file, str(error))
        return
    landmarks = data / LANDMARKS_FOLDER / f"{path.stem}.npy"
    if not landmarks.is_file():
        yield Problem(file, f"{LANDMARKS_FOLDER}/{landmarks.name} is missing: it is not trained on")
        return
    try:
        given = load_points(landmarks)
        points = read_landmarks(landmarks, size, aspect)
    except UnreadableInputError as error:
        yield Problem(file, str(error))
        return
    if frames is not None and len(points) != frames:
        yield Problem(file, f"has {frames} frames, and landmarks for {len(points)}")
    told = np.isfinite(given[:, :NUM_LANDMARKS]).all((1, 2))
    if wrong := int((not_a_face(given) | (told & np.isnan(points[:, 0, 0]))).sum()):
        yield Problem(file, f"{wrong} rows of landmarks are no face: they count as missing")
    yield from (Problem(file, what) for what in _of_landmarks(points[:, :NUM_LANDMARKS]))


def _number(row: ManifestRow, column: str) -> int | None:
    return int(text) if (text := row.cells.get(column)) else None


def _of_landmarks(points: Landmarks) -> Iterator[str]:
    seen = points[np.isfinite(points).all((1, 2))].astype(np.float64)
    if len(seen) < 2:
        yield "landmarks in fewer than two frames: it is not trained on"
        return
    if len(seen) < (1 - UNSEEN) * len(points):
        yield f"no landmarks in {1 - len(seen) / len(points):.0%} of its frames"
    middle = np.median(seen, axis=0)
    side = landmark_box(middle)[2]
    if side < TINY_FACE:
        yield f"a tiny face of {side:.0f} pixels, {TINY_FACE} are few"
    if np.linalg.norm(seen - middle, axis=-1).mean() < STILL * side:
        yield "too little motion: there is nothing to learn from it"
