"""Prepares photos for super-resolution: cut around the face, and shrunk to what training uses."""

from pathlib import Path

import cv2
import numpy as np

from faceanim_cli.data.one_video import PreparedClip, PreparedVideo
from faceanim_cli.data.portraits import SHOWN
from faceanim_cli.data.sequences import Dropped, within
from faceanim_cli.data.sources import Source
from faceanim_cli.faces.framing import FRAME_SCALE, Box
from faceanim_cli.faces.tracking import Detector
from faceanim_cli.media import read_photo, write_photo

AROUND = 2.0  # sides of the frame that the product shows of a face: training looks beside it as well
LARGEST = 2 * SHOWN  # pixels: side of that frame; finer than twice what is shown is never looked at


def prepare_still(source: Source, out: Path, detector: Detector) -> PreparedVideo:
    """Write ``photos/<name>.png``; it appears whole or not at all. A face too small to teach is dropped.

    Args:
        source: the photo.
        out: the data folder.
        detector: a ``FaceDetector``, of this thread.

    Raises:
        UnreadableInputError: not a photo that can be read.
        FaceanimError: it cannot be written.
    """
    image = read_photo(source.path)
    faces = detector.detect(image)
    if not faces:
        return PreparedVideo(dropped=[Dropped(0, 1, "no face")])
    face, size = faces[0], (image.shape[1], image.shape[0])
    frame = min(FRAME_SCALE * face.side, *size)
    if frame < SHOWN:
        detail = f"{frame:.0f} pixels around the face, super-resolution learns from {SHOWN}"
        return PreparedVideo(dropped=[Dropped(0, 1, "too small", detail)])
    side = AROUND * frame
    crop = within(Box(face.cx - side / 2, face.cy - side / 2, side, side), size)
    x, y, w = int(crop.x), int(crop.y), int(crop.w)
    picture, scale = image[y : y + w, x : x + w], min(1.0, LARGEST / frame)
    if scale < 1:
        small = (round(w * scale), round(w * scale))
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
    portrait = PreparedClip(
        name=source.name,
        split=None,
        identity=None,
        source=str(source.path),
        start=0,
        frames=1,
        fps="",
        width=picture.shape[1],
        height=picture.shape[0],
        box=(x, y, w, w),
        face_px=round(face.side * scale),
        landmarks="",
        sha256="",
        still=True,
    )
    (path,) = portrait.files(out)
    path.parent.mkdir(exist_ok=True)
    write_photo(path, picture)
    return PreparedVideo([portrait.hashed(out)])
