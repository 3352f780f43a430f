"""What first-order-model's networks are trained to do when they go on from a checkpoint: its authors' losses.

Terms and weights are those of the original's training code (github.com/AliaksandrSiarohin/first-order-model,
``modules/model.py`` and ``config/vox-256.yaml``; MIT licence, Aliaksandr Siarohin 2019), described in §3.3 of
Siarohin et al., "First Order Motion Model for Image Animation", NeurIPS 2019.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from faceanim_cli.training.equivariance import RandomDeformation
from faceanim_cli.training.perceptual import PerceptualLoss
from faceanim_models import FirstOrderModel
from faceanim_models.first_order import inverse


@dataclass(frozen=True)
class FirstOrderLossWeights:
    """Weight of each term; 0 switches it off. The defaults are those of vox-256."""

    perceptual: float = 10.0  # on an image pyramid; of the sum over VGG-19's layers
    equivariance: float = 10.0  # L1 between keypoints of a deformed frame and the deformed keypoints
    equivariance_jacobian: float = 10.0  # the same of their Jacobians
    adversarial: float = 0.0  # least squares; 0: no discriminator at all. vox-adv-256 has 1
    feature_matching: float = 10.0  # of the discriminator's features, times the weight above


class FirstOrderObjective(nn.Module):
    """Rebuild the driving frame from the source frame of the same clip, by keypoints found without labels.

    Args:
        model: in training mode, as loaded: its batch norms are not folded.
        perceptual: of the first term; None: there is no such term.
        weights: of the terms.
    """

    def __init__(
        self, model: FirstOrderModel, perceptual: PerceptualLoss | None, weights: FirstOrderLossWeights
    ) -> None:
        super().__init__()
        self.model, self.perceptual, self.weights = model, perceptual, weights

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss, a scalar; its terms by name, unweighted; and the generated frames, (B, 3, H, W).

        Of ``batch`` (see ``PairDataset``) only ``source`` and ``driving`` are looked at. What a
        discriminator says of the frames comes on top, from :mod:`faceanim_cli.training.adversarial`.
        """
        w = self.weights
        source, driving = batch["source"], batch["driving"]
        # One by one, as in the original: each batch is normalised by its own statistics.
        code = self.model.encode_photo(source)
        points, jacobians = keypoints = self.model.detect(driving)
        generated, _ = self.model(code, keypoints)
        terms = {}
        if self.perceptual is not None and w.perceptual:
            with torch.no_grad():
                target = self.perceptual.maps(driving)
            terms["perceptual"] = self.perceptual(generated.image, target)
        if w.equivariance or w.equivariance_jacobian:
            deformation = RandomDeformation(len(driving), driving.device)
            deformed = self.model.detect(deformation.images(driving))
            terms["equivariance"] = (points - deformation.points(deformed.points)).abs().mean()
            if jacobians is not None and deformed.jacobians is not None:
                back = deformation.jacobians(deformed.points) @ deformed.jacobians  # (B, K, 2, 2)
                identity = torch.eye(2, device=back.device)
                terms["equivariance_jacobian"] = (identity - inverse(jacobians) @ back).abs().mean()
        zero = torch.zeros((), device=source.device)  # a discriminator may be the only one to say anything
        loss = sum((getattr(w, name) * term for name, term in terms.items()), zero)
        return loss, {name: term.detach() for name, term in terms.items()}, generated.image
