"""Dense optical flow between two frames of a clip: what keypoints without landmarks learn to follow."""

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

SIZE = 128  # pixels: the size that flow is worked out at
DOUBTED = 1.0  # pixels there and back again, at which a place counts 1 / e


def pair_flow(source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
    """Where each place of the driving frame is in the source frame, by Kroeger et al.'s DIS (2016).

    Args:
        source, driving: (3, H, W), RGB in [0, 1].

    Returns:
        The displacement (2, SIZE, SIZE), x and y in [-1, 1] units, and how far it is to be trusted
        (1, SIZE, SIZE) in [0, 1]: little where the flow back leads elsewhere.
    """
    was, now = _grey(source), _grey(driving)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow, back = (
        np.asarray(search.calc(*pair, np.zeros((SIZE, SIZE, 2), np.float32)))
        for pair in ((now, was), (was, now))
    )
    column, row = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    places = np.stack((column, row), axis=-1).astype(np.float32) + flow
    returned = flow + cv2.remap(
        back, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    inside = ((places >= 0) & (places <= SIZE - 1)).all(-1)
    trust = inside * np.exp(-np.linalg.norm(returned, axis=-1) / DOUBTED)
    displacement = flow.transpose(2, 0, 1) * (2 / (SIZE - 1))
    return torch.from_numpy(displacement), torch.from_numpy(trust[None].astype(np.float32))


def _grey(image: Tensor) -> np.ndarray[Any, Any]:
    """uint8 (SIZE, SIZE)."""
    picture = (image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    small = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
