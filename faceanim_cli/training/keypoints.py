"""Train the keypoint detector alone, on landmarks; the networks it belongs to stay as they are.

faceanim train --stage keypoints --data DATA --out RUN
"""

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from faceanim_cli.data.frames import FrameDataset
from faceanim_cli.data.landmarks import Anchors, expressive
from faceanim_cli.errors import WeightsError
from faceanim_cli.training.keypoint_scores import (
    BROWS,
    LIDS,
    LIPS,
    PUPILS,
    WIDTH,
    KeypointScores,
    pairs_of,
    validate_keypoints,
)
from faceanim_cli.training.loop import train
from faceanim_cli.training.motion import training_clips
from faceanim_cli.training.progress import Listener, TrainingResult
from faceanim_cli.training.settings import KeypointLossWeights, KeypointTrainingSettings
from faceanim_cli.training.stage import Batch, Stage
from faceanim_cli.weights.catalogue import ANIMATION, shipped_weights
from faceanim_cli.weights.load import load_weights
from faceanim_models import AnimationModel, KeypointDetector
from faceanim_models.face_patches import KeypointGroups

BETAS = (0.9, 0.999)


class KeypointObjective(nn.Module):
    """Find the keypoints where the landmarks are, after each of the detector's steps.

    Args:
        detector: what is trained.
        anchors: which landmarks make which keypoint.
        weights: of the terms.
    """

    def __init__(self, detector: KeypointDetector, anchors: Anchors, weights: KeypointLossWeights) -> None:
        super().__init__()
        self.detector, self.weights = detector, weights
        importance = torch.ones(len(anchors))
        importance[list(expressive(anchors))] += weights.expression
        self.importance: Tensor
        self.register_buffer("importance", importance[:, None], persistent=False)
        pairs = pairs_of(anchors, (*LIDS, *LIPS, *WIDTH, *BROWS, *PUPILS))
        self.ends = KeypointGroups([[pair[side] for pair in pairs] for side in (0, 1)])

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss, a scalar; its terms by name, unweighted; and the keypoints (B, K, 2).

        For ``batch`` see ``FrameDataset``. Points that are not known are left out. The terms of a detector
        that finds its keypoints in two steps are those of the second, and ``coarse_...`` those of the first.
        """
        truth, w = batch["points"], self.weights
        a, b = self.ends[0], self.ends[1]
        known = truth.isfinite()
        both_known = known[:, a] & known[:, b]
        steps = self.detector.steps(batch["frame"])
        loss = truth.new_zeros(())
        terms: dict[str, Tensor] = {}
        for number, points in enumerate(steps, start=1):
            error = torch.where(known, points.float() - truth, 0)  # without a gradient where nothing is known
            of_points = _mean(error.abs() * self.importance, known)
            of_openings = _mean((error[:, a] - error[:, b]).abs(), both_known)
            loss = loss + w.points * of_points + w.openings * of_openings
            prefix = "" if number == len(steps) else "coarse_"
            terms |= {f"{prefix}points": of_points.detach(), f"{prefix}openings": of_openings.detach()}
        return loss, terms, steps[-1]


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """The mean of the values that are ``counted``; 0 of none."""
    return (values * counted).sum() / counted.sum().clamp_min(1)


def train_keypoints(
    settings: KeypointTrainingSettings, listener: Listener | None = None
) -> TrainingResult | None:
    """Train the keypoint detector in ``settings.init``, else of the shipped weights; see :func:`loop.train`.

    What comes out is an animation checkpoint whose other networks are those it began from.

    Raises:
        UnreadableInputError: no usable data.
        WeightsError: ``init`` has no keypoints that landmarks could teach. And what the loop raises.
    """
    return train(settings, lambda fabric: _stage(settings, fabric), listener)


def _stage(settings: KeypointTrainingSettings, fabric: Fabric) -> Stage:
    init = settings.init or shipped_weights(ANIMATION)
    model = load_weights(init)
    if not isinstance(model, AnimationModel) or not model.settings.anchors:
        raise WeightsError(f"{init}: its keypoints are found freely: there is nothing that landmarks teach")
    clips = training_clips(settings, fabric)
    model.requires_grad_(False)
    detector = model.keypoint_detector.requires_grad_(True).train()
    anchors = model.settings.anchors

    def frames(count: int) -> FrameDataset:
        return FrameDataset(clips.train, anchors, settings.size, count, settings.seed)

    def scores(averaged: nn.Module) -> tuple[KeypointScores, None]:
        assert isinstance(averaged, AnimationModel)
        return validate_keypoints(averaged, clips.val, settings.size), None

    count = sum(len(clip.frames) for clip in clips.train)
    people = len({clip.identity for clip in clips.train})
    return Stage(
        network=model,
        objective=KeypointObjective(detector, anchors, settings.losses),
        data=frames,
        about=f"{count} frames in {len(clips.train)} clips of {people} people, {len(clips.val)} clips to "
        f"validate on; {settings.size} pixels",
        validate=scores if clips.val else None,
        unit="px of 256",
        lower_is_better=True,
        betas=BETAS,
    )
