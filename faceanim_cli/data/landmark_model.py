"""Landmarks of clips that came without: estimated from the keypoints of animation weights.

Training data carries landmarks for each frame, from which each model takes the keypoints it wants. Where no
landmark file is at hand, a keypoint model's output stands in for one: its keypoints are kept exactly, and the
landmarks between them follow by an average face. What comes out is an estimate and is marked as such.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from faceanim_cli.data.landmarks import (
    NUM_LANDMARKS,
    NUM_POINTS,
    PUPILS,
    Anchors,
    landmark_box,
    lid_distances,
)
from faceanim_cli.errors import WeightsError
from faceanim_cli.faces.framing import (
    crop_image,
    face_in_crop,
    inverse_crop_transform,
    transform_points,
)
from faceanim_cli.faces.tracking import FaceTrack
from faceanim_cli.pictures import Floats, Image, Points
from faceanim_cli.weights.load import load_weights
from faceanim_models.blocks import fold_batch_norms

BATCH = 16  # frames
FARTHEST = 0.5  # face box sides: keypoints whose own box lies farther from the tracked one are not its face's
LARGEST = 1.6  # and so are those whose box is that much larger or smaller
CLOSED = 0.15  # distance of the lids over the eye's width: below, a pupil is hidden

# An average face: x right, y down, the outer eye corners 1 apart around (0, 0). Median of 1560 frames of 153
# people, aligned by similarities; made symmetric.
MEAN_FACE = np.array([
    (-0.77, -0.113), (-0.77, 0.208), (-0.76, 0.366), (-0.685, 0.716), (-0.614, 0.862),  # jaw
    (-0.535, 0.969), (-0.348, 1.128), (-0.142, 1.23), (0, 1.245), (0.142, 1.23),
    (0.348, 1.128), (0.535, 0.969), (0.614, 0.862), (0.685, 0.716), (0.76, 0.366),
    (0.77, 0.208), (0.77, -0.113),
    (-0.685, -0.201), (-0.558, -0.229), (-0.453, -0.266), (-0.319, -0.265), (-0.162, -0.251),  # brows
    (0.162, -0.251), (0.319, -0.265), (0.453, -0.266), (0.558, -0.229), (0.685, -0.201),
    (0, -0.058), (0, 0.104), (0, 0.25), (0, 0.342), (-0.147, 0.451),  # nose
    (-0.086, 0.491), (0, 0.491), (0.086, 0.491), (0.147, 0.451),
    (-0.5, 0), (-0.421, -0.04), (-0.304, -0.046), (-0.192, 0.015), (-0.292, 0.038),  # eyes
    (-0.406, 0.036), (0.192, 0.015), (0.304, -0.046), (0.421, -0.04), (0.5, 0),
    (0.406, 0.036), (0.292, 0.038),
    (-0.289, 0.745), (-0.178, 0.662), (-0.089, 0.639), (0, 0.65), (0.089, 0.639),  # outer lips
    (0.178, 0.662), (0.289, 0.745), (0.169, 0.87), (0.091, 0.9), (0, 0.91),
    (-0.091, 0.9), (-0.169, 0.87),
    (-0.249, 0.739), (-0.068, 0.719), (0, 0.721), (0.068, 0.719), (0.249, 0.739),  # inner lips
    (0.073, 0.795), (0, 0.799), (-0.073, 0.795),
])  # fmt: skip
REACH = 1.0  # in outer eye distances: how far a keypoint's deviation from the average face carries
FEWEST_KEYPOINTS = 3  # an affine map needs as many


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
        self.anchors: tuple[tuple[int, ...], ...] = getattr(model.settings, "anchors", ())
        if len(among_the_68(self.anchors)) < FEWEST_KEYPOINTS:
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
            boxes = torch.tensor([face_in_crop(face, crop, self._size) for face in faces])
            found = self._model.detect(images, boxes.to(self._device)).points.cpu().numpy()
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


def lift_keypoints(keypoints: Points, anchors: Anchors) -> Points:
    """Landmarks (..., 80, 2) whose ``anchored_keypoints`` are ``keypoints`` (..., K, 2), in any unit.

    The average face is laid through the keypoints by the affine map with the least squared error: a turned
    head is narrower. What is left between its keypoints and the true ones is spread to the landmarks around
    by Gaussian process regression with a Matérn 3/2 kernel, which meets every keypoint. On people who had no
    part in the average the landmarks are 0.6 % of the outer eye distance off with the shipped model's 29
    anchors, were its keypoints perfect, and 2.8 % with the paper's ten.

    Of landmarks 68-79 those are known that have a keypoint of their own; the others are NaN.

    Raises:
        ValueError: fewer than three anchors among the 68.
    """
    usual = among_the_68(anchors)
    if len(usual) < FEWEST_KEYPOINTS:
        raise ValueError(f"{len(usual)} anchors cannot place a face: give {FEWEST_KEYPOINTS} or more")
    landmarks = np.full((*keypoints.shape[:-2], NUM_POINTS, 2), np.nan)
    from_keypoints = _lifting(tuple(anchors[k] for k in usual))
    landmarks[..., :NUM_LANDMARKS, :] = from_keypoints @ keypoints[..., usual, :].astype(np.float64)
    for k, group in enumerate(anchors):
        if len(group) == 1 and group[0] >= NUM_LANDMARKS:
            landmarks[..., group[0], :] = keypoints[..., k, :]
    return landmarks


def among_the_68(anchors: Anchors) -> list[int]:
    """The keypoints that are anchored to the usual 68 landmarks."""
    return [k for k, group in enumerate(anchors) if max(group) < NUM_LANDMARKS]


@lru_cache(maxsize=8)
def _lifting(anchors: Anchors) -> Points:
    """(68, K): both steps are linear in the keypoints, so they are one matrix."""
    mean_of = np.zeros((len(anchors), NUM_LANDMARKS))  # (K, 68)
    for k, group in enumerate(anchors):
        mean_of[k, list(group)] = 1 / len(group)
    distance = np.linalg.norm(MEAN_FACE[:, None] - MEAN_FACE[None], axis=-1) / REACH
    kernel = (1 + distance) * np.exp(-distance)  # (68, 68)
    spread = kernel @ mean_of.T @ np.linalg.pinv(mean_of @ kernel @ mean_of.T)  # (68, K)
    face = np.column_stack((MEAN_FACE, np.ones(NUM_LANDMARKS)))
    affine = face @ np.linalg.pinv(mean_of @ face)  # (68, K)
    lifting: Points = affine + spread @ (np.eye(len(anchors)) - mean_of @ affine)
    return lifting
