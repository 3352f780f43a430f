"""Which part of a driver's frames the networks see, where its frames come one after the other."""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Literal, TypeAlias

from faceanim_cli.faces import Box, FaceDetector, square_crop, track_face
from faceanim_cli.pictures import Image

Crop: TypeAlias = Literal["auto"] | tuple[float, float, float, float] | None

LOOK_AHEAD = 25  # frames that are waited for to frame a driver whose crop is not told
LOOK_EVERY = 6  # of these, every 6th is searched for a face
ANY_SIZE = (2**31, 2**31)  # of frames, where none has been seen: a crop by hand may lie anywhere


def crop_driver(
    frames: Iterator[Image], crop: Crop | Box, detector: FaceDetector
) -> tuple[Box | None, Iterator[Image]]:
    """The crop of a driver, and all of its frames: some of them may have been looked at.

    Args:
        frames: uint8 RGB (H, W, 3), all of one size.
        crop: "auto" finds the face in the first second; (x, y, w, h) in pixels is made a square, a ``Box`` is
            taken as it is; None is the whole frame.
        detector: searches.

    Returns:
        The crop in pixels, None for whole frames; and the frames.

    Raises:
        NoFaceError: "auto", and no face in the first second.
    """
    if crop is None or isinstance(crop, Box):
        return crop, frames
    if crop != "auto":
        return square_crop(Box(*crop), ANY_SIZE), frames
    ahead = list(islice(frames, LOOK_AHEAD))
    if not ahead:
        return None, frames
    samples = ((index, ahead[index]) for index in range(0, len(ahead), LOOK_EVERY))
    size = (ahead[0].shape[1], ahead[0].shape[0])
    return track_face(samples, detector).clip_crop(size), chain(ahead, frames)
