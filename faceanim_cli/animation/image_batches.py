"""Images as batches on a device, and back: on CUDA copies run beside what it computes, elsewhere at once."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from faceanim_cli.pictures import Image

# The side of a photo's crop, in sides of what the networks see of it, from which on its own detail is shown:
# below, super-resolution makes more of it.
DETAIL_FROM = 1.5
LARGEST_DETAIL = 1024  # pixels a side of a face that is laid back into its photo


class DeviceCopies:
    """Copies between this process and a device.

    On CUDA, copies run in two streams of their own, from and to pinned memory, so that batch n + 1 goes up
    and batch n - 1 comes down while batch n is computed ("CUDA semantics" in PyTorch's notes). Whoever
    computes uses the thread's current stream, which the copies are ordered with.

    Args:
        device: elsewhere than on CUDA, copies are plain.

    Attributes:
        ahead: batches to start before the first is waited for, so that the device is never out of work.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._streams = (
            (torch.cuda.Stream(device), torch.cuda.Stream(device)) if device.type == "cuda" else None
        )
        self.ahead = 0 if self._streams is None else 1

    def upload(self, tensor: Tensor) -> Tensor:
        """A tensor of this process on the device, to be used in the current stream."""
        if self._streams is None:
            return tensor.to(self.device)
        up, _ = self._streams
        pinned = tensor.pin_memory()  # the allocator keeps it until the copy is done, then uses it again
        with torch.cuda.stream(up):
            there = pinned.to(self.device, non_blocking=True)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(up)
        there.record_stream(computing)  # its memory is the other stream's: not to be used again too early
        return there

    def download(self, tensor: Tensor) -> "Download":
        """Begin to fetch what the current stream has computed."""
        if self._streams is None:
            return Download(tensor.cpu(), None)
        _, down = self._streams
        down.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(down):
            here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            here.copy_(tensor, non_blocking=True)
            done = down.record_event()
        tensor.record_stream(down)
        return Download(here, done)

    def arrived(self, batches: Iterable[list["Download"]]) -> Iterator[npt.NDArray[Any]]:
        """The rows of batches, in order, while ``ahead`` more batches are under way.

        Args:
            batches: lazily started, each in as many pieces as there are.
        """
        waiting: deque[list[Download]] = deque()
        for batch in batches:
            waiting.append(batch)
            if len(waiting) > self.ahead:
                yield from _rows(waiting.popleft())
        for batch in waiting:
            yield from _rows(batch)


class Download:
    """A tensor that is on its way from a device.

    Args:
        here: (B, ...), in this process; whole when ``done`` says so.
        done: None if it is already.
    """

    def __init__(self, here: Tensor, done: torch.cuda.Event | None) -> None:
        self._here, self._done = here, done

    def array(self) -> npt.NDArray[Any]:
        """All of it, waited for."""
        if self._done is None:
            return self._here.numpy()
        self._done.synchronize()
        return np.array(self._here.numpy())  # pinned memory is for copying, not for a caller to keep


def _rows(batch: list[Download]) -> Iterator[npt.NDArray[Any]]:
    for download in batch:
        yield from download.array()


def check_image(image: Image) -> None:
    """Raise ValueError for what is no uint8 (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")


def to_batch(images: list[Image], copies: DeviceCopies) -> Tensor:
    """uint8 images of one size to (B, 3, H, W) in [0, 1]; channels_last, as pixels lie that way."""
    pixels = copies.upload(torch.from_numpy(np.stack(images)))
    return pixels.permute(0, 3, 1, 2).float() / 255


def to_frames(pictures: Tensor, side: int, copies: DeviceCopies) -> Download:
    """(B, 3, S, S), clamped to [0, 1], to uint8 images (B, side, side, 3)."""
    if pictures.shape[-1] != side:
        shrinks = side < pictures.shape[-1]
        pictures = F.interpolate(pictures, (side, side), mode="bicubic", antialias=shrinks)
    if pictures.device.type == "cpu":  # OpenCV saturates, rounds and interleaves in a fifth of the time
        return Download(torch.from_numpy(np.stack([_levels(picture) for picture in pictures])), None)
    levels = (pictures.clamp(0, 1) * 255).round().to(torch.uint8)
    return copies.download(levels.permute(0, 2, 3, 1).contiguous())


def _levels(picture: Tensor) -> Image:
    """(3, H, W), clamped to [0, 1], to uint8 (H, W, 3)."""
    planes = picture.float().contiguous().numpy()
    return np.asarray(cv2.merge([cv2.convertScaleAbs(np.clip(p, 0, 1), alpha=255) for p in planes]), np.uint8)


def detail_side(shown: int, size: int | None, model_size: int) -> int | None:
    """How large frames are that show the photo's own detail; None where it has none that the networks miss.

    Args:
        shown: the photo's crop, pixels a side.
        size: the side of the result, pixels; None for frames that are laid back into the photo.
        model_size: what the networks see.
    """
    side = min(shown, LARGEST_DETAIL) if size is None else size
    enough = shown >= min(side, round(DETAIL_FROM * model_size))
    return side if side > model_size and enough else None
