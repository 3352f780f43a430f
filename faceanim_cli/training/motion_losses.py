"""What the animation networks are trained to do, as one module: a batch of pairs in, the loss out."""

import torch
from torch import Tensor, nn

from faceanim_cli.data.landmarks import DENSE_ANCHORS, Anchors, expressive
from faceanim_cli.training.equivariance import RandomDeformation
from faceanim_cli.training.perceptual import PerceptualLoss
from faceanim_cli.training.settings import LossWeights
from faceanim_models import AnimationModel
from faceanim_models.geometry import gaussian_heatmaps, identity_grid, resize


class MotionObjective(nn.Module):
    """Rebuild the driving frame from the source frame of the same clip (paper §3.3, Algorithm 1).

    Some pairs move by the landmarks themselves, the others by the detected keypoints: the motion learns from
    true points before the detector is any good, and the detector learns what helps the motion. A model
    without anchors finds keypoints of its own: no landmark tells it where, and none moves a pair.

    Args:
        model: with anchors, or without.
        perceptual: of Eq. 3; None: there is no such term.
        weights: of the terms.
        anchors: which landmarks make the points of a batch.
    """

    def __init__(
        self,
        model: AnimationModel,
        perceptual: PerceptualLoss | None,
        weights: LossWeights,
        anchors: Anchors = DENSE_ANCHORS,
    ) -> None:
        super().__init__()
        self.model, self.perceptual, self.weights = model, perceptual, weights
        self.anchored = bool(model.settings.anchors)
        self.expressive = list(expressive(anchors))

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss, a scalar; its terms by name, unweighted; and I_t, (B, 3, H, W).

        For ``batch`` see ``PairDataset``. What a discriminator says of I_t comes on top, from
        :mod:`faceanim_cli.training.adversarial`.
        """
        w = self.weights
        source, driving = batch["source"], batch["driving"]
        truth = torch.cat((batch["source_points"], batch["driving_points"]))
        known = truth.isfinite()  # not all data have pupils
        boxes = torch.cat((batch["source_box"], batch["driving_box"]))
        detected = self.model.keypoint_detector(torch.cat((source, driving)), boxes)
        points_s, points_d = detected.chunk(2)
        if self.anchored:
            exact = torch.rand(len(source), 1, 1, device=source.device) < w.landmark_motion
            points_s, points_d = torch.where(exact.repeat(2, 1, 1) & known, truth, detected).chunk(2)
        generated, motion = self.model(self.model.encode_photo(source, points_s), points_d)

        importance = 1 + w.expression * self._expression_map(batch["driving_points"], driving)
        importance = importance / importance.mean((-2, -1), keepdim=True)
        terms = {
            "pixels": (importance * (generated.image - driving).abs()).mean(),
            "pixels_warped": (importance * (generated.warped - driving).abs()).mean(),
            "pixels_repainted": (importance * (generated.repainted - driving).abs()).mean(),
            "still": self._motion_where_still(source, driving, motion.grid),
            "repaint": generated.mask.mean(),
        }
        if self.anchored:
            terms["keypoints"] = torch.where(known, detected - truth, 0).abs().sum() / known.sum()
        if w.equivariance:
            deformation = RandomDeformation(len(driving), driving.device)
            of_deformed = self.model.keypoint_detector(deformation.images(driving))
            terms["equivariance"] = (deformation.points(of_deformed) - detected[len(source) :]).abs().mean()
        if self.perceptual is not None and (w.perceptual or w.perceptual_warped):
            with torch.no_grad():
                target = self.perceptual.maps(driving)
            if w.perceptual:
                terms["perceptual"] = self.perceptual(generated.image, target)
            if w.perceptual_warped:
                terms["perceptual_warped"] = self.perceptual(generated.warped, target)
        loss = torch.stack([getattr(w, name) * term for name, term in terms.items()]).sum()
        return loss, {name: term.detach() for name, term in terms.items()}, generated.image

    def _expression_map(self, points: Tensor, like: Tensor) -> Tensor:
        """(B, 1, H, W) in [0, 1]: near 1 at eyes and mouth."""
        if not self.expressive:
            return torch.zeros_like(like[:, :1])
        maps = gaussian_heatmaps(points[:, self.expressive], like.shape[-2], like.shape[-1], sigma=0.06)
        return maps.nan_to_num(0).amax(1, keepdim=True)

    @staticmethod
    def _motion_where_still(source: Tensor, driving: Tensor, grid: Tensor) -> Tensor:
        """Mean shift, in [-1, 1] units, where source and driving frame look the same."""
        height, width = grid.shape[1:3]
        shift = (grid - identity_grid(height, width, like=grid)).abs().sum(-1)
        difference = resize((source - driving).abs().mean(1, keepdim=True), height, width)[:, 0]
        return (shift * torch.exp(-((difference / 0.02) ** 2))).mean()
