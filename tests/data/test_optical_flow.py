"""Optical flow between frames that are shifted by a known amount."""

import cv2
import numpy as np
import torch

from faceanim_cli.data.optical_flow import SIZE, pair_flow

ROUGH = np.random.default_rng(0).random((24, 24, 3), np.float32)
FRAME = cv2.resize(ROUGH, (256, 256), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def as_tensor(frame):
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))


def shifted(right, down):
    matrix = np.float32([[1, 0, right], [0, 1, down]])
    return cv2.warpAffine(FRAME, matrix, (256, 256), borderMode=cv2.BORDER_REFLECT_101)


def test_the_displacement_of_a_shifted_frame():
    flow, trust = pair_flow(as_tensor(FRAME), as_tensor(shifted(8, -4)))
    assert flow.shape == (2, SIZE, SIZE) and trust.shape == (1, SIZE, SIZE)
    inner = slice(24, -24)  # what is at (x, y) of the driving frame was 8 to the left and 4 below
    np.testing.assert_allclose(flow[0, inner, inner].median(), -8 * 2 / 255, atol=0.004)
    np.testing.assert_allclose(flow[1, inner, inner].median(), 4 * 2 / 255, atol=0.004)
    assert trust[0, inner, inner].median() > 0.8


def test_what_has_left_the_frame_is_not_trusted():
    _, trust = pair_flow(as_tensor(FRAME), as_tensor(shifted(16, 0)))
    assert trust[0, 24:-24, :6].mean() < 0.3  # came in from outside
    assert trust[0, 24:-24, 24:-24].mean() > 0.8


def test_noise_is_not_trusted():
    other = np.random.default_rng(1).random((256, 256, 3), np.float32)
    _, trust = pair_flow(as_tensor(FRAME), as_tensor(other))
    assert trust.mean() < 0.5
