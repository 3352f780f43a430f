"""Landmarks of frames, estimated from the keypoints of animation weights.

The keypoints are kept exactly, and the landmarks between them follow by an average face. They stand in for
landmark files that training data came without, and frame faces for networks that are not ours.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from faceanim_cli.errors import WeightsError
from faceanim_cli.faces.framing import (
    crop_image,
    inverse_crop_transform,
    transform_points,
)
from faceanim_cli.faces.tracking import FaceTrack
from faceanim_cli.motion.head_model import PUPILS, Anchors
from faceanim_cli.motion.landmark_lifting import (
    FEWEST_KEYPOINTS,
    NUM_POINTS,
    among_the_68,
    landmark_box,
    lid_distances,
    lift_keypoints,
)
from faceanim_cli.pictures import Floats, Image
from faceanim_cli.weights.load import load_weights
from faceanim_models import AnimationModel
from faceanim_models.blocks import fold_batch_norms

BATCH = 16  # frames
FARTHEST = 0.5  # face box sides: keypoints whose own box lies farther from the tracked one are not its face's
LARGEST = 1.6  # and so are those whose box is that much larger or smaller
CLOSED = 0.15  # distance of the lids over the eye's width: below, a pupil is hidden


class LandmarkModel:
    """Finds landmarks in clips. Several threads may share one.

    Args:
        weights: animation weights whose keypoints are anchored to landmarks.
        device: where the keypoint detector runs.

    Raises:
        WeightsError: no such file, or its keypoints are not anchored to landmarks.
    """

    def __init__(self, weights: Path, device: torch.device) -> None:
        model = load_weights(weights)
        self.anchors: Anchors = getattr(model.settings, "anchors", ())
        if not isinstance(model, AnimationModel) or len(among_the_68(self.anchors)) < FEWEST_KEYPOINTS:
            raise WeightsError(
                f"{weights}: its keypoints are not anchored to facial landmarks; take weights of ours for "
                "--landmark-model, or give the landmarks with --landmarks"
            )
        self._model = fold_batch_norms(model).to(device).eval()
        self._size = model.settings.image_size
        self._device = device

    @torch.inference_mode()
    def __call__(self, frames: Iterable[Image], track: FaceTrack) -> Floats:
        """Landmarks (N, 80, 2), pixels of the frames; rows of NaN where they are not on the tracked face.

        Of landmarks 68-79 those are there that the model knows; pupils only of open eyes.

        Args:
            frames: uint8 RGB (H, W, 3), all of one size.
            track: the face's boxes, by position in ``frames``.
        """
        rows: list[Floats] = []
        for start, batch in _batches(frames):
            crop = track.clip_crop((batch[0].shape[1], batch[0].shape[0]))
            faces = [track.box_at(start + i) for i in range(len(batch))]
            pictures = np.stack([crop_image(frame, crop, self._size) for frame in batch])
            images = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).float() / 255
            found = self._model.detect(images).points.cpu().numpy()
            in_crop = (found.astype(np.float64) + 1) / 2 * (self._size - 1)
            keypoints = transform_points(inverse_crop_transform(crop, self._size), in_crop)
            for face, points in zip(faces, lift_keypoints(keypoints, self.anchors), strict=True):
                x, y, side = landmark_box(points)
                near = np.hypot(x + 0.5 - face.cx, y + 0.5 - face.cy) <= FARTHEST * face.side
                on_face = near and 1 / LARGEST < side / face.side < LARGEST
                rows.append(np.where(on_face, points, np.nan).astype(np.float32))
        landmarks = np.stack(rows) if rows else np.zeros((0, NUM_POINTS, 2), np.float32)
        closed = ~(lid_distances(landmarks) >= CLOSED)
        landmarks[:, list(PUPILS)] = np.where(closed[..., None], np.nan, landmarks[:, list(PUPILS)])
        return landmarks


def _batches(frames: Iterable[Image]) -> Iterator[tuple[int, list[Image]]]:
    remaining, start = iter(frames), 0
    while batch := list(islice(remaining, BATCH)):
        yield start, batch
        start += len(batch)
