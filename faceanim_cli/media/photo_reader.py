"""Photos: whatever a phone, a scanner or a designer saved becomes uint8 RGB, upright, in sRGB."""

import io
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, ImageCms, UnidentifiedImageError
from PIL import Image as PillowImage

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media.signatures import PHOTO, RAW, VIDEO, is_heic, kind_of, read_head
from faceanim_cli.pictures import Image

MAX_PIXELS = 100_000_000  # 300 MB of RGB; the largest phone sensors give 200 MP only in a special mode

# Opened by name: among Pillow's others is PostScript, which starts Ghostscript whatever the file's suffix.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "PSD", "ICO", "TGA")

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_BIT_DEPTH, PNG_COLOUR_TYPE = 24, 25  # offsets of the two bytes in the IHDR chunk


def read_photo(path: str | os.PathLike[str]) -> Image:
    """Read a photo as people see it.

    EXIF (and XMP) orientation is applied. Transparency is laid over white: cut-out portraits are made to be
    seen on a page, and the colour stored under transparent pixels is arbitrary, often black. 16-bit samples
    are scaled, not clipped. Colour profiles (Display P3, Adobe RGB, CMYK presses) are converted to sRGB.
    Of an animation the first frame is taken.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, GIF or anything else that Pillow decodes.

    Returns:
        uint8 RGB in [0, 255], shape (H, W, 3), contiguous, writable.

    Raises:
        UnreadableInputError: missing, empty, truncated, a folder, a video, more than ``MAX_PIXELS``, or
            no photo at all.
    """
    path = Path(path)
    head = read_head(path, "photo")
    kind = kind_of(head)
    if kind == VIDEO:
        raise UnreadableInputError(
            f"cannot read the photo {path}: it is a video; are photo and driving video swapped?"
        )
    if kind.startswith(RAW):
        raise UnreadableInputError(f"cannot read the photo {path}: it is {kind}; export it as JPEG")
    if kind not in ("", PHOTO):
        raise UnreadableInputError(f"cannot read the photo {path}: it is {kind}; give a JPEG or a PNG")
    if is_heic(head):
        raise UnreadableInputError(f"cannot read the photo {path}: HEIC is not supported; save it as JPEG")
    try:
        # The size is ours to judge, a few lines below; Pillow's warning would only clutter stderr.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            with PillowImage.open(path, formats=_formats()) as image:
                _check_size(path, *image.size)
                image.load()
                return _upright(_to_rgb(image, path, head), _orientation(image))
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


def _formats() -> list[str]:
    PillowImage.init()
    return [name for name in FORMATS if name in PillowImage.OPEN]  # AVIF: since 11.3


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableInputError(
            f"cannot read the photo {path}: {width}x{height} is more than {MAX_PIXELS // 10**6} megapixels; "
            "make it smaller"
        )


def _to_rgb(image: PillowImage.Image, path: Path, head: bytes) -> Image:
    """Decoded image of any mode to uint8 (H, W, 3), still as the sensor lay."""
    if _is_16_bit_colour_png(head):
        rgb = PillowImage.fromarray(_read_16_bit_colour(path))
    elif image.mode.startswith("I"):  # "I;16" and its byte orders; older Pillow says "I" for a 16-bit PNG
        grey = _eight_bits(np.clip(np.asarray(image), 0, 65535).astype(np.uint32))
        rgb = PillowImage.fromarray(grey).convert("RGB")
    elif image.mode == "F":
        raise UnreadableInputError(f"cannot read the photo {path}: it has float samples; save it as PNG")
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = PillowImage.new("RGBA", rgba.size, (255, 255, 255, 255))
        rgb = PillowImage.alpha_composite(white, rgba).convert("RGB")
    else:
        rgb = image.convert("RGB")
    return np.array(_to_srgb(image, rgb))


def _to_srgb(image: PillowImage.Image, rgb: PillowImage.Image) -> PillowImage.Image:
    """``rgb`` after the colour profile that ``image`` carries, or as it is if there is none that fits."""
    profile = image.info.get("icc_profile")
    if not profile:
        return rgb
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return rgb  # a round trip through the colour engine would only add rounding
        pixels = image if image.mode == "CMYK" else rgb
        converted = ImageCms.profileToProfile(
            pixels, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return rgb  # a broken profile, or a grey one: slightly wrong colours beat no photo
    return converted or rgb


def _is_16_bit_colour_png(head: bytes) -> bool:
    """Pillow opens these, but drops the low byte (a shift instead of a division), hence OpenCV."""
    return (
        head.startswith(PNG_SIGNATURE)
        and len(head) > PNG_COLOUR_TYPE
        and head[PNG_BIT_DEPTH] == 16
        and head[PNG_COLOUR_TYPE] in (2, 6)  # RGB, RGBA
    )


def _read_16_bit_colour(path: Path) -> Image:
    # imdecode and not imread: the latter cannot open non-ASCII paths on Windows
    decoded = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise OSError("a 16-bit PNG that OpenCV cannot decode")
    bgr = decoded[..., :3].astype(np.uint32)
    if decoded.shape[2] == 4:
        alpha = decoded[..., 3:].astype(np.uint32)
        bgr = (bgr * alpha + 65535 * (65535 - alpha) + 32767) // 65535  # over white, rounded; below 2**32
    return np.ascontiguousarray(_eight_bits(bgr)[..., ::-1])


def _eight_bits(samples: npt.NDArray[np.uint32]) -> Image:
    """[0, 65535] to [0, 255], rounded: 65535 = 257 * 255."""
    return ((samples + 128) // 257).astype(np.uint8)


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
