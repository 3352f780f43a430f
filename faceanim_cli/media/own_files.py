"""Tells files that faceanim wrote, which it may replace without asking."""

import re
import warnings
from pathlib import Path

from PIL import ExifTags, UnidentifiedImageError
from PIL import Image as PillowImage

from faceanim_cli.files import parse_json
from faceanim_cli.media.ffmpeg import input_arguments, run

PICTURES = ("PNG", "JPEG", "GIF", "WEBP")  # that are written
OURS = re.compile(r'(?:^|"|animated by )faceanim \d', re.MULTILINE)
FRAME_NAME = re.compile(r"\d{6,}\.png")
# What systems put into any folder that someone looks at.
LITTER = re.compile(r"\._.*|\.ds_store|\.localized|\.directory|(eh)?thumbs\.db|desktop\.ini", re.IGNORECASE)
LONGEST_HEADER = 1 << 20  # bytes of a motion file's; ours are far shorter


def is_ours(path: Path) -> bool:
    """Whether nothing of others is lost by writing ``path`` anew: it is not there, or says that we wrote it.

    Videos, GIFs and WebPs say so in their comment, pictures name their software, motion files their kind,
    and a folder of frames is as its frames say. What cannot be read is not ours.
    """
    try:
        if path.is_dir():
            return first_foreign(path) is None
        return not path.exists() or OURS.search(told_origin(path)) is not None
    except OSError:
        return False


def first_foreign(folder: Path) -> str | None:
    """The name of a file in ``folder`` that is no frame of ours, nor what systems leave in any folder.

    Raises:
        OSError: the folder cannot be read.
    """
    files = sorted(file for file in folder.iterdir() if not LITTER.fullmatch(file.name))
    for file in files:
        if not FRAME_NAME.fullmatch(file.name):
            return file.name
    return next((file.name for file in files if OURS.search(_picture_origin(file) or "") is None), None)


def told_origin(path: Path) -> str:
    """What the file says about where it comes from: comments, tags, XMP, in any order; may be empty."""
    said = _picture_origin(path)
    if said is None:
        said = _motion_origin(path)
    return run([*input_arguments(path), "-f", "ffmetadata", "-"])[1] if said is None else said


def _picture_origin(path: Path) -> str | None:
    """Comments, software and XMP of a picture; None if it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its size: no pixel is decoded
            with PillowImage.open(path, formats=PICTURES) as picture:
                told = [str(picture.getexif().get(ExifTags.Base.Software, ""))]
                for value in picture.info.values():
                    told.append(value.decode(errors="replace") if isinstance(value, bytes) else str(value))
    except (UnidentifiedImageError, PillowImage.DecompressionBombError, SyntaxError, ValueError, OSError):
        return None
    return "\n".join(told)


def _motion_origin(path: Path) -> str | None:
    """The mark of a motion file, a safetensors header; None if it is none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= LONGEST_HEADER:
            return None
        header = file.read(length)
    try:
        return "faceanim 1" if "faceanim_motion" in parse_json(header)["__metadata__"] else ""
    except (ValueError, KeyError, TypeError):
        return None
