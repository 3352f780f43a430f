"""The second step of the keypoint detector: lids, brows, pupils and lips seen at the image's full size.

The detector's heatmaps have 64 x 64 cells, four pixels of a 256-pixel crop each; a lid moves by less and an
iris is five pixels wide. Here the patches around eyes and mouth are read by small networks of their own.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from faceanim_models.blocks import ConvBlock, ResidualBlock, UpBlock
from faceanim_models.face_patches import FacePatches, KeypointGroups, PatchFrames, PatchSettings, cut_patches
from faceanim_models.geometry import in_full_precision, soft_argmax, working_type
from faceanim_models.memory_layout import channels_first, channels_last, pixel_unshuffle


@dataclass(frozen=True)
class KeypointRefinerSettings:
    """What rebuilds a :class:`KeypointRefiner`."""

    patches: tuple[PatchSettings, ...]
    rigid: tuple[int, ...]  # the keypoints that tell how the head lies
    widths: tuple[int, int, int] = (24, 48, 64)  # channels at 1/2, 1/4 and 1/8 of a patch
    temperature: float = 0.1  # of the spatial softmax: lower is more pointed


class KeypointRefiner(nn.Module):
    """Keypoints found on the whole image to keypoints found again on its patches; those in no patch stay.

    Args:
        settings: see :class:`KeypointRefinerSettings`.
        num_keypoints: K.
    """

    def __init__(self, settings: KeypointRefinerSettings, num_keypoints: int) -> None:
        super().__init__()
        self.settings = settings
        self.patches = FacePatches(settings.patches, settings.rigid, num_keypoints)
        self.points = KeypointGroups([points for kind in settings.patches for points in kind.points])
        self.networks = nn.ModuleList(
            PatchUNet(12, len(kind.points[0]), settings.widths) for kind in settings.patches
        )

    def forward(self, images: Tensor, keypoints: Tensor) -> Tensor:
        """Keypoints (B, K, 2) of images (B, 3, H, W); those given say where to look, about."""
        refined = keypoints.detach()
        frames = self.patches(keypoints)
        found: list[Tensor] = []
        for frame, places in zip(frames, self.places(images, frames), strict=True):
            with in_full_precision(images):
                found.extend(frame.to_image(places).unbind(1))
        for number, points in enumerate(found):
            refined = refined.index_copy(1, self.points[number], points.to(refined.dtype))
        return refined

    def places(self, images: Tensor, frames: list[PatchFrames]) -> list[Tensor]:
        """For each kind of patch, where images (B, 3, H, W) show its points: (B, N, P, 2) in [-1, 1]."""
        return [self.places_in(number, images, frame) for number, frame in enumerate(frames)]

    def places_in(self, number: int, images: Tensor, frame: PatchFrames) -> Tensor:
        """The same in the patches of one kind, by its ``number``: (B, N, P, 2)."""
        kind = self.settings.patches[number]
        x = pixel_unshuffle(cut_patches(images, frame, kind.pixels).flatten(0, 1))
        heatmaps = channels_first(self.networks[number](channels_last(x.to(working_type(x))))).float()
        found: Tensor = soft_argmax(heatmaps / self.settings.temperature)
        return found.unflatten(0, frame.centres.shape[:2])  # type: ignore[no-any-return]


class PatchUNet(nn.Module):
    """Two levels down and up: (B, in, h, w) -> (B, out, h, w), for patches whose pixels are folded by two.

    Args:
        in_channels: of the input.
        out_channels: of the last convolution, which has no ReLU.
        widths: channels at the input's size, at 1/2 and at 1/4 of it.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        full, half, quarter = widths
        self.stem = ConvBlock(in_channels, full)
        self.downs = nn.ModuleList(
            nn.Sequential(ConvBlock(a, b, stride=2), ResidualBlock(b))
            for a, b in ((full, half), (half, quarter))
        )
        self.ups = nn.ModuleList((UpBlock(quarter, half, half), UpBlock(half, full, full)))
        self.head = nn.Conv2d(full, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class; h and w are multiples of 4."""
        first = self.stem(x)
        second = self.downs[0](first)
        x = self.ups[0](self.downs[1](second), second)
        out: Tensor = self.head(self.ups[1](x, first))
        return out
