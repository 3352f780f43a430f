"""``faceanim_models.photo_detail`` on a CPU, by OpenCV: to the level, in a fifth of the time."""

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceanim_cli.animation.networks import Painted
from faceanim_cli.pictures import Floats, Image
from faceanim_models.detail_refiner import DetailRefiner, PatchCode
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


def refine_frames(
    frames: npt.NDArray[np.uint8], refiner: DetailRefiner, keypoints: Tensor, codes: list[PatchCode]
) -> None:
    """Paint eyes and mouth of frames again, in place: ``DetailRefiner.forward`` on uint8 (B, S, S, 3)."""
    side = frames.shape[1]
    for number, (kind, places, code) in enumerate(
        zip(refiner.settings.patches, refiner.patches(keypoints), codes, strict=True)
    ):
        height, width = kind.pixels
        # From a patch's pixels to the frame's, (B, N, 2, 3).
        scale = torch.tensor([2 / (width - 1), 2 / (height - 1)])
        linear = places.axes * scale * ((side - 1) / 2)
        corner = (places.centres - places.axes.sum(-1) + 1) * ((side - 1) / 2)
        matrices = torch.cat((linear, corner[..., None]), dim=-1).double().numpy()
        shown = [
            [_patch(frame, matrix, (width, height)) for matrix in each]
            for frame, each in zip(frames, np.nan_to_num(matrices, posinf=0, neginf=0), strict=True)
        ]
        patches = torch.from_numpy(np.array(shown)).permute(0, 1, 4, 2, 3).float() / 255
        added = refiner.change(number, patches.contiguous(), keypoints, places, code)
        for frame, changes, each in zip(frames, 255 * added, matrices, strict=True):
            for change, matrix in zip(changes, each, strict=True):
                if np.isfinite(matrix).all():  # what is not a number is nowhere
                    _add_patch(frame, _interleaved(change), matrix)


def _patch(frame: Image, matrix: npt.NDArray[np.float64], size: tuple[int, int]) -> Image:
    """The patch of that width and height that ``matrix`` lays into a frame."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def _add_patch(frame: Image, change: Floats, matrix: npt.NDArray[np.float64]) -> None:
    """Add a patch to the rectangle of the frame that it lies in."""
    height, width = change.shape[:2]
    corners = matrix @ [[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]]
    last = frame.shape[0] - 1
    (x, y), (right, bottom) = (
        np.clip(np.rint(f(corners, axis=1)), 0, last).astype(int) for f in (np.min, np.max)
    )
    there = matrix - [[0, 0, x], [0, 0, y]]
    area = frame[y : bottom + 1, x : right + 1]
    pasted = cv2.warpAffine(change, there, (area.shape[1], area.shape[0]))  # zero beside it
    cv2.add(area, pasted, area, dtype=cv2.CV_8U)  # rounded, and cut off at 0 and 255


def _blurred(plane: Tensor) -> Floats:
    """(1, s, s) to (s, s)."""
    return np.asarray(cv2.blur(plane[0].numpy(), (BLUR, BLUR), borderType=cv2.BORDER_REPLICATE))


def _interleaved(planes: Tensor) -> Floats:
    """(C, H, W) to (H, W, C)."""
    return np.asarray(cv2.merge([plane.numpy() for plane in planes.float().contiguous()]))
