"""First-order-model (Siarohin et al., NeurIPS 2019), to run the checkpoints that its authors published.

An implementation of the paper's architecture with the names and shapes of its checkpoints: the state dicts
of ``generator`` and ``kp_detector`` are theirs key for key. Two traps are settled here. Sampling uses
``align_corners=True``: the checkpoints were trained when that was the only meaning ``grid_sample`` had, and
today's default shifts every feature map by up to half a pixel. Resizing (``interpolate``) keeps its default,
``align_corners=False``, which has not changed since. Beyond the photo's edge is black (zeros), unlike in
``geometry.warp``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_models.animation_model import Keypoints, PhotoCode
from faceanim_models.blocks import ConvBlock, EnlargingBlock
from faceanim_models.geometry import gaussian_heatmaps, identity_grid, limit_grid, sample_at


@dataclass(frozen=True)
class FirstOrderSettings:
    """What rebuilds a :class:`FirstOrderModel`. The defaults are those of vox-256.

    All but the last three can be read off a checkpoint's tensors; those three are the same in every
    configuration that its authors published.
    """

    num_keypoints: int = 10
    jacobian_maps: int = 10  # one for each keypoint, 1 that they share, or 0: keypoints move without turning
    # Hourglass channels at the working size, then after each halving.
    keypoint_widths: tuple[int, ...] = (32, 64, 128, 256, 512, 1024)
    motion_widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 1024)
    keypoint_shrink: int = 4  # the working size is the image's, divided by this
    motion_shrink: int = 4
    generator_widths: tuple[int, ...] = (64, 128, 256)  # channels at full size, then after each halving
    residual_blocks: int = 6
    occlusion: bool = True
    temperature: float = 0.1  # of the keypoints' spatial softmax
    variance: float = 0.01  # of the keypoints' Gaussians, in [-1, 1] units squared
    image_size: int = 256  # pixels


class FirstOrderMotion(NamedTuple):
    """What the dense motion network says of one batch of driving frames."""

    grid: Tensor  # (B, h, w, 2): where each pixel of the result is found in the photo, [-1, 1]
    occlusion: Tensor | None  # (B, 1, h, w) in [0, 1]: 1 where the photo shows what is needed
    mixture: Tensor  # (B, K + 1, h, w): the weight of each candidate motion, summing to 1


class FirstOrderGenerated(NamedTuple):
    """One batch of generated frames, (B, 3, H, W) in [0, 1]."""

    image: Tensor
    warped: Tensor  # the photo's own pixels moved by the grid: what the networks start from


class FirstOrderModel(nn.Module):
    """Keypoint detector and generator, used as an :class:`~faceanim_models.AnimationModel` is."""

    def __init__(self, settings: FirstOrderSettings) -> None:
        super().__init__()
        if settings.jacobian_maps not in (0, 1, settings.num_keypoints):
            raise ValueError(f"{settings.jacobian_maps} Jacobian maps for {settings.num_keypoints} keypoints")
        self.settings = settings
        self.kp_detector = HourglassKeypointDetector(settings)
        self.generator = OcclusionAwareGenerator(settings)

    def detect(self, images: Tensor) -> Keypoints:
        """Keypoints of images (B, 3, H, W) in [0, 1]."""
        keypoints: Keypoints = self.kp_detector(images)
        return keypoints

    def encode_photo(self, photo: Tensor, keypoints: Keypoints | None = None) -> PhotoCode:
        """All that depends on the photo (B, 3, H, W) alone; keypoints are detected unless given."""
        found = self.detect(photo) if keypoints is None else keypoints
        thumbnail = self.generator.dense_motion_network.down(photo)
        return PhotoCode(photo, thumbnail, found.points, [self.generator.encode(photo)], found.jacobians)

    def forward(self, code: PhotoCode, keypoints: Keypoints) -> tuple[FirstOrderGenerated, FirstOrderMotion]:
        """Frames that show the photo's person with the driving ``keypoints``."""
        source = Keypoints(code.keypoints, code.jacobians)
        motion = self.generator.dense_motion_network(code.thumbnail, source, keypoints)
        motion = motion._replace(grid=limit_grid(motion.grid, code.reach))
        image = self.generator(code.features[0], motion)
        return FirstOrderGenerated(image, deform(code.photo, motion.grid)), motion


class HourglassKeypointDetector(nn.Module):
    """Images (B, 3, H, W) to keypoints and their Jacobians: the local linear motion around each (Eq. 5).

    Always in float32: heatmap logits are divided by a temperature of 0.1, and in half precision keypoints
    would tremble from frame to frame.
    """

    full_precision = True

    def __init__(self, settings: FirstOrderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.predictor = Hourglass(3, settings.keypoint_widths)
        # No padding: a 64x64 map gives 58x58 heatmaps.
        self.kp = nn.Conv2d(self.predictor.out_channels, settings.num_keypoints, 7)
        self.jacobian = None
        if settings.jacobian_maps:
            self.jacobian = nn.Conv2d(self.predictor.out_channels, 4 * settings.jacobian_maps, 7)
            nn.init.zeros_(self.jacobian.weight)
            assert self.jacobian.bias is not None
            with torch.no_grad():  # start as the identity
                self.jacobian.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0] * settings.jacobian_maps))
        self.down = antialiased(settings.keypoint_shrink)

    def forward(self, images: Tensor) -> Keypoints:
        with torch.autocast(images.device.type, enabled=False):
            features = self.predictor(self.down(images.float()))
            logits = self.kp(features)
            weights = (logits / self.settings.temperature).flatten(-2).softmax(-1)  # (B, K, h w)
            height, width = logits.shape[-2:]
            points = weights @ identity_grid(height, width, like=logits).view(-1, 2)
            if self.jacobian is None:
                return Keypoints(points)
            maps = self.jacobian(features).flatten(-2).unflatten(1, (self.settings.jacobian_maps, 4))
            jacobians = (weights[:, :, None] * maps).sum(-1)  # (B, K, 4)
            return Keypoints(points, jacobians.unflatten(-1, (2, 2)))


class FirstOrderDenseMotion(nn.Module):
    """Mixes K + 1 candidate motions pixel by pixel: the background that stays, and one for each keypoint."""

    def __init__(self, settings: FirstOrderSettings) -> None:
        super().__init__()
        self.settings = settings
        candidates = settings.num_keypoints + 1
        # For each candidate, the photo moved by it and a map of where its keypoint went.
        self.hourglass = Hourglass(candidates * (3 + 1), settings.motion_widths)
        self.mask = nn.Conv2d(self.hourglass.out_channels, candidates, 7, padding=3)
        self.occlusion = (
            nn.Conv2d(self.hourglass.out_channels, 1, 7, padding=3) if settings.occlusion else None
        )
        self.down = antialiased(settings.motion_shrink)

    def forward(self, thumbnail: Tensor, source: Keypoints, driving: Keypoints) -> FirstOrderMotion:
        """Dense motion from the driving frame's geometry back to the photo's.

        Args:
            thumbnail: what :attr:`down` makes of the photo, (B, 3, h, w).
            source, driving: keypoints of photo and driving frame.
        """
        batch, _, height, width = thumbnail.shape
        with torch.autocast(thumbnail.device.type, enabled=False):
            thumbnail = thumbnail.float()
            grids = candidate_grids(source, driving, height, width)  # (B, K + 1, h, w, 2)
            candidates = grids.shape[1]
            # One photo sampled by all candidates at once: they lie below one another in one tall grid.
            views = sample(thumbnail, grids.reshape(batch, candidates * height, width, 2))
            views = views.reshape(batch, 3, candidates, height, width).transpose(1, 2)  # (B, K + 1, 3, h, w)
            sigma = self.settings.variance**0.5
            moved = gaussian_heatmaps(driving.points, height, width, sigma)
            moved = F.pad(moved - gaussian_heatmaps(source.points, height, width, sigma), (0, 0, 0, 0, 1, 0))
            x = torch.cat((moved[:, :, None], views), dim=2).flatten(1, 2)  # (B, 4 (K + 1), h, w)
        features = self.hourglass(x)
        mixture = self.mask(features).float().softmax(1)
        grid = (mixture[..., None] * grids).sum(1)
        occlusion = None if self.occlusion is None else torch.sigmoid(self.occlusion(features).float())
        return FirstOrderMotion(grid, occlusion, mixture)


class OcclusionAwareGenerator(nn.Module):
    """The photo's features, moved by the dense motion and dimmed where occluded, decoded into a frame."""

    def __init__(self, settings: FirstOrderSettings) -> None:
        super().__init__()
        widths = settings.generator_widths
        pairs = list(pairwise(widths))
        self.dense_motion_network = FirstOrderDenseMotion(settings)
        self.first = ConvBlock(3, widths[0], kernel=7, bias=True)
        self.down_blocks = nn.ModuleList(ConvBlock(a, b, bias=True) for a, b in pairs)
        self.bottleneck = nn.Sequential()
        for index in range(settings.residual_blocks):
            self.bottleneck.add_module(f"r{index}", PreactivatedBlock(widths[-1]))
        self.up_blocks = nn.ModuleList(EnlargingBlock(b, a) for a, b in reversed(pairs))
        self.final = nn.Conv2d(widths[0], 3, 7, padding=3)

    def encode(self, photo: Tensor) -> Tensor:
        """Features of the photo (B, 3, H, W), once per photo: (B, widths[-1], H / 2^n, W / 2^n)."""
        features: Tensor = self.first(photo)
        for block in self.down_blocks:
            features = F.avg_pool2d(block(features), 2)
        return features

    def forward(self, features: Tensor, motion: FirstOrderMotion) -> Tensor:
        """Frames (B, 3, H, W) in [0, 1] from the photo's :meth:`encode` features and dense motion."""
        x = deform(features, motion.grid)
        if motion.occlusion is not None:
            x = x * scaled(motion.occlusion, *x.shape[-2:]).to(x.dtype)
        x = self.bottleneck(x)
        for block in self.up_blocks:
            x = block(x)
        return torch.sigmoid(self.final(x).float())


class Hourglass(nn.Module):
    """Encoder and decoder with concatenating skips, the input itself being the first of them.

    (B, in, H, W) -> (B, widths[0] + in, H, W); H and W are multiples of 2^(levels).
    """

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        inputs = (in_channels, *widths[1:-1])
        downs = [ConvBlock(a, b, bias=True) for a, b in zip(inputs, widths[1:], strict=True)]
        # Every up block but the deepest also takes the skip of its level, which is as wide.
        ups = [
            EnlargingBlock(widths[i + 1] * (1 if i == len(downs) - 1 else 2), widths[i])
            for i in reversed(range(len(downs)))
        ]
        self.encoder = nn.ModuleDict({"down_blocks": nn.ModuleList(downs)})
        self.decoder = nn.ModuleDict({"up_blocks": nn.ModuleList(ups)})
        self.out_channels = widths[0] + in_channels

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)[-1]

    def maps(self, x: Tensor) -> list[Tensor]:
        """The decoder's maps from the smallest to the last, which has the input's size."""
        skips = [x]
        for block in self.encoder["down_blocks"].children():
            skips.append(F.avg_pool2d(block(skips[-1]), 2))
        maps = [skips.pop()]
        for block in self.decoder["up_blocks"].children():
            y = block(maps[-1])
            maps.append(torch.cat((y, skips.pop().to(y.dtype)), dim=1))
        return maps[1:]


class PreactivatedBlock(nn.Module):
    """``x + conv(relu(norm(conv(relu(norm(x))))))``. Shape unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        # The first cannot be folded into a convolution: what it normalises is also carried past it.
        self.norm1 = nn.BatchNorm2d(channels)
        self.norm2: nn.Module = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv1(F.relu(self.norm1(x)))
        y = self.conv2(F.relu(self.norm2(y)))
        return x + y


class AntialiasedShrink(nn.Module):
    """Gaussian blur, then every ``factor``-th pixel: (B, 3, H, W) -> (B, 3, H / factor, W / factor)."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        sigma = (factor - 1) / 2
        offsets = torch.arange(4 * factor - 3) - 2 * (factor - 1)  # four sigmas to either side
        line = torch.exp(-(offsets**2) / (2 * sigma**2))
        kernel = torch.outer(line, line)
        self.weight: Tensor  # kept in checkpoints, where its size tells the factor
        self.register_buffer("weight", (kernel / kernel.sum()).expand(3, 1, -1, -1).contiguous())

    def forward(self, image: Tensor) -> Tensor:
        # Blurred only where a pixel is kept: a convolution with that stride.
        return F.conv2d(image, self.weight, stride=self.factor, padding=self.weight.shape[-1] // 2, groups=3)


def antialiased(factor: int) -> nn.Module:
    """Shrink by ``factor``; nothing to do, and nothing in the checkpoint, for 1."""
    return nn.Identity() if factor == 1 else AntialiasedShrink(factor)


def candidate_grids(source: Keypoints, driving: Keypoints, height: int, width: int) -> Tensor:
    """Identity, then ``T_k(z) = s_k + J_s J_d^-1 (z - d_k)`` of each point (Eq. 4): (B, K + 1, h, w, 2)."""
    identity = identity_grid(height, width, like=source.points)[:, None]  # (1, 1, h, w, 2)
    moved = identity - driving.points[:, :, None, None]
    if driving.jacobians is not None and source.jacobians is not None:
        linear = source.jacobians @ inverse(driving.jacobians)  # (B, K, 2, 2)
        moved = torch.einsum("bkij,bkhwj->bkhwi", linear, moved)
    moved = moved + source.points[:, :, None, None]
    return torch.cat((identity.expand(len(moved), -1, -1, -1, -1), moved), dim=1)


def inverse(matrices: Tensor) -> Tensor:
    """Inverses of (..., 2, 2), in closed form: a degenerate one gives large numbers, not an exception."""
    (a, b), (c, d) = (row.unbind(-1) for row in matrices.unbind(-2))
    determinant = a * d - b * c
    determinant = torch.where(determinant.abs() < 1e-8, torch.full_like(determinant, 1e-8), determinant)
    adjugate = torch.stack((torch.stack((d, -b), dim=-1), torch.stack((-c, a), dim=-1)), dim=-2)
    return adjugate / determinant[..., None, None]


def deform(image: Tensor, grid: Tensor) -> Tensor:
    """Sample (B, C, H, W) at a grid (B, h, w, 2) brought to its size: (B, C, H, W)."""
    return sample(image, scaled(grid.permute(0, 3, 1, 2), *image.shape[-2:]).permute(0, 2, 3, 1))


def sample(image: Tensor, grid: Tensor) -> Tensor:
    """Bilinear sampling in float32, black beyond the edge; the result has the type of ``image``."""
    return sample_at(image, grid, "zeros")


def scaled(image: Tensor, height: int, width: int) -> Tensor:
    """Bilinear resize as the checkpoints know it: ``align_corners=False``, no low-pass."""
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(image.float(), (height, width), mode="bilinear", align_corners=False)
