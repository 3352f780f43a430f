"""Frames larger than the networks paint them, with the detail that the photo itself has at that size.

Eq. 1 and 2 of the paper at the result's size: what the networks make of the small E is enlarged, and of the
photo as large as the result the high band is warped, what the small one cannot show. It is added only where
the frame is the warped photo: detail would shine through what is painted.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from faceanim_models.geometry import identity_grid, in_full_precision, resize_grid

AGREES = 0.04  # a difference to the warped photo, of 1, at which a third of its detail is left
BLUR = 5  # pixels of the small frame: that difference is a mean over so many a side


def high_band(photo: Tensor, small: int) -> Tensor:
    """What a photo (B, 3, S, S) shows beyond one of ``small`` pixels a side; once for all frames."""
    with in_full_precision(photo):
        shrunk = F.interpolate(photo.float(), (small, small), mode="area")  # as networks are given it
        return photo - F.interpolate(shrunk, photo.shape[-2:], mode="bicubic")


def with_photo_detail(
    image: Tensor, warped: Tensor, mask: Tensor | None, grid: Tensor, band: Tensor
) -> Tensor:
    """The frames at the photo's size: (B, 3, S, S), up to a little overshoot in [0, 1].

    Args:
        image: frames I as the networks paint them, (B, 3, s, s).
        warped: E, (B, 3, s, s).
        mask: M, (B, 1, s, s): 1 where pixels are repainted; None where networks do not tell.
        grid: F, (B, h, w, 2): where each pixel of the frame is found in the photo, corners aligned.
        band: of the photo, (1, 3, S, S), as ``high_band`` makes it. Its pixels are areas of the same square
            as those of the photo that the networks saw: pixel p of s lies at (p + 0.5) S / s - 0.5.
    """
    with in_full_precision(image):
        small, large = image.shape[-1], band.shape[-1]
        around = F.pad(difference(image, warped), (BLUR // 2,) * 4, mode="replicate")
        share = share_of_photo(F.avg_pool2d(around, BLUR, stride=1), mask)
        band = band.expand(len(image), -1, -1, -1)
        at = enlarged_grid(grid, small, large)
        detail = F.grid_sample(band, at, padding_mode="border", align_corners=True)
        base = F.interpolate(image.float(), (large, large), mode="bicubic")
        return torch.addcmul(base, F.interpolate(share, (large, large), mode="bilinear"), detail)


def enlarged_grid(grid: Tensor, small: int, large: int) -> Tensor:
    """A sampling grid for pictures of ``small`` pixels a side as one for ``large``: (B, large, large, 2).

    It moves as far in pixels of the picture, and one that changes nothing changes nothing.
    """
    shift = F.interpolate(pixel_shift(grid, small), (large, large), mode="bilinear").permute(0, 2, 3, 1)
    # -1 and 1 are the outermost pixels' centres: not quite the same places at both sizes.
    return identity_grid(large, large, grid) + shift * (2 / small * large / (large - 1))


def pixel_shift(grid: Tensor, small: int) -> Tensor:
    """How far a sampling grid moves each pixel of a picture of ``small`` a side, in pixels: (B, 2, s, s)."""
    shift = resize_grid(grid.float(), small, small) - identity_grid(small, small, grid)
    return shift.permute(0, 3, 1, 2) * ((small - 1) / 2)


def difference(image: Tensor, warped: Tensor) -> Tensor:
    """Between frames and the warped photo, pixel by pixel, (B, 1, s, s)."""
    return (image.float() - warped.float()).abs().mean(1, keepdim=True)


def share_of_photo(near: Tensor, mask: Tensor | None) -> Tensor:
    """How far the frame is the warped photo, (B, 1, s, s) in [0, 1].

    Args:
        near: ``difference``, a mean over BLUR pixels a side.
        mask: as of ``with_photo_detail``.
    """
    share = torch.exp(-(near / AGREES).square())
    return share if mask is None else share * (1 - mask.float()).clamp_min(0).sqrt()
