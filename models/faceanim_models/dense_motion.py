"""Dense motion (paper §3.1, step 3): from keypoint pairs to a sampling grid and an occlusion map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_models.blocks import Mergeable, UNet
from faceanim_models.geometry import (
    fit_similarity,
    gaussian_heatmaps,
    identity_grid,
    in_full_precision,
    resize,
    resize_grid,
    warp,
    working_type,
)
from faceanim_models.head_segmenter import HeadSegmenter
from faceanim_models.memory_layout import channels_first, channels_last, pixel_shuffle

FOLLOWING_MOMENTUM = 0.01  # of what is noted while training


@dataclass(frozen=True)
class DenseMotionSettings:
    """What rebuilds a :class:`DenseMotionNetwork`."""

    num_keypoints: int = 10
    size: int = 64  # pixels: height and width that motion is worked out at
    widths: tuple[int, ...] = (48, 96, 160, 224)  # U-Net channels at size, size / 2, ...
    sigma: float = 0.06  # of the keypoint heatmaps, in [-1, 1] units (about 2 pixels at 64)
    max_residual: float = 0.1  # the learned residual stays within this, in [-1, 1] units
    use_similarity: bool = True  # False: keypoints move without turning, and there is no head candidate
    photo_channels: int = (
        0  # maps of the photo's HeadSegmenter; 0: none, what is head shows in the views alone
    )
    free_keypoints: int = 0  # F: keypoints of a FreeKeypointDetector, with the similarity only


class DenseMotion(NamedTuple):
    """What the network says of one batch of driving frames."""

    grid: Tensor  # F: (B, 2 size, 2 size, 2), where each pixel of the result is found in the photo, [-1, 1]
    occlusion: Tensor  # (B, 1, size, size) in [0, 1]: 1 where the photo shows what is needed
    heatmaps: Tensor  # (B, K, size, size): driving keypoints as Gaussians
    mixture: Tensor  # (B, N, size, size): the weight of each candidate motion, summing to 1


class DenseMotionNetwork(Mergeable):
    """Mixes candidate motions pixel by pixel.

    The candidates: identity (the background stays), the similarity fitted to all keypoint pairs (the
    head, its hair and its neck move as one), and one for each keypoint k, ``T_k(z) = s_k + A (z - d_k)``,
    with that similarity's linear part A. The similarity takes FOMM's learned Jacobians' place (FOMM, eq. 4).
    Free keypoints take part in it as far as each has learned to: hair turns with the head, shoulders do not.
    The identity's share, and a small learned residual, come at twice the resolution of the other shares.
    """

    def __init__(self, settings: DenseMotionSettings) -> None:
        super().__init__()
        self.settings = settings
        k = settings.num_keypoints
        if settings.free_keypoints and not settings.use_similarity:
            raise ValueError("free keypoints need the similarity beside them")
        points = k + settings.free_keypoints
        self.candidates = points + 1 + settings.use_similarity
        # Photo maps where they are, and as the head moves them.
        self.unet = UNet(3 * self.candidates + points + 2 * settings.photo_channels, settings.widths)
        self.segmenter: HeadSegmenter | None = None
        if settings.photo_channels:
            self.segmenter = HeadSegmenter(k, settings.size, settings.photo_channels)
            self.background = nn.Conv2d(settings.widths[0], 4, 3, padding=1)  # a finer edge: 2x2 pixels
            for parameter in self.background.parameters():
                nn.init.zeros_(parameter)
        self.mixture = nn.Conv2d(settings.widths[0], self.candidates, 3, padding=1)
        self.occlusion = nn.Conv2d(settings.widths[0], 1, 3, padding=1)
        self.residual = nn.Conv2d(settings.widths[0], 2 * 4, 3, padding=1)
        with torch.no_grad():
            for parameter in self.residual.parameters():
                parameter.zero_()
        self.merged: nn.Conv2d | None = None
        # Near a keypoint, its own motion is what one expects: lips and lids follow from the start.
        self.locality = nn.Parameter(torch.full((points,), 4.0))
        # Lips and lids say little about where the head is: how much each keypoint counts is learned.
        self.rigidity = nn.Parameter(torch.zeros(k))
        # How far each free keypoint turns with the head: sigmoid of these.
        free = settings.free_keypoints
        self.turning = nn.Parameter(torch.zeros(free)) if free else None
        # How far each goes along with the head, on the average of what was seen in training.
        self.following: Tensor | None
        self.register_buffer("following", torch.zeros(free) if free else None)

    def encode(self, photo: Tensor, keypoints: Tensor) -> Tensor | None:
        """Maps of the photo (B, 3, H, W), once: (B, photo_channels, 2 size, 2 size), or None without any."""
        if self.segmenter is None:
            return None
        maps: Tensor = self.segmenter(photo, keypoints)
        return maps

    def forward(
        self,
        thumbnail: Tensor,
        source: Tensor,
        driving: Tensor,
        photo_maps: Tensor | None = None,
        free_source: Tensor | None = None,
        free_driving: Tensor | None = None,
    ) -> DenseMotion:
        """Dense motion from the driving frame's geometry back to the photo's.

        Args:
            thumbnail: the photo, (B, 3, size, size) in [0, 1].
            source, driving: keypoints of photo and driving frame, (B, K, 2).
            photo_maps: what :meth:`encode` gave for the photo.
            free_source, free_driving: free keypoints of both, (B, F, 2), if the network knows any. None for
                the driving frame's: they go along with the head as far as they mostly do.
        """
        size = self.settings.size
        with in_full_precision(thumbnail):
            was, source, driving = self._all_keypoints(source, driving, free_source, free_driving)
            moves = self._moving_candidates(source, driving)
            grids = self._as_grids(moves)  # (B, N, size, size, 2)
            heatmaps = gaussian_heatmaps(driving, size, size, self.settings.sigma)
            was = gaussian_heatmaps(was, size, size, self.settings.sigma)
        batch, candidates = grids.shape[:2]
        # One photo sampled by all candidates at once: they lie below one another in one tall grid.
        tall = grids.reshape(batch, candidates * size, size, 2)
        views = warp(thumbnail, tall).unflatten(2, (candidates, size)).flatten(1, 2)  # (B, 3 N, size, size)
        inputs = [views, heatmaps - was]
        if photo_maps is not None:
            small = F.avg_pool2d(_first(photo_maps), 2).expand(batch, -1, -1, -1)
            # Without the head candidate: as the keypoints move on the average.
            head = grids[:, 1] if self.settings.use_similarity else grids[:, 1:].mean(1)
            inputs += [small, warp(small, head)]
        seen = torch.cat([x.to(working_type(x)) for x in inputs], dim=1)
        features = self.unet(channels_last(seen))

        logits, shading, bend, *background = self._maps(features)
        own, shared = self.locality[:, None, None] * heatmaps, self.candidates - len(self.locality)
        moving = torch.cat((logits[:, 1:shared], logits[:, shared:] + own), dim=1)
        likelihood = moving.logsumexp(1, keepdim=True)
        moving = (moving - likelihood).exp()  # their shares
        with in_full_precision(thumbnail):
            # All that move are turned alike, but for the free keypoints: it is their shifts that are mixed.
            mixed = (moves.shifts.mT @ moving.flatten(2)).unflatten(2, (size, size))
            mixed = moves.turned + mixed.permute(0, 2, 3, 1)
            if self.settings.free_keypoints:
                unturned = (moving[:, -self.settings.free_keypoints :] * moves.unturned[:, None, None]).sum(1)
                still_grid = identity_grid(size, size, mixed)
                mixed = mixed + unturned[..., None] * (still_grid - moves.turned)
        grid = resize_grid(mixed, 2 * size, 2 * size)
        # Whether a pixel moves at all is settled at twice the resolution: a blurred edge between head and
        # background would bend every line that runs into it.
        still = resize(logits[:, :1] - likelihood, 2 * size, 2 * size)
        if photo_maps is not None:  # what the motion takes from the photo's head is head
            still = still + pixel_shuffle(background[0])
            still = still - warp(photo_maps[:, :1].float(), grid)
        still = still.sigmoid()  # (B, 1, 2 size, 2 size)
        weight = still[:, 0, ..., None]
        residual = torch.tanh(pixel_shuffle(bend)) * self.settings.max_residual
        grid = grid + weight * (identity_grid(2 * size, 2 * size, grid) - grid) + residual.permute(0, 2, 3, 1)
        occlusion = torch.sigmoid(shading)
        share = F.avg_pool2d(still, 2)
        mixture = torch.cat((share, (1 - share) * moving), dim=1)
        return DenseMotion(grid, occlusion, heatmaps[:, : self.settings.num_keypoints], mixture)

    def merge(self) -> None:
        """See ``Mergeable``: one convolution for all that is read from the features."""
        heads = self._heads()
        merged = nn.Conv2d(heads[0].in_channels, sum(head.out_channels for head in heads), 3, padding=1)
        with torch.no_grad():
            merged.weight.copy_(torch.cat([head.weight for head in heads]))
            assert merged.bias is not None
            merged.bias.copy_(torch.cat([head.bias for head in heads if head.bias is not None]))
        self.merged = merged

    def _heads(self) -> list[nn.Conv2d]:
        background = [] if self.segmenter is None else [self.background]
        return [self.mixture, self.occlusion, self.residual, *background]

    def _maps(self, features: Tensor) -> Sequence[Tensor]:
        """What each of the heads says, float32."""
        heads = self._heads()
        if self.merged is None:
            return [channels_first(head(features)).float() for head in heads]
        maps = channels_first(self.merged(features)).float()
        return torch.split(maps, [head.out_channels for head in heads], dim=1)

    def _all_keypoints(
        self, source: Tensor, driving: Tensor, free_source: Tensor | None, free_driving: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The photo's keypoints, once where they are one photo's, then of the batch, and the driving ones."""
        source, driving = source.float(), driving.float()
        if self.following is None:
            return _first(source), source, driving
        if free_source is None:
            raise ValueError("the photo's free keypoints are missing")
        free_source = free_source.float()
        if free_driving is None or self.training:
            linear, shift = fit_similarity(source, driving, self.rigidity.softmax(0))
            # How far the head's motion would carry them.
            led = free_source @ linear.mT + shift[:, None] - free_source
            if free_driving is None:
                free_driving = free_source + self.following[:, None] * led
            else:
                self._note_following(led.detach(), (free_driving - free_source).detach())
        everywhere = torch.cat((source, free_source), dim=1)
        once = _first(source), _first(free_source)
        was = torch.cat(once, dim=1) if len(once[0]) == len(once[1]) else everywhere
        return was, everywhere, torch.cat((driving, free_driving.float()), dim=1)

    def _note_following(self, led: Tensor, moved: Tensor) -> None:
        """A running average, as a batch norm's, of the share of ``led`` (B, F, 2) that is in ``moved``."""
        assert self.following is not None
        share = (led * moved).sum((0, 2)) / led.square().sum((0, 2)).clamp_min(1e-8)
        self.following.lerp_(share.clamp(0, 1), FOLLOWING_MOMENTUM)

    def candidate_grids(self, source: Tensor, driving: Tensor) -> Tensor:
        """All candidate motions as sampling grids, (B, N, size, size, 2)."""
        return self._as_grids(self._moving_candidates(source, driving))

    def _moving_candidates(self, source: Tensor, driving: Tensor) -> "_Moves":
        """All candidates but the first."""
        identity = identity_grid(self.settings.size, self.settings.size, source)[0]  # (size, size, 2)
        unturned = source.new_empty(0) if self.turning is None else 1 - self.turning.sigmoid()
        if not self.settings.use_similarity:
            return _Moves(identity.expand(source.shape[0], -1, -1, -1), source - driving, unturned)
        k = self.settings.num_keypoints
        linear, shift = fit_similarity(driving[:, :k], source[:, :k], self.rigidity.softmax(0))
        turned = torch.einsum("bij,hwj->bhwi", linear, identity)
        led = torch.einsum("bij,bkj->bki", linear, driving)  # A d_k
        if self.settings.free_keypoints:
            own = led[:, k:] + unturned[:, None] * (driving - led)[:, k:]
            led = torch.cat((led[:, :k], own), dim=1)
        return _Moves(turned, torch.cat((shift[:, None], source - led), dim=1), unturned)

    def _as_grids(self, moves: "_Moves") -> Tensor:
        batch, height, width, _ = moves.turned.shape
        still = identity_grid(height, width, moves.turned).expand(batch, -1, -1, -1)
        grids = moves.turned[:, None] + moves.shifts[:, :, None, None]
        if self.settings.free_keypoints:
            head, free = grids.split((grids.shape[1] - len(moves.unturned), len(moves.unturned)), dim=1)
            unturned = moves.unturned[:, None, None, None] * (still - moves.turned)[:, None]
            grids = torch.cat((head, free + unturned), dim=1)
        return torch.cat((still[:, None], grids), dim=1)


def _first(values: Tensor) -> Tensor:
    """The first of a batch that is one photo's over and over: what comes of it is worked out once."""
    one = values.stride(0) == 0 and not torch.compiler.is_compiling()
    return values[:1] if one else values


class _Moves(NamedTuple):
    """Candidates that move: the similarity, and one for each keypoint."""

    turned: Tensor  # (B, size, size, 2): A z of each place z, A the similarity's linear part
    shifts: Tensor  # (B, N - 1, 2)
    unturned: Tensor  # (F,) in [0, 1]: how far free keypoints have the identity's linear part in A's place
