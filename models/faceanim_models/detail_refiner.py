"""Eyes and mouth painted again at full resolution, after the generator.

The generator works at half size on features of 1/4 and less, and its dense motion on 64 x 64 cells: a lid
that closes, an iris that turns and the inside of a mouth that opens are too small for both. Here each lies
upright in a patch, beside the same place of the photo, with the keypoints of both as sharp heatmaps; a small
network says what to change and where, and Eq. 2 puts it into the frame: ``I (1 - m) + P m``, P = I + change.
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


class PatchCode(NamedTuple):
    """What the photo shows in the patches of one kind, once: all of (B, ...)."""

    pixels: Tensor  # (B, N, 12, h / 2, w / 2): the patches, pixels folded by two
    heatmaps: Tensor  # (B, N, P, h / 2, w / 2)


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
        networks = [
            PatchUNet(2 * (12 + len(kind.points[0])), 4 * 4, settings.widths) for kind in settings.patches
        ]
        for network in networks:  # start from the frame as it is: no change, and m = sigmoid(-1)
            nn.init.zeros_(network.head.weight)
            network.head.bias = nn.Parameter(torch.tensor([0.0] * 12 + [-1.0] * 4))
        self.networks = nn.ModuleList(networks)

    def encode(self, photo: Tensor, keypoints: Tensor) -> list[PatchCode]:
        """What the photo (B, 3, H, W) with keypoints (B, K, 2) shows in the patches of each kind."""
        return [
            PatchCode(self._fold(photo, kind, frames), self._heatmaps(keypoints, number, frames))
            for number, (kind, frames) in enumerate(
                zip(self.settings.patches, self.patches(keypoints), strict=True)
            )
        ]

    def forward(self, image: Tensor, keypoints: Tensor, codes: list[PatchCode]) -> Tensor:
        """The generated frames (B, 3, H, W), eyes and mouth repainted to have ``keypoints`` (B, K, 2).

        ``codes``: of :meth:`encode`, of as many photos.
        """
        result = image
        for number, (kind, network, frames, code) in enumerate(
            zip(self.settings.patches, self.networks, self.patches(keypoints), codes, strict=True)
        ):
            shown = self._fold(image, kind, frames)
            wanted = self._heatmaps(keypoints, number, frames)
            x = torch.cat([t.to(working_type(image)) for t in (shown, wanted, *code)], dim=2).flatten(0, 1)
            painted = channels_first(network(channels_last(x))).float()  # (B N, 16, h / 2, w / 2)
            change = 2 * torch.sigmoid(2 * pixel_shuffle(painted[:, :12])) - 1  # tanh, faster on a CPU
            mask = torch.sigmoid(pixel_shuffle(painted[:, 12:])) * self._window(kind.pixels, image)
            added = (mask * change).unflatten(0, frames.centres.shape[:2])
            result = paste_patches(result, added, frames)
        return result

    @staticmethod
    def _fold(images: Tensor, kind: PatchSettings, frames: PatchFrames) -> Tensor:
        patches = cut_patches(images, frames, kind.pixels)
        return pixel_unshuffle(patches.flatten(0, 1)).view(
            *patches.shape[:2], -1, kind.pixels[0] // 2, kind.pixels[1] // 2
        )

    def _heatmaps(self, keypoints: Tensor, number: int, frames: PatchFrames) -> Tensor:
        kind = self.settings.patches[number]
        height, width = kind.pixels
        with in_full_precision(keypoints):
            points = keypoints[:, self.points[number]].float().unflatten(1, (len(kind.points), -1))
            places = frames.to_patch(points).flatten(0, 1)  # (B N, P, 2)
            maps = gaussian_heatmaps(places, height // 2, width // 2, self.settings.sigma)
        return maps.view(*frames.centres.shape[:2], *maps.shape[1:])

    def _window(self, pixels: tuple[int, int], like: Tensor) -> Tensor:
        """(h, w): 1 inside, falling to 0 at the patch's border."""
        height, width = pixels
        y = torch.linspace(-1, 1, height, device=like.device)
        x = torch.linspace(-1, 1, width, device=like.device)
        fade = self.settings.feather
        rows, columns = ((1 - t.abs()).div(fade).clamp(0, 1) for t in (y, x))
        return rows[:, None] * columns
