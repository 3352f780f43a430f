"""Preview of an uploaded photo: upright, with its faces and their crops."""

import base64
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceanim_cli.errors import NoFaceError
from faceanim_cli.faces import find_faces, frame_crop, resized
from faceanim_cli.media import read_photo

if TYPE_CHECKING:
    from faceanim_cli.faces import Box
    from faceanim_cli.pictures import Image

LONGEST_SIDE = 1024  # pixels of what is sent

_one_at_a_time = threading.Lock()  # a large photo takes hundreds of megabytes


def look_at(path: Path) -> dict[str, Any]:
    """A photo as the page needs it: a JPEG, its size, and boxes as [x, y, w, h] in pixels of the photo.

    Raises:
        UnreadableInputError: it cannot be read.
    """
    with _one_at_a_time:
        photo = read_photo(path)
        message = None
        try:
            photo, faces = find_faces(photo, str(path))
        except NoFaceError as error:
            faces, message = [], str(error)
    size = photo.shape[1], photo.shape[0]
    boxes = [{"box": _numbers(face), "crop": _numbers(frame_crop(face, size))} for face in faces]
    largest = max(range(len(faces)), key=lambda i: faces[i].area, default=None)
    return {
        "width": size[0],
        "height": size[1],
        "faces": boxes,
        "largest": None if largest is None else largest + 1,
        "picture": _jpeg_address(photo),
        "message": message,
    }


def _numbers(box: "Box") -> list[float]:
    return [box.x, box.y, box.w, box.h]


def _jpeg_address(photo: "Image") -> str:
    import cv2  # noqa: PLC0415

    scale = min(1.0, LONGEST_SIDE / max(photo.shape[:2]))
    small = resized(photo, (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))))
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
