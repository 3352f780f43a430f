"""Eyes and mouth painted again at full resolution, after the generator.

The generator works at half size on features of 1/4 and less, and its dense motion on 64 x 64 cells: a lid
that closes, an iris that turns and the inside of a mouth that opens are too small for both. Here each lies
upright in a patch, beside the same place of the photo, with the keypoints of both as sharp heatmaps; a small
network says what to change and where, and Eq. 2 puts it into the frame: ``I (1 - m) + P m``, P = I + change.

The same, with patches of twice the pixels folded by four, paints eyes and mouth in results that are larger
than the networks' own frames, where all else shows the photo's detail.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from faceanim_models.face_patches import (
    FacePatches,
    KeypointGroups,
    PatchFrames,
    PatchSettings,
    cut_patches,
    paste_patches,
)
from faceanim_models.geometry import gaussian_heatmaps, in_full_precision, working_type
from faceanim_models.keypoint_refiner import PatchUNet
from faceanim_models.memory_layout import channels_first, channels_last, pixel_shuffle, pixel_unshuffle


@dataclass(frozen=True)
class DetailRefinerSettings:
    """What rebuilds a :class:`DetailRefiner`."""

    patches: tuple[PatchSettings, ...]
    rigid: tuple[int, ...]  # the keypoints that tell how the head lies
    widths: tuple[int, int, int] = (32, 48, 64)  # channels at 1/2, 1/4 and 1/8 of a patch
    sigma: float = 0.07  # of the heatmaps, in [-1, 1] of a patch: about two pixels
    feather: float = 0.25  # share of a patch's half side over which its changes fade out towards its border
    fold: int = 2  # so many pixels a side are one cell of the networks' maps


class PatchCode(NamedTuple):
    """What the photo shows in the patches of one kind, once: all of (B, ...)."""

    pixels: Tensor  # (B, N, 3 f f, h / f, w / f): the patches, pixels folded by f
    heatmaps: Tensor  # (B, N, P, h / f, w / f)

    def expand(self, batch: int) -> "PatchCode":
        """The code of one photo seen as a batch of ``batch``, without copying."""
        return PatchCode(*(t.expand(batch, *t.shape[1:]) for t in self))


class DetailRefiner(nn.Module):
    """Repaints the patches around eyes and mouth of generated frames.

    Args:
        settings: see :class:`DetailRefinerSettings`.
        num_keypoints: K.
    """

    def __init__(self, settings: DetailRefinerSettings, num_keypoints: int) -> None:
        super().__init__()
        self.settings = settings
        self.patches = FacePatches(settings.patches, settings.rigid, num_keypoints)
        self.points = KeypointGroups([sum(kind.points, ()) for kind in settings.patches])
        cell = settings.fold**2  # pixels
        networks = [
            PatchUNet(2 * (3 * cell + len(kind.points[0])), 4 * cell, settings.widths)
            for kind in settings.patches
        ]
        for network in networks:  # start from the frame as it is: no change, and m = sigmoid(-1)
            nn.init.zeros_(network.head.weight)
            network.head.bias = nn.Parameter(torch.tensor([0.0] * 3 * cell + [-1.0] * cell))
        self.networks = nn.ModuleList(networks)

    def encode(self, photo: Tensor, keypoints: Tensor) -> list[PatchCode]:
        """What the photo (B, 3, H, W) with keypoints (B, K, 2) shows in the patches of each kind."""
        return [
            PatchCode(
                self._folded(cut_patches(photo, frames, kind.pixels)),
                self._heatmaps(keypoints, number, frames),
            )
            for number, (kind, frames) in enumerate(
                zip(self.settings.patches, self.patches(keypoints), strict=True)
            )
        ]

    def forward(self, image: Tensor, keypoints: Tensor, codes: list[PatchCode]) -> Tensor:
        """The generated frames (B, 3, H, W), eyes and mouth repainted to have ``keypoints`` (B, K, 2).

        ``codes``: of :meth:`encode`, of as many photos.
        """
        result = image
        for number, (kind, frames, code) in enumerate(
            zip(self.settings.patches, self.patches(keypoints), codes, strict=True)
        ):
            shown = cut_patches(image, frames, kind.pixels)
            result = paste_patches(result, self.change(number, shown, keypoints, frames, code), frames)
        return result

    def change(
        self, number: int, shown: Tensor, keypoints: Tensor, frames: PatchFrames, code: PatchCode
    ) -> Tensor:
        """What is to be added to the patches of a kind, (B, N, 3, h, w).

        Args:
            number: of the kind.
            shown: the generated frames' patches, (B, N, 3, h, w).
            keypoints: that they are to have, (B, K, 2).
            frames: where the patches lie, by ``patches``.
            code: of :meth:`encode`, of this kind.
        """
        fold = self.settings.fold
        wanted = self._heatmaps(keypoints, number, frames)
        parts = (self._folded(shown), wanted, *code)
        x = torch.cat([part.to(working_type(shown)) for part in parts], dim=2).flatten(0, 1)
        painted = channels_first(
            self.networks[number](channels_last(x))
        ).float()  # (B N, 4 f f, h / f, w / f)
        change, mask = painted.split((3 * fold**2, fold**2), dim=1)
        change = 2 * torch.sigmoid(2 * pixel_shuffle(change, fold)) - 1  # tanh, faster on a CPU
        mask = torch.sigmoid(pixel_shuffle(mask, fold)) * self._window(shown)
        added: Tensor = (mask * change).unflatten(0, shown.shape[:2])
        return added

    def _folded(self, patches: Tensor) -> Tensor:
        fold = self.settings.fold
        height, width = patches.shape[-2] // fold, patches.shape[-1] // fold
        folded = pixel_unshuffle(patches.flatten(0, 1), fold)
        return folded.view(*patches.shape[:2], -1, height, width)

    def _heatmaps(self, keypoints: Tensor, number: int, frames: PatchFrames) -> Tensor:
        kind = self.settings.patches[number]
        height, width = (side // self.settings.fold for side in kind.pixels)
        with in_full_precision(keypoints):
            points = keypoints[:, self.points[number]].float().unflatten(1, (len(kind.points), -1))
            places = frames.to_patch(points).flatten(0, 1)  # (B N, P, 2)
            maps = gaussian_heatmaps(places, height, width, self.settings.sigma)
        return maps.view(*frames.centres.shape[:2], *maps.shape[1:])

    def _window(self, like: Tensor) -> Tensor:
        """(h, w), of patches like these: 1 inside, falling to 0 at the patch's border."""
        height, width = like.shape[-2:]
        y = torch.linspace(-1, 1, height, device=like.device)
        x = torch.linspace(-1, 1, width, device=like.device)
        fade = self.settings.feather
        rows, columns = ((1 - t.abs()).div(fade).clamp(0, 1) for t in (y, x))
        return rows[:, None] * columns
