"""Reads photos as upright uint8 RGB in sRGB, and writes PNG and JPEG."""

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, TiffImagePlugin, UnidentifiedImageError, features
from PIL import Image as PillowImage

from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.media.atomic_file import whole_file
from faceanim_cli.media.metadata import SOFTWARE
from faceanim_cli.media.output_checks import check_not_input, check_writable
from faceanim_cli.media.photo_colours import to_srgb
from faceanim_cli.media.signatures import (
    PHOTO,
    RAW,
    REDUCED,
    SUBFILE_TYPE,
    VIDEO,
    is_avif,
    is_heic,
    kind_of,
    raw_kind,
    read_head,
)
from faceanim_cli.pictures import Image

MAX_PIXELS = 178_000_000  # 530 MB of RGB; phones give 108 MP. Pillow itself refuses more than 178.9

# Opened by name: among Pillow's others is PostScript, which starts Ghostscript whatever the file's suffix.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "PSD", "ICO", "TGA")
MOST_PAGES = 100  # of a TIFF

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_BIT_DEPTH, PNG_COLOUR_TYPE = 24, 25  # offsets of the two bytes in the IHDR chunk

JPEG_QUALITY = 95
WRITTEN = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def read_photo(path: str | os.PathLike[str]) -> Image:
    """Read a photo as people see it.

    EXIF (and XMP) orientation is applied. Transparency is laid over white: cut-out portraits are made to be
    seen on a page, and the colour stored under transparent pixels is arbitrary, often black. 16-bit samples
    are scaled, not clipped. Colours are converted to sRGB by the photo's profile, whatever its kind (Display
    P3, Adobe RGB, grey, linear, CMYK presses). Of an animation the first frame is taken.

    Args:
        path: one of ``FORMATS``, told by its contents; HEIC where pi-heif is installed.

    Returns:
        uint8 RGB in [0, 255], shape (H, W, 3), contiguous, writable.

    Raises:
        UnreadableInputError: missing, empty, truncated, a folder, a video, more than ``MAX_PIXELS``, or
            no photo at all.
    """
    path = Path(path)
    with _opened(path) as (image, head):
        image.load()
        if image.mode == "F":
            raise UnreadableInputError(f"cannot read the photo {path}: it has float samples; save it as PNG")
        deep = _read_16_bit_colour(path) if _is_16_bit_colour_png(head) else None
        return _upright(to_srgb(image, deep), _orientation(image))


def check_photo(path: str | os.PathLike[str]) -> None:
    """Refuse what ``read_photo`` will refuse, by the file's header alone: damage further in is not seen.

    Raises:
        UnreadableInputError: as ``read_photo``.
    """
    with _opened(Path(path)):
        pass


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
    kind = WRITTEN[Path(path).suffix.lower()]
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
    if Path(path).suffix.lower() not in WRITTEN:
        raise UsageError(f"cannot write {path}: name it .png or .jpg")
    check_writable(path)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[PillowImage.Image, bytes]]:
    """The photo, not decoded yet, and its first bytes; whatever Pillow raises meanwhile becomes one line."""
    head = read_head(path, "photo")
    reason = _refusal(path, head)
    if reason:
        raise UnreadableInputError(f"cannot read the photo {path}: {reason}")
    try:
        # Sizes and damage are ours to judge; Pillow's warnings would only clutter stderr.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PillowImage.open(path, formats=_formats(is_heic(head))) as image:
                _choose_page(image)
                _check_size(path, *image.size)
                yield image, head
    except UnreadableInputError:
        raise
    except PillowImage.DecompressionBombError as error:
        raise UnreadableInputError(
            f"cannot read the photo {path}: more than {MAX_PIXELS // 10**6} megapixels; make it smaller"
        ) from error
    except UnidentifiedImageError as error:
        raise UnreadableInputError(
            f"cannot read the photo {path}: its contents are no photo; give a JPEG or a PNG"
        ) from error
    except Exception as error:  # Pillow's plugins raise almost anything on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableInputError(
            f"cannot read the photo {path}: it is damaged ({reason}); copy or download it again"
        ) from error


def _refusal(path: Path, head: bytes) -> str:
    """Why a file is no photo that can be read, by its kind; empty if it may be one."""
    kind = kind_of(head)
    raw = raw_kind(path)
    if raw:
        kind = f"{RAW} ({raw})"
    if kind == VIDEO:
        return "it is a video; are photo and driving video swapped?"
    if kind.startswith(RAW):
        return f"it is {kind}; export it as JPEG"
    if kind not in ("", PHOTO):
        return f"it is {kind} and no photo; give a JPEG or a PNG"
    if is_heic(head) and find_spec("pi_heif") is None:
        return (
            "it is HEIC, for which pi-heif is missing: pip install 'faceanim-cli[heic]', or save it as JPEG"
        )
    if is_avif(head) and not features.check("avif"):
        return "it is AVIF, for which Pillow is too old: pip install -U pillow, or save it as JPEG"
    return ""


def _choose_page(image: PillowImage.Image) -> None:
    """Of a TIFF that begins with a preview of a later picture, go to the largest."""
    if (
        not isinstance(image, TiffImagePlugin.TiffImageFile)
        or not image.tag_v2.get(SUBFILE_TYPE, 0) & REDUCED
    ):
        return
    sizes = []
    for page in range(min(image.n_frames, MOST_PAGES)):
        image.seek(page)
        sizes.append(image.width * image.height)
    image.seek(int(np.argmax(sizes)))


def _formats(heic: bool) -> list[str]:
    PillowImage.init()
    if heic:
        import_module("pi_heif").register_heif_opener()
        return ["HEIF"]
    return [name for name in FORMATS if name in PillowImage.OPEN]  # AVIF: since 11.3


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableInputError(
            f"cannot read the photo {path}: {width}x{height} is more than {MAX_PIXELS // 10**6} megapixels; "
            "make it smaller"
        )


def _is_16_bit_colour_png(head: bytes) -> bool:
    """Pillow opens these, but drops the low byte (a shift instead of a division), hence OpenCV."""
    return (
        head.startswith(PNG_SIGNATURE)
        and len(head) > PNG_COLOUR_TYPE
        and head[PNG_BIT_DEPTH] == 16
        and head[PNG_COLOUR_TYPE] in (2, 4, 6)  # RGB, grey with alpha, RGBA
    )


def _read_16_bit_colour(path: Path) -> npt.NDArray[np.uint16]:
    """RGB (H, W, 3) or RGBA (H, W, 4)."""
    # imdecode and not imread: the latter cannot open non-ASCII paths on Windows
    decoded = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise OSError("a 16-bit PNG that OpenCV cannot decode")
    order = [2, 1, 0, 3][: decoded.shape[2]]
    return np.asarray(decoded[..., order], np.uint16)


def _orientation(image: PillowImage.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF is no reason to refuse a photo whose pixels are whole
        return 1


def _upright(pixels: Image, orientation: int) -> Image:
    """Undo the EXIF orientation (1..8, TIFF 6.0 tag 274): which edges row 0 and column 0 show."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
