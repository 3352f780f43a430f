"""Adversarial training (paper §3.3, Eqs. 4-6) with first-order-model's feature matching."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from faceanim_models import PatchDiscriminator


class DiscriminatorObjective(nn.Module):
    """What the discriminator is trained to do, as one module: two batches of images in, L_D out."""

    def __init__(self, discriminator: PatchDiscriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, real: Tensor, generated: Tensor) -> Tensor:
        """Eq. 4 in least squares, ``mean (1 - D(real))^2 + mean D(generated)^2``, of (B, 3, H, W) each.

        ``generated`` comes detached: the generator learns from :func:`generator_terms`.
        """
        scores, _ = self.discriminator(torch.cat((real, generated)))  # in one go: DDP wants one forward
        of_real, of_generated = scores.float().chunk(2)
        loss: Tensor = (1 - of_real).square().mean() + of_generated.square().mean()
        return loss


def generator_terms(discriminator: PatchDiscriminator, real: Tensor, generated: Tensor) -> dict[str, Tensor]:
    """What the generator learns from the discriminator, each a scalar, for images (B, 3, H, W).

    ``adversarial`` is Eq. 5, ``mean (1 - D(generated))^2``. ``feature_matching`` is the mean L1 distance of
    the discriminator's features, over its blocks (FOMM, after Wang et al. 2018). The gradient goes through
    the discriminator and leaves its weights alone.
    """
    with torch.no_grad():
        _, wanted = discriminator(real)
    discriminator.requires_grad_(False)
    scores, features = discriminator(generated)
    discriminator.requires_grad_(True)
    distances = [(a.float() - b.float()).abs().mean() for a, b in zip(features, wanted, strict=True)]
    return {
        "adversarial": (1 - scores.float()).square().mean(),
        "feature_matching": torch.stack(distances).mean(),
    }


def face_corners(points: Tensor, size: int, side: int) -> list[tuple[int, int]]:
    """For each image of ``size`` the top left pixel (row, column) of a random window of ``side`` on its face.

    A quarter of the frame costs a quarter of the time, and the background has nothing to teach: each window
    is centred on a keypoint drawn from ``points`` (B, K, 2), as far as it fits into the frame.
    """
    drawn = torch.randint(points.shape[1], (len(points),)).tolist()
    corners = []
    for points_of_one, k in zip(points.nan_to_num(0).tolist(), drawn, strict=True):  # unknown: the middle
        x, y = points_of_one[k]
        row, column = (round((v + 1) / 2 * (size - 1) - side / 2) for v in (y, x))
        corners.append((min(max(row, 0), size - side), min(max(column, 0), size - side)))
    return corners


def windows(images: Tensor, corners: list[tuple[int, int]], side: int) -> Tensor:
    """Those windows of images (B, 3, H, W): (B, 3, side, side)."""
    cut = [
        image[:, row : row + side, column : column + side]
        for image, (row, column) in zip(images, corners, strict=True)
    ]
    return torch.stack(cut).contiguous(memory_format=torch.channels_last)


class AdversarialLoss:
    """The discriminator's part in a run: it sees windows on faces, of driving and of generated frames.

    Args:
        discriminator: untrained; it learns by ``objective``.
        adversarial: weight of Eq. 5 in the generator's loss.
        feature_matching: weight of the features' distance, times ``adversarial``.
        size: pixels, of the images.
        side: pixels, of the windows.
        keypoints: which of a batch's points they are centred on; none: any.
    """

    def __init__(
        self,
        discriminator: PatchDiscriminator,
        adversarial: float,
        feature_matching: float,
        size: int,
        side: int,
        keypoints: Sequence[int] = (),
    ) -> None:
        self.objective = DiscriminatorObjective(discriminator)
        self._adversarial, self._feature_matching = adversarial, feature_matching
        self._size, self._side, self._keypoints = size, side, list(keypoints)

    def windows(self, batch: dict[str, Tensor], generated: Tensor) -> tuple[Tensor, Tensor]:
        """The same windows of ``batch``'s driving frames (see ``PairDataset``) and of what was generated."""
        points = batch["driving_points"]
        centres = points[:, self._keypoints] if self._keypoints else points
        corners = face_corners(centres, self._size, self._side)
        return windows(batch["driving"], corners, self._side), windows(generated, corners, self._side)

    def generator_loss(self, real: Tensor, generated: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What comes on top of the generator's loss (Eq. 6), a scalar; and its terms by name, unweighted."""
        terms = generator_terms(self.objective.discriminator, real, generated)
        loss = terms["adversarial"] + self._feature_matching * terms["feature_matching"]
        return self._adversarial * loss, {name: term.detach() for name, term in terms.items()}
