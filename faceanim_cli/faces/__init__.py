"""Face boxes: found by Viola-Jones, followed through a video, turned into the crop that the networks see."""

from faceanim_cli.faces.detector import FaceDetector
from faceanim_cli.faces.framing import (
    FRAME_SCALE,
    Box,
    clip_crop,
    crop_image,
    crop_transform,
    face_in_crop,
    frame_crop,
    inverse_crop_transform,
    paste_back,
    square_crop,
    transform_points,
)
from faceanim_cli.faces.tracking import FaceTrack, track_face

__all__ = [
    "FRAME_SCALE",
    "Box",
    "FaceDetector",
    "FaceTrack",
    "clip_crop",
    "crop_image",
    "crop_transform",
    "face_in_crop",
    "frame_crop",
    "inverse_crop_transform",
    "paste_back",
    "square_crop",
    "track_face",
    "transform_points",
]
