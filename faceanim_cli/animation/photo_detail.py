"""``faceanim_models.photo_detail`` on a CPU, by OpenCV: to the level, in a fifth of the time."""

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceanim_cli.animation.networks import Painted
from faceanim_cli.pictures import Floats
from faceanim_models.photo_detail import BLUR, difference, pixel_shift, share_of_photo


def detailed_frames(painted: Painted, band: Tensor) -> npt.NDArray[np.uint8]:
    """Frames with the photo's detail, uint8 (B, S, S, 3).

    Args:
        painted: a batch, on the CPU.
        band: of the photo, (1, 3, S, S), as ``high_band`` makes it.
    """
    image, warped, mask, grid = painted
    small, large = image.shape[-1], band.shape[-1]
    size = (large, large)
    columns = np.arange(large, dtype=np.float32)
    still = np.stack(np.meshgrid(columns, columns), axis=-1)  # the place of each pixel, (S, S, 2)
    no_map = np.empty(0, np.float32)  # places hold x and y
    bands = _interleaved(band[0])
    near = torch.from_numpy(np.stack([_blurred(frame) for frame in difference(image, warped)]))
    shares = 255 * share_of_photo(near[:, None], mask)
    shifts = pixel_shift(grid, small) * (large / small)
    frames = np.empty((len(image), large, large, 3), np.uint8)
    for frame, picture, share, shift in zip(frames, 255 * image.float(), shares, shifts, strict=True):
        places = cv2.add(still, cv2.resize(_interleaved(shift), size))
        detail = cv2.remap(bands, places, no_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shown = cv2.multiply(detail, cv2.resize(_interleaved(share.expand(3, -1, -1)), size))
        base = cv2.resize(_interleaved(picture), size, interpolation=cv2.INTER_CUBIC)
        cv2.add(base, shown, frame, dtype=cv2.CV_8U)  # rounded, and cut off at 0 and 255
    return frames


def _blurred(plane: Tensor) -> Floats:
    """(1, s, s) to (s, s)."""
    return np.asarray(cv2.blur(plane[0].numpy(), (BLUR, BLUR), borderType=cv2.BORDER_REPLICATE))


def _interleaved(planes: Tensor) -> Floats:
    """(C, H, W) to (H, W, C)."""
    return np.asarray(cv2.merge([plane.numpy() for plane in planes.float().contiguous()]))
