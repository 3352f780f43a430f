"""From pictures to what the networks take, and back."""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from faceanim_cli.animation.transfer import Download, Transfer
from faceanim_cli.faces import Box, crop_image
from faceanim_cli.pictures import Image


def check_image(image: Image) -> None:
    """Raise ValueError for what is no uint8 (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")


def cut(image: Image, crop: Box | None, side: int) -> Image:
    """That crop of an image, in its pixels, at ``side`` x ``side``; None is the whole of it."""
    return scaled(image, (side, side)) if crop is None else crop_image(image, crop, side)


def scaled(image: Image, size: tuple[int, int]) -> Image:
    """An image at that size, (width, height); where a side shrinks, pixels are averaged."""
    shrinks = size[0] < image.shape[1] or size[1] < image.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


def to_batch(images: list[Image], transfer: Transfer) -> Tensor:
    """uint8 images of one size to (B, 3, H, W) in [0, 1]; channels_last, as pixels lie that way."""
    pixels = transfer.upload(torch.from_numpy(np.stack(images)))
    return pixels.permute(0, 3, 1, 2).float() / 255


def to_frames(pictures: Tensor, side: int, transfer: Transfer) -> Download:
    """(B, 3, S, S), clamped to [0, 1], to uint8 images (B, side, side, 3)."""
    if pictures.shape[-1] != side:
        shrinks = side < pictures.shape[-1]
        pictures = F.interpolate(pictures, (side, side), mode="bicubic", antialias=shrinks)
    levels = (pictures.clamp(0, 1) * 255).round().to(torch.uint8)
    return transfer.download(levels.permute(0, 2, 3, 1).contiguous())
