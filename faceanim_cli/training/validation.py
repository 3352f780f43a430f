"""Scores on people who are never trained on: source = first frame, every n-th frame, absolute keypoints."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.landmarks import anchored_keypoints
from faceanim_cli.data.pairs import Augmentation, jittered_framing, warp_frame
from faceanim_models import AnimationModel

EVERY = 10  # frames; a clip with no more than that has nothing to score


@dataclass(frozen=True)
class ValidationScores:
    """Means over clips of the means over their frames. PSNR in dB (Eq. 8, data range 1)."""

    psnr: float
    psnr_static: float  # of repeating the source frame
    psnr_warped: float  # of E alone
    keypoints: float  # mean distance to the landmarks, [-1, 1] units
    better: float  # share of the clips that beat their static source

    def __str__(self) -> str:
        return (
            f"PSNR {self.psnr:.2f} dB (static {self.psnr_static:.2f}, warp alone {self.psnr_warped:.2f}), "
            f"better on {self.better:.0%}, keypoints {self.keypoints:.4f}"
        )


def framed_clip(clip: Clip, size: int, every: int) -> tuple[torch.Tensor, np.ndarray]:
    """Frames (N, 3, S, S) in [0, 1], landmarks (N, 68, 2) in [-1, 1], framed by the median landmarks."""
    middle = np.median(clip.landmarks, axis=0)
    rng = np.random.default_rng(0)  # no augmentation: nothing is drawn from it
    matrix = jittered_framing(middle, clip.frames.shape[1:3], size, Augmentation.none(), rng)
    frames = np.stack([warp_frame(frame, matrix, size) for frame in clip.frames[::every]])
    points = clip.landmarks[::every] @ matrix[:, :2].T + matrix[:, 2]
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255, 2 * points / (size - 1) - 1


@torch.inference_mode()
def validate(
    model: AnimationModel, clips: Sequence[Clip], size: int, every: int = EVERY, batch: int = 8
) -> ValidationScores:
    """Score ``model``, in evaluation mode, on ``clips``. Runs on the model's device."""
    device = next(model.parameters()).device
    rows = []
    for clip in clips:
        frames, landmarks = framed_clip(clip, size, every)
        truth = torch.from_numpy(anchored_keypoints(landmarks, model.settings.anchors)).float()
        code = model.encode_photo(frames[:1].to(device))
        scores = []
        for start in range(1, len(frames), batch):
            driving = frames[start : start + batch].to(device)
            keypoints = model.keypoint_detector(driving)
            generated, _ = model(code.expand(len(driving)), keypoints)
            error = (keypoints.cpu() - truth[start : start + batch]).norm(dim=-1).mean(-1)
            pictures = (generated.image, code.photo.expand_as(driving), generated.warped)
            for j in range(len(driving)):
                psnr = [peak_signal_noise_ratio(p[j], driving[j], data_range=1.0).item() for p in pictures]
                scores.append([*psnr, error[j].item()])
        if scores:
            rows.append(np.mean(scores, axis=0))
    table = np.array(rows)
    psnr, static, warped, keypoints = table.mean(axis=0).tolist()
    return ValidationScores(psnr, static, warped, keypoints, float((table[:, 0] > table[:, 1]).mean()))
