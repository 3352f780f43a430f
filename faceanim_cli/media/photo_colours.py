"""Converts photos of any mode, depth and ICC profile to sRGB."""

import io
import logging
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageCms

from faceanim_cli.pictures import Image

SRGB_GAMMA = 0.45455  # of a PNG's gAMA chunk: what says no more than sRGB does
# Levels: chroma of a grey photo that went through JPEG, for blocks of 8 x 8 pixels and for single ones.
GREY_BLOCKS, GREY_PIXELS = 3.0, 16

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # by an ICC profile's colour space
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

logger = logging.getLogger(__name__)


def to_srgb(image: PillowImage.Image, deep: npt.NDArray[np.uint16] | None = None) -> Image:
    """A decoded picture of any mode to uint8 RGB (H, W, 3) in sRGB, transparency over white.

    Args:
        image: loaded; its ``info`` has the profile (and, of a PNG, the gamma).
        deep: the same picture with 16 bits, RGB (H, W, 3) or RGBA (H, W, 4), where Pillow has only 8.
    """
    if deep is not None:
        alpha = None if deep.shape[2] == 3 else deep[..., 3]
        rgb = _of_16_bits(deep[..., :3], image)
        return rgb if alpha is None else _over_white(rgb, alpha, 65535)
    if image.mode.startswith("I"):  # "I;16" and its byte orders; older Pillow says "I" for a 16-bit PNG
        return _of_16_bits(np.clip(np.asarray(image), 0, 65535).astype(np.uint16), image)
    if image.mode in ("PA", "La", "RGBa") or (image.mode == "P" and "transparency" in image.info):
        image = _with_info(image.convert("LA" if image.mode == "La" else "RGBA"), image)
    elif "transparency" in image.info and image.mode in ("1", "L", "RGB"):
        image = _with_info(image.convert("LA" if image.mode in ("1", "L") else "RGBA"), image)
    alpha = np.asarray(image.getchannel("A"), np.uint16) if image.mode in ("LA", "RGBA") else None
    if image.mode in ("LA", "1"):
        colours = image.convert("L")
    elif image.mode in ("L", "RGB", "CMYK", "LAB"):
        colours = image
    else:
        colours = image.convert("RGB")
    if _has_gamma(image):
        rgb = _of_16_bits(np.asarray(colours).astype(np.uint16) * 257, image)
    else:
        rgb = _converted(colours, image.info.get("icc_profile"))
    return rgb if alpha is None else _over_white(rgb, alpha, 255)


def is_grey(image: Image) -> bool:
    """Whether a photo is black and white: its channels are equal, but for the noise that JPEG's chroma has.

    Args:
        image: uint8 RGB (H, W, 3). A tint over all of it, as of sepia, is a colour.
    """
    levels = image.astype(np.int16)
    chroma = np.stack([levels[..., 0] - levels[..., 1], levels[..., 2] - levels[..., 1]], axis=-1)
    if np.percentile(np.abs(chroma), 99.9) > GREY_PIXELS:
        return False
    height, width = image.shape[:2]
    blocks = (max(1, width // 8), max(1, height // 8))
    averaged = cv2.resize(chroma.astype(np.float32), blocks, interpolation=cv2.INTER_AREA)
    return bool(np.percentile(np.abs(averaged), 99.5) <= GREY_BLOCKS)


def _with_info(image: PillowImage.Image, of: PillowImage.Image) -> PillowImage.Image:
    """A converted picture with what was stored beside the one that it was converted from."""
    image.info = {name: value for name, value in of.info.items() if name != "transparency"}
    return image


def _of_16_bits(samples: npt.NDArray[np.uint16], image: PillowImage.Image) -> Image:
    """Grey (H, W) or RGB (H, W, 3) in [0, 65535] to sRGB."""
    profile = image.info.get("icc_profile")
    if _has_gamma(image):
        samples = _encoded(np.linspace(0, 1, 65536) ** (1 / image.info["gamma"]))[samples]
    elif profile:
        linear = _of_linear_light(samples, profile)
        if linear is not None:
            return linear
    return _converted(PillowImage.fromarray(_eight_bits(samples)), profile)


def _converted(pixels: PillowImage.Image, profile: bytes | None) -> Image:
    """Grey, RGB, CMYK or Lab to sRGB, by its ICC profile if there is one that fits."""
    converted = _by_profile(pixels, profile) if profile else None
    if converted is None and pixels.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(pixels, lab, _SRGB, outputMode="RGB")
    return np.array(converted or pixels.convert("RGB"))


def _by_profile(pixels: PillowImage.Image, profile: bytes) -> PillowImage.Image | None:
    """None if the profile is broken, is for another kind of picture, or says what sRGB says."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _mode(source)
        if mode == "L" and pixels.mode == "RGB" and _channels_are_equal(pixels):
            pixels = pixels.getchannel("R")
        if mode != pixels.mode:
            return None
        if mode == "L":
            return PillowImage.fromarray(_grey_levels(source)[np.asarray(pixels)])
        transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB")
        if mode == "RGB" and _changes_nothing(transform):
            return None  # a round trip through the colour engine would only add rounding
        return ImageCms.applyTransform(pixels, transform)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:  # slightly wrong colours beat no photo
        logger.info("a colour profile cannot be used (%s); sRGB is assumed", error)
        return None


def _of_linear_light(samples: npt.NDArray[np.uint16], profile: bytes) -> Image | None:
    """16-bit samples of a profile whose curves are straight lines; None for any other.

    The colour engine behind Pillow takes 8 bits, which in linear light are steps of 13 levels in the shadows.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _mode(source)
        if mode != ("L" if samples.ndim == 2 else "RGB"):
            return None
        shown = _grey_levels(source)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    straight = _eight_bits(_encoded(np.linspace(0, 1, 256)))[:, None]
    if np.abs(shown.astype(np.int16) - straight).max() > 2:
        return None
    if mode == "L":
        return np.repeat(_eight_bits(_encoded(np.linspace(0, 1, 65536)))[samples][..., None], 3, -1)
    matrix = np.linalg.solve(_colorants(_SRGB), _colorants(source))  # from linear RGB to linear sRGB
    rows = (row.astype(np.float32) @ (matrix.T / 65535).astype(np.float32) for row in samples)
    return np.stack([_eight_bits(_encoded(row.clip(0, 1))) for row in rows])


def _mode(profile: ImageCms.ImageCmsProfile) -> str | None:
    """Pillow's mode of the pictures that a profile is for."""
    return _MODES.get(str(profile.profile.xcolor_space).strip())


def _colorants(profile: ImageCms.ImageCmsProfile) -> npt.NDArray[np.float64]:
    """XYZ of the three primaries, in columns.

    Raises:
        ValueError: the profile has none.
    """
    core = profile.profile
    columns = (core.red_colorant, core.green_colorant, core.blue_colorant)
    if any(column is None for column in columns):
        raise ValueError("the profile has no primaries")
    return np.array([column[0] for column in columns if column is not None]).T


def _grey_levels(source: ImageCms.ImageCmsProfile) -> Image:
    """sRGB (256, 3) of each grey level of a profile for grey or RGB pictures."""
    ramp = PillowImage.fromarray(np.arange(256, dtype=np.uint8)[None])
    mode = _mode(source) or ""
    # without optimising: LittleCMS's tables for grey have too few points for linear light
    transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB", flags=ImageCms.Flags.NOOPTIMIZE)
    return np.array(ImageCms.applyTransform(ramp.convert(mode), transform)).reshape(256, 3)


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether an RGB profile is sRGB, whatever its name: a grid of colours comes out as it went in."""
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    given = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    shown = np.asarray(ImageCms.applyTransform(PillowImage.fromarray(given), transform), np.int16)
    return bool(np.abs(shown - given).max() <= 1)


def _channels_are_equal(pixels: PillowImage.Image) -> bool:
    levels = np.asarray(pixels)
    return bool((levels == levels[..., :1]).all())


def _has_gamma(image: PillowImage.Image) -> bool:
    """Whether a PNG's gAMA chunk, and nothing better, says that samples are not encoded as in sRGB."""
    if "icc_profile" in image.info or "srgb" in image.info:
        return False
    gamma = image.info.get("gamma", SRGB_GAMMA)
    return 0.05 < gamma < 5 and abs(gamma / SRGB_GAMMA - 1) > 0.05 and image.format == "PNG"


def _encoded(linear: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint16]:
    """Light in [0, 1] as sRGB encodes it, in [0, 65535] (IEC 61966-2-1)."""
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(encoded * 65535), np.uint16)


def _eight_bits(samples: npt.NDArray[np.uint16]) -> Image:
    """[0, 65535] to [0, 255], rounded: 65535 = 257 * 255."""
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _over_white(rgb: Image, alpha: npt.NDArray[np.uint16], opaque: int) -> Image:
    weight = alpha.astype(np.uint32)[..., None]
    return ((rgb * weight + 255 * (opaque - weight) + opaque // 2) // opaque).astype(np.uint8)
