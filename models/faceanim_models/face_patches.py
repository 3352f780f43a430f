"""Patches around eyes and mouth, cut out of an image upright and of the face's own size, and put back.

A crop of 256 pixels shows an iris with five. Where that counts, networks look at patches of the image as it
is, turned and scaled by the head's similarity, so that an eye lies in its patch as every eye does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from faceanim_models.geometry import fit_similarity, identity_grid, in_full_precision, sample_at


@dataclass(frozen=True)
class PatchSettings:
    """One kind of patch: where it lies on the face, and which keypoints lie in it.

    Patches of one kind are seen by one network, so their points are listed in the same order. Lengths are in
    units of the mean face, which is framed in [-1, 1].
    """

    centres: tuple[tuple[int, ...], ...]  # for each patch: the keypoints whose mean is its centre
    points: tuple[tuple[int, ...], ...]  # for each patch: the keypoints in it
    mirrored: tuple[bool, ...]  # for each patch: shown as in a mirror, as the other eye is
    drop: float  # from that mean down to the patch's centre
    width: float
    height: float
    pixels: tuple[int, int]  # height and width that it is seen at, multiples of 8


class PatchFrames(NamedTuple):
    """Where the N patches of one kind lie in each of B images."""

    centres: Tensor  # (B, N, 2) in [-1, 1]
    axes: Tensor  # (B, N, 2, 2): a place z in [-1, 1] of the patch lies at axes @ z + centre

    def to_image(self, places: Tensor) -> Tensor:
        """Places (B, N, P, 2) in [-1, 1] of the patches, in [-1, 1] of the image."""
        return places @ self.axes.mT + self.centres[:, :, None]

    def to_patch(self, places: Tensor) -> Tensor:
        """Places (B, N, P, 2) or (P, 2) in [-1, 1] of the image, in [-1, 1] of the patches."""
        return (places - self.centres[:, :, None]) @ inverse_transposed(self.axes)


class KeypointGroups(nn.Module):
    """Lists of keypoints to index with, each a tensor on the device where the network is.

    An index that is a Python list is copied to a GPU at every use, and the host waits for that.
    """

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        for number, group in enumerate(groups):
            self.register_buffer(str(number), torch.tensor(group, dtype=torch.long), persistent=False)

    def __getitem__(self, number: int) -> Tensor:
        return self.get_buffer(str(number))


class FacePatches(nn.Module):
    """Where the patches lie on a face whose keypoints are known.

    Args:
        kinds: of patches.
        rigid: the keypoints that tell how the head lies.
        num_keypoints: K.
    """

    def __init__(self, kinds: tuple[PatchSettings, ...], rigid: tuple[int, ...], num_keypoints: int) -> None:
        super().__init__()
        self.kinds = kinds
        # The keypoints of the mean face as framed, (K, 2) in [-1, 1]: patches are as large as they are on it.
        self.mean_face: Tensor
        self.register_buffer("mean_face", torch.zeros(num_keypoints, 2))
        self.rigid: Tensor
        self.register_buffer("rigid", torch.tensor(rigid), persistent=False)
        self.centres = KeypointGroups([sum(kind.centres, ()) for kind in kinds])
        for number, kind in enumerate(kinds):
            sides = [[-kind.width if mirrored else kind.width, kind.height] for mirrored in kind.mirrored]
            self.register_buffer(f"halves_{number}", torch.tensor(sides) / 2, persistent=False)  # (N, 2)

    def forward(self, keypoints: Tensor) -> list[PatchFrames]:
        """The patches of each kind for keypoints (B, K, 2)."""
        with in_full_precision(keypoints):
            points = keypoints.detach().float()
            face = self.mean_face[self.rigid].float().expand(points.shape[0], -1, -1)
            linear, _ = fit_similarity(face, points[:, self.rigid])  # (B, 2, 2)
            return [self._frames(number, points, linear) for number in range(len(self.kinds))]

    def _frames(self, number: int, points: Tensor, linear: Tensor) -> PatchFrames:
        kind = self.kinds[number]
        groups = points[:, self.centres[number]].split([len(group) for group in kind.centres], dim=1)
        means = torch.stack([group.mean(1) for group in groups], dim=1)
        down = linear[:, None, :, 1] * kind.drop
        return PatchFrames(means + down, linear[:, None] * self.get_buffer(f"halves_{number}")[:, None])


def cut_patches(images: Tensor, frames: PatchFrames, pixels: tuple[int, int]) -> Tensor:
    """The patches (B, N, 3, h, w) of images (B, 3, H, W); beyond the edge the edge pixel is repeated."""
    height, width = pixels
    with in_full_precision(images):
        places = frames.to_image(identity_grid(height, width, images).reshape(1, 1, -1, 2))
    batch, count = places.shape[:2]
    # The patches of an image lie below one another in one tall grid.
    cut = sample_at(images, places.reshape(batch, count * height, width, 2), "border")
    return cut.view(batch, -1, count, height, width).transpose(1, 2)


def paste_patches(images: Tensor, patches: Tensor, frames: PatchFrames) -> Tensor:
    """Images (B, C, H, W) with what patches (B, N, C, h, w) show added; the same outside the patches."""
    height, width = images.shape[-2:]
    batch, count = patches.shape[:2]
    with in_full_precision(patches):
        grid = identity_grid(height, width, patches)[0]  # (H, W, 2)
        if _by_rectangles(images, patches):
            seen = (patches.shape[-2], patches.shape[-1])
            corners, size = _rectangles(frames, seen, (height, width))
            places = torch.stack([grid[y : y + size[0], x : x + size[1]] for x, y in corners])
        else:
            corners, size = None, (height, width)
            places = grid.expand(batch * count, -1, -1, -1)
        places = frames.to_patch(places.reshape(batch, count, -1, 2)).view(batch * count, *size, 2)
    pasted = sample_at(patches.flatten(0, 1), places, "zeros")
    if corners is None:
        return images + pasted.view(batch, count, *pasted.shape[1:]).sum(1)
    result = images.clone()
    for number, ((x, y), patch) in enumerate(zip(corners, pasted, strict=True)):
        result[number // count, :, y : y + size[0], x : x + size[1]] += patch
    return result


def _by_rectangles(images: Tensor, patches: Tensor) -> bool:
    """Whether only the rectangles around patches are worked on: where the CPU knows where they are."""
    traced = torch.compiler.is_compiling()  # torch.compile and torch.export
    trained = torch.is_grad_enabled() and (images.requires_grad or patches.requires_grad)
    return images.device.type == "cpu" and not trained and not traced


def _rectangles(
    frames: PatchFrames, pixels: tuple[int, int], image: tuple[int, int]
) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """First column and row of the rectangle around each of B N patches, and their common height and width.

    Args:
        frames: of the patches, which are seen at ``pixels``, height and width.
        image: height and width.
    """
    last = frames.centres.new_tensor([image[1] - 1, image[0] - 1])  # column, row
    # A patch fades to zero one of its own pixels beyond its border.
    beyond = frames.centres.new_tensor([1 + 2 / (pixels[1] - 1), 1 + 2 / (pixels[0] - 1)])
    reach = (frames.axes.abs() * beyond).sum(-1).flatten(0, 1)  # (B N, 2)
    centres = frames.centres.flatten(0, 1)
    # What is not a number is nowhere, but needs a rectangle.
    first = ((centres - reach + 1) / 2 * last).floor().nan_to_num(0.0)
    end = ((centres + reach + 1) / 2 * last).ceil().nan_to_num(0.0)
    size = ((end - first).amax(0) + 1).minimum(last + 1)
    # One that reaches over the image's edge lies beside it: what is beside a patch is zero there.
    first = first.clamp_min(0).minimum(last + 1 - size)
    return [(int(x), int(y)) for x, y in first.tolist()], (int(size[1]), int(size[0]))


def inverse_transposed(matrices: Tensor) -> Tensor:
    """Of (..., 2, 2), in closed form: ``places @ inverse_transposed(a)`` is ``a^-1 @ place``."""
    a, b, c, d = matrices.flatten(-2).unbind(-1)
    adjugate = torch.stack((d, -c, -b, a), dim=-1).view(matrices.shape)
    return adjugate / (a * d - b * c)[..., None, None]
