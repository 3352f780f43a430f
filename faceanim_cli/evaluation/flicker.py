"""Steadiness over time: what changes from frame to frame in the result and did not change in the truth."""

from dataclasses import dataclass

import cv2
import numpy as np

from faceanim_cli.evaluation.pictures import Picture, as_bytes, as_unit
from faceanim_cli.pictures import Flags, Floats

# A pixel is occluded where flow there and flow back do not cancel (Ruder, Dosovitskiy and Brox 2016, Eq. 5).
OCCLUSION_SHARE, OCCLUSION_FLOOR = 0.01, 0.5  # of the squared lengths; and so many squared pixels


@dataclass(frozen=True)
class Flow:
    """Where each pixel of a frame was in the frame before.

    Attributes:
        origin: (H, W, 2) float32, x and y in pixels of the frame before.
        seen: (H, W) bool, whether it was visible there.
    """

    origin: Floats
    seen: Flags


def flow_from_before(before: Picture, frame: Picture) -> Flow:
    """Dense optical flow (DIS, Kroeger et al. 2016) from ``frame`` back to the frame before it."""
    grey_before, grey = (cv2.cvtColor(as_bytes(p), cv2.COLOR_RGB2GRAY) for p in (before, frame))
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back = dis.calc(grey, grey_before, np.zeros((*grey.shape, 2), np.float32))
    there = dis.calc(grey_before, grey, np.zeros((*grey.shape, 2), np.float32))
    y, x = np.indices(grey.shape, dtype=np.float32)
    origin = np.stack((x, y), axis=-1) + back
    there_at_origin = cv2.remap(there, origin, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
    gap = np.square(back + there_at_origin).sum(-1)
    lengths = np.square(back).sum(-1) + np.square(there_at_origin).sum(-1)
    inside = (origin >= 0).all(-1) & (origin[..., 0] <= x.max()) & (origin[..., 1] <= y.max())
    return Flow(origin, inside & (gap <= OCCLUSION_SHARE * lengths + OCCLUSION_FLOOR))


def flicker(before: Picture, result: Picture, truth_before: Picture, truth: Picture) -> float:
    """Mean absolute error of the change from frame to frame: lower is better, 0 to 2 (ours)."""
    change = as_unit(result) - as_unit(before)
    wanted = as_unit(truth) - as_unit(truth_before)
    return float(np.abs(change - wanted).mean())


def warping_error(before: Picture, result: Picture, flow: Flow) -> float:
    """Mean squared change along the truth's motion: lower is better, 0 to 1 (Lai et al. 2018, Eq. 6)."""
    if not flow.seen.any():
        return float("nan")
    moved = cv2.remap(as_unit(before).astype(np.float32), flow.origin, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
    return float(np.square(as_unit(result) - moved)[flow.seen].mean())
