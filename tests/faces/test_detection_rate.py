"""Recall and precision on real clips with known landmarks, where a developer has them beside the checkout.

The clips are not part of the project: without them this file is skipped.
"""

import csv
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceanim_cli.faces.framing import frame_crop
from faceanim_cli.faces.tracking import track_face

FACEDATA = Path(__file__).resolve().parents[3] / "shared" / "facedata"
CLIPS = 24
FRAMES = 3  # of each clip

pytestmark = pytest.mark.skipif(not (FACEDATA / "manifest.csv").is_file(), reason="no face clips at hand")


def manifest(kind):
    with (FACEDATA / "manifest.csv").open(newline="") as file:
        return [row["file"] for row in csv.DictReader(file) if row["file"].startswith(kind)]


def spread(items, count):
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)]


def frames_of(clip, count):
    """(number, RGB frame, landmarks (68, 2)) evenly through the clip, without its ends."""
    landmarks = np.load(FACEDATA / "landmarks" / f"{Path(clip).stem}.npy")
    wanted = set(np.linspace(0, len(landmarks) - 1, count + 2).astype(int)[1:-1].tolist())
    video = cv2.VideoCapture(str(FACEDATA / clip))
    for number in range(max(wanted) + 1):
        video.grab()
        if number in wanted and np.isfinite(landmarks[number]).all():
            frame = video.retrieve()[1]
            yield number, np.ascontiguousarray(frame[..., ::-1]), landmarks[number]
    video.release()


def is_right(box, landmarks):
    """The box is on the face: centre within half a face width of its middle, and 0.6 to 2 times its size."""
    width, height = np.ptp(landmarks, axis=0)
    middle = landmarks.mean(axis=0) + 0.5  # points -> edges
    off = math.hypot(box.cx - middle[0], box.cy - middle[1])
    return off < 0.5 * max(width, height) and 0.6 < box.side / max(width, height) < 2


def test_clips(detector):
    frames = found = false_boxes = lost_points = points = 0
    without = []
    for clip in spread(manifest("clips/"), CLIPS):
        samples = list(frames_of(clip, FRAMES))
        seen = False
        for _, frame, landmarks in samples:
            boxes = detector.detect(frame)
            right = [box for box in boxes if is_right(box, landmarks)]
            frames += 1
            found += bool(boxes) and boxes[0] in right  # the largest is the one that is used
            false_boxes += len(boxes) - len(right)
            seen |= bool(right)
            if right:
                crop = frame_crop(right[0], (frame.shape[1], frame.shape[0]))
                edges = landmarks + 0.5 - (crop.x, crop.y)
                points += len(landmarks)
                lost_points += int(((edges < 0) | (edges > crop.w)).any(axis=1).sum())
        if samples and not seen:
            without.append(clip)
    assert frames > 60
    assert found / frames >= 0.97
    assert false_boxes / frames <= 0.03
    assert without == []
    assert lost_points / points < 0.005


def test_track_of_a_clip(detector):
    clip = manifest("clips/")[0]
    samples = list(frames_of(clip, 8))
    track = track_face([(number, frame) for number, frame, _ in samples], detector, clip)
    assert all(is_right(track.box_at(number), landmarks) for number, _, landmarks in samples)


def test_portraits(detector):
    names = spread(manifest("photos/"), 15)
    photos = [cv2.imread(str(FACEDATA / name))[..., ::-1] for name in names]
    assert sum(bool(detector.detect(np.ascontiguousarray(photo))) for photo in photos) >= len(photos) - 1
