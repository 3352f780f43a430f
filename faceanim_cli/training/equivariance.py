"""Equivariance (FOMM, eqs. 9-10): keypoints of a deformed frame are the deformed keypoints of the frame."""

import torch
from torch import Tensor
from torch.nn import functional as F

from faceanim_models.geometry import identity_grid, in_full_precision

AFFINE = 0.05  # standard deviation of the affine part's entries (first-order-model's settings for VoxCeleb)
BENDING = 0.005  # standard deviation of the control points' weights
CONTROL_POINTS = 5  # a side


class RandomDeformation:
    """A random thin-plate spline for each image of a batch: where each point of the result is taken from.

    Args:
        batch: B.
        device: where it is used.
    """

    def __init__(self, batch: int, device: torch.device) -> None:
        still = torch.eye(2, 3, device=device)
        self.affine = still + AFFINE * torch.randn(batch, 2, 3, device=device)
        side = torch.linspace(-1, 1, CONTROL_POINTS, device=device)
        y, x = torch.meshgrid(side, side, indexing="ij")
        self.control = torch.stack((x, y), dim=-1).reshape(1, 1, -1, 2)
        self.weights = BENDING * torch.randn(batch, 1, CONTROL_POINTS**2, device=device)

    def points(self, points: Tensor) -> Tensor:
        """Points of the results (B, N, 2) to where they are taken from, x and y in [-1, 1]."""
        moved = points @ self.affine[:, :, :2].mT + self.affine[:, None, :, 2]
        distance = (points[:, :, None] - self.control).abs().sum(-1)  # (B, N, control points), as FOMM
        bent = (distance.square() * torch.log(distance + 1e-6) * self.weights).sum(-1, keepdim=True)
        return moved + bent

    def jacobians(self, points: Tensor) -> Tensor:
        """What :meth:`points` does to small steps from points (B, N, 2): (B, N, 2, 2), new x and y first."""
        offset = points[:, :, None] - self.control  # (B, N, control points, 2)
        distance = offset.abs().sum(-1)
        # d/dr of r^2 log(r + 1e-6), the derivative of r being the signs of the offset
        slope = 2 * distance * torch.log(distance + 1e-6) + distance.square() / (distance + 1e-6)
        bent = ((slope * self.weights)[..., None] * offset.sign()).sum(2)  # (B, N, 2); of x and y alike
        return self.affine[:, None, :, :2] + bent[:, :, None]

    def images(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W), deformed; mirrored beyond their edges."""
        height, width = images.shape[-2:]
        with in_full_precision(images):
            grid = identity_grid(height, width, like=images).flatten(1, 2).expand(len(images), -1, -1)
            taken = self.points(grid).unflatten(1, (height, width))
            deformed = F.grid_sample(images.float(), taken, padding_mode="reflection", align_corners=True)
        return deformed.to(images.dtype)
