"""Frames larger than the networks paint them, with the detail that the photo itself has at that size.

Eq. 1 and 2 of the paper at the result's size: E is warped from the photo as large as the result, and what
the networks make of the small E is enlarged. Of the large E only the high band is taken, what the small one
cannot show, and only where the frame is the warped photo: detail would shine through what is painted.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from faceanim_models.geometry import identity_grid, in_full_precision, resize_grid

AGREES = 0.04  # a difference to the warped photo, of 1, at which a third of its detail is left
BLUR = 5  # pixels of the small frame: that difference is a mean over so many a side


def with_photo_detail(
    image: Tensor, warped: Tensor, mask: Tensor | None, grid: Tensor, photo: Tensor
) -> Tensor:
    """The frames at the photo's size: (B, 3, S, S), up to a little overshoot in [0, 1].

    Args:
        image: frames I as the networks paint them, (B, 3, s, s).
        warped: E, (B, 3, s, s).
        mask: M, (B, 1, s, s): 1 where pixels are repainted; None where networks do not tell.
        grid: F, (B, h, w, 2): where each pixel of the frame is found in the photo, corners aligned.
        photo: (1, 3, S, S), S at least s. Its pixels are areas of the same square as those of the photo that
            the networks saw: pixel p of s lies at (p + 0.5) S / s - 0.5.
    """
    with in_full_precision(image):
        small, large = image.shape[-1], photo.shape[-1]
        image = image.float()
        share = _share_of_photo(image, warped.float(), mask)
        enlarged = photo.expand(len(image), -1, -1, -1)
        fine = F.grid_sample(
            enlarged, enlarged_grid(grid, small, large), padding_mode="border", align_corners=True
        )
        low = F.interpolate(fine, (small, small), mode="area")  # as the photo was made small
        both = F.interpolate(torch.cat((image, low)), (large, large), mode="bicubic", antialias=True)
        base, low = both.chunk(2)
        return torch.addcmul(base, F.interpolate(share, (large, large), mode="bilinear"), fine - low)


def enlarged_grid(grid: Tensor, small: int, large: int) -> Tensor:
    """A sampling grid for pictures of ``small`` pixels a side as one for ``large``: (B, large, large, 2).

    It moves as far in pixels of the picture, and one that changes nothing changes nothing.
    """
    still = identity_grid(small, small, grid)
    shift = (resize_grid(grid.float(), small, small) - still).permute(0, 3, 1, 2)
    shift = F.interpolate(shift, (large, large), mode="bilinear").permute(0, 2, 3, 1)
    # -1 and 1 are the outermost pixels' centres: not quite the same places at both sizes.
    return identity_grid(large, large, grid) + shift * ((small - 1) / small * large / (large - 1))


def _share_of_photo(image: Tensor, warped: Tensor, mask: Tensor | None) -> Tensor:
    """How far the frame is the warped photo, (B, 1, s, s) in [0, 1]."""
    painted = (image - warped).abs().mean(1, keepdim=True)
    near = F.avg_pool2d(painted, BLUR, stride=1, padding=BLUR // 2, count_include_pad=False)
    share = torch.exp(-(near / AGREES).square())
    return share if mask is None else share * (1 - mask.float()).clamp_min(0).sqrt()
