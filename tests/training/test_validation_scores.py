"""Validation scores against scikit-image's, on a clip whose motion is known."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import nn

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.landmarks import DENSE_ANCHORS, anchored_keypoints
from faceanim_cli.training.validation import framed_clip, validate
from tests.training.conftest import SIZE, moving_frames


@pytest.fixture(scope="module")
def clips():
    made = []
    for who in (0, 1):
        frames, points = moving_frames(12, seed=who)
        made.append(Clip(f"c{who}", f"p{who}", frames, points))
    return made


def silent(model):
    """Identity motion, nothing repainted: the result is the source frame."""
    nn.init.zeros_(model.dense_motion.mixture.weight)
    nn.init.zeros_(model.dense_motion.mixture.bias)
    nn.init.zeros_(model.generator.head.weight)
    nn.init.zeros_(model.generator.head.bias)
    with torch.no_grad():
        model.generator.head.bias[12:] = -30.0
        model.dense_motion.mixture.bias[0] = 60.0
    return model.eval()


def test_frames_are_centred_on_the_median_face(clips):
    frames, points = framed_clip(clips[0], SIZE, every=5)
    assert frames.shape == (3, 3, SIZE, SIZE)  # frames 0, 5 and 10
    assert points.shape == (3, 68, 2)
    assert frames.min() >= 0
    assert frames.max() <= 1
    assert np.abs(points.mean((0, 1))).max() < 0.4
    assert not np.allclose(points[0], points[1])


def test_a_model_that_repeats_the_source_scores_as_the_static_picture(model, clips):
    scores = validate(silent(model), clips, SIZE, every=4, batch=2)
    expected = []
    for clip in clips:
        frames, _ = framed_clip(clip, SIZE, every=4)
        first, *rest = frames.numpy()
        expected.append(np.mean([peak_signal_noise_ratio(frame, first, data_range=1) for frame in rest]))
    assert scores.psnr_static == pytest.approx(np.mean(expected), abs=1e-3)
    assert scores.psnr == pytest.approx(scores.psnr_static, abs=1e-2)
    assert scores.psnr_warped == pytest.approx(scores.psnr_static, abs=1e-2)


def test_keypoints_are_measured_as_distances_to_the_landmarks(model, clips):
    nn.init.zeros_(model.keypoint_detector.heatmaps.weight)
    nn.init.zeros_(model.keypoint_detector.heatmaps.bias)  # all keypoints are found in the middle
    scores = validate(model.eval(), clips[:1], SIZE, every=4)
    _, landmarks = framed_clip(clips[0], SIZE, every=4)
    truth = anchored_keypoints(landmarks[1:], DENSE_ANCHORS)
    assert scores.keypoints == pytest.approx(np.hypot(truth[..., 0], truth[..., 1]).mean(), abs=1e-4)


def test_a_worse_model_is_better_on_no_clip(model, clips):
    nn.init.constant_(silent(model).generator.head.bias, 30.0)  # repaints everything, far too bright
    scores = validate(model, clips, SIZE, every=4)
    assert scores.better == 0
    assert scores.psnr < scores.psnr_static
    assert "0%" in str(scores)


def test_does_not_depend_on_the_batch(model, clips):
    one = validate(model.eval(), clips[:1], SIZE, every=3, batch=1)
    four = validate(model.eval(), clips[:1], SIZE, every=3, batch=4)
    for name, value in dataclasses.asdict(one).items():
        assert getattr(four, name) == pytest.approx(value, rel=1e-4)


def test_a_clip_too_short_to_score_does_not_spoil_the_others(model, clips):
    short = Clip("short", "p9", clips[0].frames[:3], clips[0].landmarks[:3])
    both, alone = (validate(model.eval(), c, SIZE, every=4) for c in ([clips[0], short], clips[:1]))
    assert both == alone
    assert math.isfinite(both.psnr)
