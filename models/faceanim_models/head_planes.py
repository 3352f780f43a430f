"""A head turned in depth, as motions of the picture's plane: one for each of some depths of the head.

What lies behind the face, ears and hair, moves less than the face when a head turns, or the other way: a
parallax that no similarity of the plane has. An average head is laid on the keypoints of photo and driving
frame (weak perspective: scaled, turned, shifted); a plane through it, parallel to the face, then moves from
one to the other by an affine map.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

# A head seen from the side shows planes edge on, and no map carries them back. Where less than this part of
# their area is seen, from about 70 degrees on, they are carried back as if it were this.
LEAST_AREA = 0.35
FLAT = 1e-6  # squared size of a face squeezed into a line: keeps roots and quotients defined


class HeadPose(NamedTuple):
    """Where a head is seen in each of B pictures: its point (x, y, z) at ``axes @ (x, y, z) + centre``."""

    axes: Tensor  # (B, 2, 3), perpendicular, of the same length
    centre: Tensor  # (B, 2)
    area: Tensor  # (B,): that length, squared


class HeadPlanes(nn.Module):
    """The motions of planes through a head.

    Args:
        depths: of the planes, towards the viewer from the bone's mean, the outer eye corners 1 apart.
        num_keypoints: K.
    """

    def __init__(self, depths: Sequence[float], num_keypoints: int) -> None:
        super().__init__()
        self.depths: Tensor
        self.register_buffer("depths", torch.tensor(depths), persistent=False)
        # What makes an affine camera of keypoints, with the least squared error, as :meth:`lay_on` sets it.
        self.fit: Tensor
        self.register_buffer("fit", torch.zeros(num_keypoints, 4))

    def lay_on(self, head: Tensor, weights: Tensor) -> None:
        """Set the average head.

        Args:
            head: (K, 3), where the keypoints are on it: x right, y down, z towards the viewer, the outer eye
                corners 1 apart.
            weights: (K,), how much each keypoint says about where the head is, summing to 1.
        """
        head, weights = head.double(), weights.double()[:, None]
        about = head - (weights * head).sum(0)
        camera = (weights * about) @ torch.linalg.pinv(about.T @ (weights * about), hermitian=True)
        self.fit.copy_(torch.cat((camera, weights), dim=1))

    def forward(self, source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
        """Where the planes' places in the driving frame are in the photo.

        Args:
            source, driving: keypoints of photo and driving frame, (B, K, 2).

        Returns:
            The linear part that all share (B, 2, 2), to be applied as ``linear @ place``, and their shifts
            (B, planes, 2).
        """
        was, now = self.pose(source), self.pose(driving)
        plane = now.axes[..., :2]
        shown = torch.maximum(_determinant(plane), LEAST_AREA * now.area)
        linear = was.axes[..., :2] @ _adjugate(plane) / shown[:, None, None]
        centres = was.centre - (linear @ now.centre[..., None])[..., 0]
        parallax = was.axes[..., 2] - (linear @ now.axes[..., 2:])[..., 0]
        return linear, centres[:, None] + self.depths[:, None] * parallax[:, None]

    def pose(self, keypoints: Tensor) -> HeadPose:
        """The poses in which the average head is about where the keypoints (B, K, 2) are."""
        fitted = keypoints.mT @ self.fit  # (B, 2, 4): an affine camera
        camera, centre = fitted[..., :3], fitted[..., 3]
        # The scaled rotation next to it, by its polar decomposition, in closed form for two rows: the root of
        # a symmetric 2 x 2 matrix M is (M + sqrt(det M)) / sqrt(tr M + 2 sqrt(det M)).
        gram = camera @ camera.mT + FLAT * torch.eye(2, device=camera.device)
        area = _determinant(gram).clamp_min(FLAT**2).sqrt()
        trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
        stretch = (trace + 2 * area).sqrt()  # the sum of the two singular values
        root = (gram + area[:, None, None] * torch.eye(2, device=gram.device)) / stretch[:, None, None]
        rows = _adjugate(root) @ camera / area[:, None, None]
        return HeadPose(rows * (stretch / 2)[:, None, None], centre, (stretch / 2).square())


def _determinant(matrix: Tensor) -> Tensor:
    return matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]


def _adjugate(matrix: Tensor) -> Tensor:
    a, b, c, d = matrix.flatten(-2).unbind(-1)
    turned: Tensor = torch.stack((d, -b, -c, a), dim=-1).unflatten(-1, (2, 2))
    return turned
