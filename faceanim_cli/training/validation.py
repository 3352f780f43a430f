"""Validation on held-out people: source = first frame, every n-th frame, absolute keypoints."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.landmarks import NUM_LANDMARKS, anchored_keypoints
from faceanim_cli.data.pairs import Augmentation, jittered_framing, warp_frame
from faceanim_cli.image_metrics import l1, psnr, ssim
from faceanim_cli.pictures import Floats
from faceanim_cli.weights.load import KeypointModel
from faceanim_models import AnimationModel
from faceanim_models.first_order import FirstOrderMotion
from faceanim_models.geometry import resize

EVERY = 10  # frames; a clip with no more than that has nothing to score


@dataclass(frozen=True)
class ValidationScores:
    """Means over clips of the means over their frames; ``static`` repeats the source frame."""

    psnr: float  # dB (Eq. 8, data range 1)
    psnr_static: float
    psnr_warped: float  # of E alone
    ssim: float  # Eqs. 9-10
    ssim_static: float
    l1: float  # data range 1
    l1_static: float
    keypoints: float  # mean distance to the landmarks, [-1, 1] units; NaN for keypoints without anchors
    better: float  # share of the clips that beat their static source in PSNR

    @property
    def value(self) -> float:
        """What weights are best by."""
        return self.psnr

    def __str__(self) -> str:
        text = (
            f"PSNR {self.psnr:.2f} dB (static {self.psnr_static:.2f}, warp alone {self.psnr_warped:.2f}), "
            f"SSIM {self.ssim:.3f} ({self.ssim_static:.3f}), L1 {self.l1:.4f} ({self.l1_static:.4f}), "
            f"better on {self.better:.0%}"
        )
        return text if math.isnan(self.keypoints) else f"{text}, keypoints {self.keypoints:.4f}"


def framed_clip(clip: Clip, size: int, every: int) -> tuple[torch.Tensor, np.ndarray]:
    """Frames (N, 3, S, S) in [0, 1], landmarks (N, 80, 2) in [-1, 1], framed by the median landmarks."""
    middle = np.median(clip.landmarks[:, :NUM_LANDMARKS], axis=0)
    rng = np.random.default_rng(0)  # no augmentation: nothing is drawn from it
    matrix = jittered_framing(middle, clip.frames.shape[1:3], size, Augmentation.none(), rng)
    frames = np.stack([warp_frame(frame, matrix, size) for frame in clip.frames[::every]])
    points = clip.landmarks[::every] @ matrix[:, :2].T + matrix[:, 2]
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255, 2 * points / (size - 1) - 1


@torch.inference_mode()
def validate(
    model: KeypointModel, clips: Sequence[Clip], size: int, every: int = EVERY, batch: int = 8
) -> ValidationScores:
    """Score ``model``, in evaluation mode, on ``clips``. Runs on the model's device."""
    device = next(model.parameters()).device
    rows = []
    for clip in clips:
        frames, landmarks = framed_clip(clip, size, every)
        anchors = model.settings.anchors if isinstance(model, AnimationModel) else ()
        truth = torch.from_numpy(anchored_keypoints(landmarks, anchors)).float() if anchors else None
        code = model.encode_photo(frames[:1].to(device))
        scores = []
        for start in range(1, len(frames), batch):
            driving = frames[start : start + batch].to(device)
            keypoints = model.detect(driving)
            generated, _ = model(code.expand(len(driving)), keypoints)
            static = code.photo.expand_as(driving)
            results = [as_pictures(images) for images in (generated.image, static, generated.warped)]
            error = torch.full((len(driving),), torch.nan)
            if truth is not None:
                error = (keypoints.points.cpu() - truth[start : start + batch]).norm(dim=-1).nanmean(-1)
            for *pictures, wanted, off in zip(*results, as_pictures(driving), error.tolist(), strict=True):
                painted, unmoved, _ = pictures
                scores.append(
                    (
                        *(psnr(picture, wanted) for picture in pictures),
                        *(ssim(picture, wanted) for picture in (painted, unmoved)),
                        *(l1(picture, wanted) for picture in (painted, unmoved)),
                        off,
                    )
                )
        if scores:
            rows.append(np.mean(scores, axis=0))
    table = np.array(rows)
    means = table.mean(axis=0).tolist()
    return ValidationScores(*(*means, float((table[:, 0] > table[:, 1]).mean())))


def as_pictures(images: Tensor) -> Floats:
    """Images (B, 3, H, W) in [0, 1] as pictures (B, H, W, 3)."""
    pictures: Floats = images.float().clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
    return pictures


@torch.inference_mode()
def sample_grid(
    model: KeypointModel, clips: Sequence[Clip], size: int, rows: int = 6
) -> np.ndarray[Any, Any]:
    """A row for each clip: source, driving frame, E, the mask M, and I_t; uint8 RGB.

    M is white where pixels are painted anew: first-order-model's occlusion, inverted.
    The driving frame is the scored one whose landmarks are the farthest from the source's.
    """
    device = next(model.parameters()).device
    lines = []
    for clip in clips[:rows]:
        frames, landmarks = framed_clip(clip, size, EVERY)
        places = landmarks[:, :NUM_LANDMARKS]
        farthest = int(np.abs(places - places[0]).mean((1, 2)).argmax())
        source, driving = frames[:1].to(device), frames[farthest : farthest + 1].to(device)
        code = model.encode_photo(source)
        generated, motion = model(code, model.detect(driving))
        mask = generated.mask if isinstance(model, AnimationModel) else _painted(motion, like=source)
        mask = resize(mask.float(), size, size).expand(-1, 3, -1, -1)
        line = (source, driving, generated.warped, mask, generated.image)
        lines.append(torch.cat([picture[0].float().cpu() for picture in line], dim=2))
    grid = torch.cat(lines, dim=1).clamp(0, 1).mul(255).round().byte()
    return grid.permute(1, 2, 0).numpy()


def _painted(motion: FirstOrderMotion, like: Tensor) -> Tensor:
    """(B, 1, h, w): black where the networks tell no occlusion."""
    return torch.zeros_like(like[:, :1]) if motion.occlusion is None else 1 - motion.occlusion
