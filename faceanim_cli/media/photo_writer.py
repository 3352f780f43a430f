"""A picture to a PNG or JPEG file, whole or not at all."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import ExifTags
from PIL import Image as PillowImage

from faceanim_cli.errors import UsageError
from faceanim_cli.media.atomic_file import whole_file
from faceanim_cli.media.metadata import SOFTWARE
from faceanim_cli.media.output_checks import check_not_input, check_writable
from faceanim_cli.pictures import Image

JPEG_QUALITY = 95
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def write_photo(path: str | os.PathLike[str], image: Image) -> None:
    """Write uint8 RGB (H, W, 3) as PNG or JPEG, chosen by the suffix, whole or not at all.

    Raises:
        ValueError: the image is not uint8 (H, W, 3).
        UsageError: the suffix is neither .png nor .jpg/.jpeg, or the place cannot be written.
        FaceanimError: writing failed (disk full).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"an image is uint8 (H, W, 3), not {image.dtype} {image.shape}")
    check_photo_output(path)
    kind = FORMATS[Path(path).suffix.lower()]
    exif = PillowImage.Exif()
    exif[ExifTags.Base.Software] = SOFTWARE
    encoded = io.BytesIO()  # Pillow does not notice when a full disk takes only half of a JPEG
    # subsampling=0: halved chroma smears lips and eyes; PNG ignores both options
    picture = PillowImage.fromarray(image)
    picture.save(encoded, kind, quality=JPEG_QUALITY, subsampling=0, exif=exif)
    with whole_file(path) as partial:
        partial.write_bytes(encoded.getbuffer())


def check_photo_output(path: str | os.PathLike[str], *inputs: Path) -> None:
    """Refuse, before any work, what ``write_photo`` cannot write, or what would take the place of an input.

    Raises:
        UsageError: it is one of the inputs, or as ``write_photo``.
    """
    check_not_input(path, *inputs)
    if Path(path).suffix.lower() not in FORMATS:
        raise UsageError(f"cannot write {path}: name it .png or .jpg")
    check_writable(path)
