"""Photos and videos in and out, streamed through ffmpeg."""

from faceanim_cli.media.atomic_file import remove_leftovers, whole_file
from faceanim_cli.media.frame_folder import FrameFolder, open_video
from faceanim_cli.media.frame_source import FrameSource
from faceanim_cli.media.frame_writer import FrameWriter
from faceanim_cli.media.output_checks import check_not_input, check_writable
from faceanim_cli.media.output_formats import Encoding, check_output, open_output, playable_rate
from faceanim_cli.media.own_files import is_ours
from faceanim_cli.media.photo_colours import is_grey
from faceanim_cli.media.photos import check_photo, check_photo_output, read_photo, write_photo
from faceanim_cli.media.video_reader import VideoReader
from faceanim_cli.media.video_writer import VideoWriter

__all__ = [
    "Encoding",
    "FrameFolder",
    "FrameSource",
    "FrameWriter",
    "VideoReader",
    "VideoWriter",
    "check_not_input",
    "check_output",
    "check_photo",
    "check_photo_output",
    "check_writable",
    "is_grey",
    "is_ours",
    "open_output",
    "open_video",
    "playable_rate",
    "read_photo",
    "remove_leftovers",
    "whole_file",
    "write_photo",
]
