"""Face boxes: found by Viola-Jones, followed through a video, turned into the crop that the networks see."""

from faceanim_cli.faces.choice import (
    LYING,
    SearchedPhoto,
    choose_face,
    draw_numbers,
    find_faces,
    quarter_turned,
    search_photo,
    upright_faces,
)
from faceanim_cli.faces.compositing import Patch, edge_distance, motion_reach, seam_mask
from faceanim_cli.faces.detector import FaceDetector
from faceanim_cli.faces.framing import (
    FRAME_SCALE,
    Box,
    Framing,
    clip_crop,
    crop_image,
    crop_transform,
    frame_crop,
    inverse_crop_transform,
    resized,
    square_crop,
    transform_points,
)
from faceanim_cli.faces.shots import DriverScan, Shot, scan_driver
from faceanim_cli.faces.toning import ToneCurve, tone_curve, toned
from faceanim_cli.faces.tracking import FaceTrack, track_face

__all__ = [
    "FRAME_SCALE",
    "LYING",
    "Box",
    "DriverScan",
    "FaceDetector",
    "FaceTrack",
    "Framing",
    "Patch",
    "SearchedPhoto",
    "Shot",
    "ToneCurve",
    "choose_face",
    "clip_crop",
    "crop_image",
    "crop_transform",
    "draw_numbers",
    "edge_distance",
    "find_faces",
    "frame_crop",
    "inverse_crop_transform",
    "motion_reach",
    "quarter_turned",
    "resized",
    "scan_driver",
    "seam_mask",
    "search_photo",
    "square_crop",
    "tone_curve",
    "toned",
    "track_face",
    "transform_points",
    "upright_faces",
]
