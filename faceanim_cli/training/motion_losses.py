"""The objective of the animation networks: a batch of pairs in, the loss out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_cli.data.landmarks import DENSE_ANCHORS, Anchors, expressive
from faceanim_cli.training.equivariance import RandomDeformation
from faceanim_cli.training.perceptual import PerceptualLoss
from faceanim_cli.training.settings import LossWeights
from faceanim_models import AnimationModel, Keypoints
from faceanim_models.face_patches import FacePatches, KeypointGroups, PatchSettings, cut_patches
from faceanim_models.geometry import gaussian_heatmaps, identity_grid, resize

# A head with its hair, as an ellipse about the rigid keypoints: its width and height on the mean face, and
# how far its middle lies below theirs.
HEAD_SIZE, HEAD_DROP = (1.1, 1.44), -0.105
FACE_SIGMA = 0.1  # about each keypoint, in [-1, 1] units: there optical flow is not learned from


class MotionObjective(nn.Module):
    """Rebuild the driving frame from the source frame of the same clip (paper §3.3, Algorithm 1).

    Some pairs move by the landmarks themselves, the others by the detected keypoints: the motion learns from
    true points before the detector is any good, and the detector learns what helps the motion. A model
    without anchors finds keypoints of its own: no landmark tells it where, and none moves a pair. A frozen
    detector, trained alone, tells besides whether eyes and mouth of the result are where they should be.

    Args:
        model: with anchors, or without.
        perceptual: of Eq. 3; None: there is no such term.
        weights: of the terms.
        anchors: which landmarks make the points of a batch.
        teacher: the model before its generator was pruned, whose frames are learned from as well.
    """

    def __init__(
        self,
        model: AnimationModel,
        perceptual: PerceptualLoss | None,
        weights: LossWeights,
        anchors: Anchors = DENSE_ANCHORS,
        teacher: AnimationModel | None = None,
    ) -> None:
        super().__init__()
        self.model, self.perceptual, self.weights = model, perceptual, weights
        self.teacher = None if teacher is None else teacher.requires_grad_(False)
        self.anchored = bool(model.settings.anchors)
        self.expressive = KeypointGroups([expressive(anchors)])
        self.frozen_detector = not any(p.requires_grad for p in model.keypoint_detector.parameters())
        self.head = None
        if model.details is not None:
            rigid = model.details.settings.rigid
            ellipse = PatchSettings((rigid,), ((),), (False,), HEAD_DROP, *HEAD_SIZE, (8, 8))
            self.head = FacePatches((ellipse,), rigid, len(model.settings.anchors))
            self.head.mean_face.copy_(model.details.patches.mean_face)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss, a scalar; its terms by name, unweighted; and I_t, (B, 3, H, W).

        For ``batch`` see ``PairDataset``. What a discriminator says of I_t comes on top, from
        :mod:`faceanim_cli.training.adversarial`.
        """
        w = self.weights
        source, driving = batch["source"], batch["driving"]
        truth = torch.cat((batch["source_points"], batch["driving_points"]))
        known = truth.isfinite()  # not all data have pupils
        steps = self._detect(torch.cat((source, driving)))
        points_s, points_d = steps[-1].chunk(2)
        if self.anchored:
            exact = torch.rand(len(source), 1, 1, device=source.device) < w.landmark_motion
            points_s, points_d = torch.where(exact.repeat(2, 1, 1) & known, truth, steps[-1]).chunk(2)
        free_s = free_d = None
        if self.model.free_keypoints is not None:
            free_s, free_d = self.model.free_keypoints(torch.cat((source, driving))).chunk(2)
        was, now = Keypoints(points_s, free=free_s), Keypoints(points_d, free=free_d)
        generated, motion = self.model(self.model.encode_photo(source, was), now)

        importance = 1 + w.expression * self._expression_map(batch["driving_points"], driving)
        importance = importance + w.hidden * self._hidden_map(points_s, points_d, driving)
        importance = importance / importance.mean((-2, -1), keepdim=True)
        terms = {
            "pixels": (importance * (generated.image - driving).abs()).mean(),
            "pixels_warped": (importance * (generated.warped - driving).abs()).mean(),
            "pixels_repainted": (importance * (generated.repainted - driving).abs()).mean(),
            "still": self._motion_where_still(source, driving, motion.grid),
            "repaint": generated.mask.mean(),
        }
        if self.teacher is not None and w.teacher:
            with torch.no_grad():
                taught, _ = self.teacher.eval()(self.teacher.encode_photo(source, was), now)
            terms["teacher"] = (importance * (generated.image - taught.image).abs()).mean()
        if free_s is not None and free_d is not None and w.from_flow:
            flow, trust = batch["flow"], batch["flow_trust"]
            face = self.model.settings.motion.num_keypoints  # of which landmarks say more than flow does
            terms["flow"] = _grid_off_the_flow(motion.grid, flow, trust, points_d[:, :face].detach())
            terms["flow_keypoints"] = _keypoints_off_the_flow(free_s, free_d, flow, trust)
        if self.anchored and not self.frozen_detector:
            errors = [torch.where(known, points - truth, 0).abs().sum() / known.sum() for points in steps]
            terms["keypoints"] = torch.stack(errors).sum()
        if w.equivariance:
            deformation = RandomDeformation(len(driving), driving.device)
            of_deformed = self.model.keypoint_detector(deformation.images(driving))
            terms["equivariance"] = (deformation.points(of_deformed) - steps[-1][len(source) :]).abs().mean()
        if self.perceptual is not None and (w.perceptual or w.perceptual_warped):
            with torch.no_grad():
                target = self.perceptual.maps(driving)
            if w.perceptual:
                terms["perceptual"] = self.perceptual(generated.image, target)
            if w.perceptual_warped:
                terms["perceptual_warped"] = self.perceptual(generated.warped, target)
        terms |= self._on_patches(generated.image, driving, points_d)
        loss = torch.stack([getattr(w, name) * term for name, term in terms.items()]).sum()
        return loss, {name: term.detach() for name, term in terms.items()}, generated.image

    def _detect(self, images: Tensor) -> list[Tensor]:
        """The keypoints of images after each step of the detector."""
        detector = self.model.keypoint_detector
        if not self.frozen_detector:
            return detector.steps(images)
        detector.eval()  # its batch norms are as frozen as its weights
        with torch.no_grad():
            return detector.steps(images)

    def _on_patches(self, image: Tensor, driving: Tensor, points: Tensor) -> dict[str, Tensor]:
        """Terms on the patches that the detail refiner paints again; none of networks without one."""
        w, details, refiner = self.weights, self.model.details, self.model.keypoint_detector.refiner
        if details is None:
            return {}
        pixels, perceptual, keypoints = [], [], []
        for kind, frames in zip(details.settings.patches, details.patches(points), strict=True):
            made, truth = (cut_patches(i, frames, kind.pixels).flatten(0, 1) for i in (image, driving))
            pixels.append((made - truth).abs().mean())
            if self.perceptual is not None and w.patch_perceptual:
                large, target = (
                    F.interpolate(patch, scale_factor=2.0, mode="bilinear") for patch in (made, truth)
                )
                with torch.no_grad():
                    maps = self.perceptual.maps(target)
                perceptual.append(self.perceptual(large, maps))
        if refiner is not None and self.frozen_detector and w.patch_keypoints:
            frames = refiner.patches(points)
            with torch.no_grad():
                wanted = refiner.places(driving, frames)
            keypoints = [
                (a - b).abs().mean() for a, b in zip(refiner.places(image, frames), wanted, strict=True)
            ]
        named = {"patch_pixels": pixels, "patch_perceptual": perceptual, "patch_keypoints": keypoints}
        return {name: torch.stack(values).sum() for name, values in named.items() if values}

    def _hidden_map(self, source: Tensor, driving: Tensor, like: Tensor) -> Tensor:
        """(B, 1, H, W): 1 where the photo's head was and the driving frame's is not, as ellipses tell."""
        if self.head is None:
            return torch.zeros_like(like[:, :1])
        height, width = like.shape[-2:]
        grid = identity_grid(height, width, like).view(1, 1, -1, 2)
        (was,), (now,) = self.head(source), self.head(driving)
        left = (was.to_patch(grid).square().sum(-1) < 1) & (now.to_patch(grid).square().sum(-1) >= 1)
        hidden: Tensor = left.view(-1, 1, height, width).to(like.dtype)
        return hidden

    def _expression_map(self, points: Tensor, like: Tensor) -> Tensor:
        """(B, 1, H, W) in [0, 1]: near 1 at eyes and mouth."""
        index = self.expressive[0]
        if not len(index):
            return torch.zeros_like(like[:, :1])
        maps = gaussian_heatmaps(points[:, index], like.shape[-2], like.shape[-1], sigma=0.06)
        return maps.nan_to_num(0).amax(1, keepdim=True)

    @staticmethod
    def _motion_where_still(source: Tensor, driving: Tensor, grid: Tensor) -> Tensor:
        """Mean shift, in [-1, 1] units, where source and driving frame look the same."""
        height, width = grid.shape[1:3]
        shift = (grid - identity_grid(height, width, like=grid)).abs().sum(-1)
        difference = resize((source - driving).abs().mean(1, keepdim=True), height, width)[:, 0]
        return (shift * torch.exp(-((difference / 0.02) ** 2))).mean()


def _grid_off_the_flow(grid: Tensor, flow: Tensor, trust: Tensor, face: Tensor) -> Tensor:
    """How far a sampling grid (B, H, W, 2) is from ``pair_flow``'s, where that is to be trusted.

    What is near the keypoints ``face`` (B, K, 2) counts less.
    """
    height, width = grid.shape[1:3]
    moved = (grid - identity_grid(height, width, like=grid)).permute(0, 3, 1, 2)
    sure, found = resize(trust, height, width), resize(flow, height, width)
    outside = 1 - gaussian_heatmaps(face, height, width, FACE_SIGMA).amax(1, keepdim=True)
    return (outside * sure * (moved - found).abs().sum(1, keepdim=True)).mean()


def _keypoints_off_the_flow(source: Tensor, driving: Tensor, flow: Tensor, trust: Tensor) -> Tensor:
    """How far keypoints (B, F, 2) are from where optical flow carries them, where it is to be trusted.

    See ``pair_flow``. Nothing pulls a keypoint to where the flow is easier to follow.
    """
    there = driving.detach()[:, None]  # (B, 1, F, 2)
    found, sure = (
        F.grid_sample(maps, there, align_corners=True, padding_mode="border")[:, :, 0].mT
        for maps in (flow, trust)
    )
    return (sure * (source - driving - found).abs()).mean()
