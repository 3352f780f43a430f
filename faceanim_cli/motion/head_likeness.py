"""Whether keypoints lie as they do on a head: on pictures without one they lie anywhere."""

import numpy as np
import torch
from torch import Tensor, nn

from faceanim_cli.motion.head_model import HEAD, Anchors, anchor_means, bone_weights

# How far keypoints may lie from where an affine camera sees an average head, as a share of its outer eye
# corners' distance. Of 1,200 frames of 283 people those that were found had 0.07 at most, the four that were
# missed 0.10 to 0.73. Of 152 pictures without a face, text among them, nineteen in twenty had 0.12 or more;
# the 31 on which heatmaps are as sharp as on faces had 0.14 or more.
LARGEST_MISFIT = 0.12


class HeadLikeness(nn.Module):
    """Measures keypoints against an average head.

    Args:
        anchors: which landmarks each keypoint stands for; not empty.
    """

    def __init__(self, anchors: Anchors) -> None:
        super().__init__()
        weights = bone_weights(anchors)[:, None]
        weights = weights / weights.sum()
        head = anchor_means(HEAD, anchors)
        self.weights: Tensor
        self.register_buffer("weights", torch.from_numpy(weights).float(), persistent=False)
        self.head: Tensor  # (K, 3), about its mean
        head = head - (weights * head).sum(0)
        self.register_buffer("head", torch.from_numpy(head).float(), persistent=False)
        # What makes the camera of least weighted squared error of keypoints, (K, 3).
        fit = (weights * head) @ np.linalg.pinv(head.T @ (weights * head), hermitian=True)
        self.register_buffer("fit", torch.from_numpy(fit).float(), persistent=False)
        self.fit: Tensor

    def misfit(self, points: Tensor) -> Tensor:
        """How far keypoints (B, K, 2) lie from the head's, root mean square: (B,), see ``LARGEST_MISFIT``."""
        about = points.float() - (self.weights * points.float()).sum(1, keepdim=True)
        camera = about.mT @ self.fit  # (B, 2, 3)
        errors = (about - self.head @ camera.mT).square().sum(-1, keepdim=True)
        # The larger of its two singular values is the scale, of the side that is seen most fully.
        gram = camera @ camera.mT
        trace = gram[:, 0, 0] + gram[:, 1, 1]
        determinant = gram[:, 0, 0] * gram[:, 1, 1] - gram[:, 0, 1].square()
        scale = (trace + (trace.square() - 4 * determinant).clamp_min(0).sqrt()) / 2
        return ((self.weights * errors).sum((1, 2)) / scale.clamp_min(1e-12)).sqrt()

    def forward(self, points: Tensor) -> Tensor:
        """Which keypoints (B, K, 2) lie as on a head: (B,)."""
        return self.misfit(points) <= LARGEST_MISFIT
