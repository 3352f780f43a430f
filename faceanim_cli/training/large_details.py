"""Train what paints eyes and mouth in results larger than the networks' frames; all else stays as it is.

faceanim train --stage details --data DATA --out RUN

The networks see crops of half the size, as they do in use; results show the photo's own detail, and only eyes
and mouth, which are painted, are as soft as half the size. A refiner with the photo beside it mends that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.landmarks import NUM_LANDMARKS
from faceanim_cli.data.pairs import Augmentation, PairDataset
from faceanim_cli.errors import UnreadableInputError, WeightsError
from faceanim_cli.faces.framing import FRAME_SCALE
from faceanim_cli.motion.landmark_lifting import landmark_box
from faceanim_cli.training.architecture import add_large_details
from faceanim_cli.training.loop import train
from faceanim_cli.training.motion import training_clips
from faceanim_cli.training.perceptual import PerceptualLoss, perceptual_loss
from faceanim_cli.training.progress import Listener, TrainingResult
from faceanim_cli.training.settings import DetailLossWeights, DetailTrainingSettings
from faceanim_cli.training.stage import Batch, Stage
from faceanim_cli.training.texture import contrast_distance, sharpness, sharpness_distance
from faceanim_cli.training.validation import EVERY, framed_clip
from faceanim_cli.weights.catalogue import ANIMATION, shipped_weights
from faceanim_cli.weights.load import load_weights
from faceanim_models import AnimationModel
from faceanim_models.detail_refiner import DetailRefiner
from faceanim_models.face_patches import PatchFrames, cut_patches
from faceanim_models.photo_detail import high_band, with_photo_detail

SCALE = 2  # the results' side over that of the networks' frames
DETAIL_FROM = 1.5  # of those sides, what a clip's crops must have: enlarged ones are as soft as the frames
AUGMENTATION = Augmentation(zoom=0.07, shift=0.06, background=0.0)  # crops keep their pixels
BETAS = (0.5, 0.99)


@dataclass(frozen=True)
class DetailScores:
    """Of eyes and mouth of people who are never trained on, refined and as they were before."""

    distance: float  # of SqueezeNet's features from the driving frames'
    distance_before: float
    psnr: float  # dB
    psnr_before: float
    sharpness: float  # mean size of the Laplacian, over the driving frames'
    sharpness_before: float

    @property
    def value(self) -> float:
        """What weights are best by: sharp patches may differ more, pixel by pixel, than soft ones."""
        return -self.distance

    def __str__(self) -> str:
        return (
            f"features {self.distance:.4f} apart ({self.distance_before:.4f} before), "
            f"PSNR {self.psnr:.2f} dB ({self.psnr_before:.2f}), "
            f"{self.sharpness:.0%} as sharp ({self.sharpness_before:.0%})"
        )


class DetailObjective(nn.Module):
    """Make eyes and mouth of the result those of the driving frame, another frame of the photo's clip.

    Args:
        model: with ``large_details``, which alone learn.
        perceptual: compares patches; None: there is no such term.
        weights: of the terms.
    """

    def __init__(
        self, model: AnimationModel, perceptual: PerceptualLoss | None, weights: DetailLossWeights
    ) -> None:
        super().__init__()
        assert model.large_details is not None
        self.refiner: DetailRefiner = model.large_details
        self.model, self.perceptual, self.weights = model, perceptual, weights

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss, a scalar; its terms by name, unweighted; and the mouths (B, 3, h, w).

        For ``batch`` see ``PairDataset``; its images are as large as results.
        """
        made, _, truth = self.patches(batch["source"], batch["driving"])
        w = self.weights
        terms: dict[str, Tensor] = {}

        def add(name: str, term: Tensor) -> None:
            terms[f"patch_{name}"] = terms.get(f"patch_{name}", 0) + term

        for number, (found, wanted) in enumerate(zip(made, truth, strict=True)):
            add("pixels", (found - wanted).abs().mean())
            add("sharpness", sharpness_distance(found, wanted))
            if self.perceptual is not None and (w.patch_perceptual or w.patch_contrast):
                with torch.no_grad():
                    target = self.perceptual.maps(wanted)
                maps = self.perceptual.maps(found)
                if w.patch_perceptual:
                    add("perceptual", self.perceptual.distance(maps, target))
                if w.patch_contrast:
                    add("contrast", contrast_distance(maps, target))
            if w.patch_keypoints:
                with torch.no_grad():
                    places = self._keypoints(number, wanted)
                add("keypoints", (self._keypoints(number, found) - places).abs().mean())
        loss = torch.stack([getattr(w, name) * term for name, term in terms.items()]).sum()
        return loss, {name: term.detach() for name, term in terms.items()}, made[-1]

    def patches(self, source: Tensor, driving: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Patches of each kind, (B N, 3, h, w): of the result, of what is refined, of the driving frame."""
        model, refiner = self.model, self.refiner
        if self.training:
            model.eval()  # its batch norms are as frozen as its weights
            refiner.train()
        with torch.no_grad():
            side = source.shape[-1] // SCALE
            small = F.interpolate(torch.cat((source, driving)), (side, side), mode="area")
            known, asked = (model.detect(frames) for frames in small.chunk(2))
            was, now = known.points.float(), asked.points.float()
            painted, motion = model(model.encode_photo(small[: len(source)], known), asked)
            shown = with_photo_detail(
                painted.image, painted.warped, painted.mask, motion.grid, high_band(source, side)
            ).clamp(0, 1)
            codes = refiner.encode(source, was)
        made, before, truth = [], [], []
        for number, (kind, frames, code) in enumerate(
            zip(refiner.settings.patches, refiner.patches(now), codes, strict=True)
        ):
            patches = cut_patches(shown, frames, kind.pixels)
            before.append(patches.flatten(0, 1))
            made.append((patches + refiner.change(number, patches, now, frames, code)).flatten(0, 1))
            truth.append(cut_patches(driving, frames, kind.pixels).flatten(0, 1))
        return made, before, truth

    def _keypoints(self, number: int, patches: Tensor) -> Tensor:
        """Where the detector sees the keypoints in patches of a kind (M, 3, h, w), in [-1, 1] of its own."""
        detector = self.model.keypoint_detector.refiner
        assert detector is not None
        ours, theirs = self.refiner.settings.patches[number], detector.settings.patches[number]
        # Both are upright about the same keypoints: one lies in the other wherever the head is.
        size = patches.new_tensor([ours.width, ours.height])
        axes = torch.diag(patches.new_tensor([theirs.width, theirs.height]) / size)
        centre = 2 * patches.new_tensor([0.0, theirs.drop - ours.drop]) / size
        count = len(patches)
        frames = PatchFrames(centre.expand(count, 1, 2), axes.expand(count, 1, 2, 2))
        return detector.places_in(number, F.avg_pool2d(patches, SCALE), frames)


def train_details(
    settings: DetailTrainingSettings, listener: Listener | None = None
) -> TrainingResult | None:
    """Train the ``large_details`` of ``settings.init``, else of the shipped weights; see :func:`loop.train`.

    Raises:
        UnreadableInputError: no usable data, or none whose faces are large enough.
        WeightsError: ``init`` has no keypoints of eyes and mouth. And what the loop raises.
    """
    return train(settings, lambda fabric: _stage(settings, fabric), listener)


def _stage(settings: DetailTrainingSettings, fabric: Fabric) -> Stage:
    init = settings.init or shipped_weights(ANIMATION)
    model = load_weights(init)
    if not isinstance(model, AnimationModel) or model.details is None:
        raise WeightsError(
            f"{init}: paints no eyes and mouth by themselves; --stage motion makes such weights"
        )
    model = add_large_details(model).requires_grad_(False)
    assert model.large_details is not None
    model.large_details.requires_grad_(True)
    side = SCALE * settings.size
    clips = training_clips(settings, fabric, side=round(1.25 * side))
    large = [clip for clip in clips.train if crop_side(clip) >= DETAIL_FROM * settings.size]
    if not large:
        raise UnreadableInputError(
            f"{settings.data}: no clip to train on shows a face whose crop has "
            f"{DETAIL_FROM * settings.size:.0f} pixels or more, which larger results are learned from"
        )
    val = [clip for clip in clips.val if crop_side(clip) >= DETAIL_FROM * settings.size]
    anchors = model.settings.anchors
    compare = perceptual_loss("squeezenet")
    assert compare is not None
    scoring = compare.to(fabric.device)

    def pairs(count: int) -> PairDataset:
        return PairDataset(large, anchors, side, count, settings.seed, AUGMENTATION)

    def scores(averaged: nn.Module) -> tuple[DetailScores, None]:
        assert isinstance(averaged, AnimationModel)
        return validate_details(averaged, val, side, scoring), None

    people = len({clip.identity for clip in large})
    return Stage(
        network=model,
        objective=DetailObjective(
            model, perceptual_loss(settings.perceptual, settings.offline), settings.losses
        ),
        data=pairs,
        about=f"{len(large)} clips of {people} people with large faces, {len(val)} to validate on",
        validate=scores if val else None,
        unit="apart",
        lower_is_better=True,
        betas=BETAS,
    )


def crop_side(clip: Clip) -> float:
    """Pixels a side of the crop of a clip's face."""
    _, _, face = landmark_box(np.median(clip.landmarks[:, :NUM_LANDMARKS], axis=0))
    return float(min(FRAME_SCALE * face, *clip.frames.shape[1:3]))


@torch.inference_mode()
def validate_details(
    model: AnimationModel, clips: Sequence[Clip], side: int, compare: PerceptualLoss, batch: int = 4
) -> DetailScores:
    """Scores of a model in evaluation mode: a clip's first frame is its photo, every tenth is to be made."""
    device = next(model.parameters()).device
    objective = DetailObjective(model, None, replace(DetailLossWeights(), patch_keypoints=0)).eval()
    rows = []
    for clip in clips:
        frames, _ = framed_clip(clip, side, EVERY)
        for start in range(1, len(frames), batch):
            driving = frames[start : start + batch].to(device)
            made, before, truth = objective.patches(frames[:1].to(device).expand_as(driving), driving)
            for found, old, wanted in zip(made, before, truth, strict=True):
                maps = compare.maps(wanted)
                row = [compare(patches, maps) for patches in (found, old)]
                row += [_psnr(patches, wanted) for patches in (found, old)]
                row += [sharpness(patches).mean() / sharpness(wanted).mean() for patches in (found, old)]
                rows.append(torch.stack(row).float().cpu())
    return DetailScores(*torch.stack(rows).mean(0).tolist())


def _psnr(found: Tensor, wanted: Tensor) -> Tensor:
    """Eq. 8, dB, the mean over patches (M, 3, h, w)."""
    return -10 * (found - wanted).square().mean((1, 2, 3)).clamp_min(1e-10).log10().mean()
