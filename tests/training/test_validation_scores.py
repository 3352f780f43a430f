"""Validation scores against scikit-image's, on a clip whose motion is known."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn

from faceanim_cli.data.clips import Clip
from faceanim_cli.data.landmarks import DENSE_ANCHORS, anchored_keypoints
from faceanim_cli.training.validation import framed_clip, sample_grid, validate
from faceanim_models import AnimationModel, FirstOrderModel
from tests.conftest import TINY_FIRST_ORDER
from tests.training.conftest import SIZE, moving_frames, tiny_settings


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
    assert scores.ssim == pytest.approx(scores.ssim_static, abs=1e-3)
    assert scores.l1 == pytest.approx(scores.l1_static, abs=1e-4)


def test_ssim_and_l1_of_the_static_picture_are_scikit_image_s(model, clips):
    with torch.autocast("cpu", torch.bfloat16):  # as in training: the networks' business, not the scores'
        scores = validate(model.eval(), clips[:1], SIZE, every=4)
    first, *rest = framed_clip(clips[0], SIZE, every=4)[0].numpy()
    options = {"data_range": 1, "channel_axis": 0, "gaussian_weights": True, "sigma": 1.5}
    options |= {"use_sample_covariance": False}
    ssim = [structural_similarity(first, frame, **options) for frame in rest]
    assert scores.ssim_static == pytest.approx(np.mean(ssim), abs=2e-3)
    assert scores.l1_static == pytest.approx(
        np.mean([np.abs(first - frame).mean() for frame in rest]), abs=1e-5
    )


def test_free_keypoints_have_no_distance_to_landmarks(clips):
    scores = validate(AnimationModel(tiny_settings(anchors=())).eval(), clips[:1], SIZE, every=4)
    assert math.isnan(scores.keypoints)
    assert "keypoints" not in str(scores)
    assert math.isfinite(scores.psnr)


def test_a_sample_grid_shows_source_driving_frame_warp_mask_and_result(model, clips):
    grid = sample_grid(silent(model), clips, SIZE, rows=1)
    assert grid.shape == (SIZE, 5 * SIZE, 3)
    source, driving, warped, mask, result = np.split(grid, 5, axis=1)
    frames, _ = framed_clip(clips[0], SIZE, every=10)
    for shown, frame in ((source, frames[0]), (driving, frames[1])):  # frame 10 is farther away than frame 0
        np.testing.assert_array_equal(shown, np.rint(255 * frame.permute(1, 2, 0).numpy()))
    assert not mask.any()
    assert np.abs(warped.astype(int) - source).max() <= 1
    assert np.abs(result.astype(int) - source).max() <= 1


@torch.inference_mode()
def test_first_order_model_is_scored_by_the_frames_it_paints(clips):
    model = FirstOrderModel(TINY_FIRST_ORDER).eval()
    scores = validate(model, clips[:1], SIZE, every=4)
    frames, _ = framed_clip(clips[0], SIZE, every=4)
    code = model.encode_photo(frames[:1])
    painted = [model(code, model.detect(frame[None]))[0].image[0] for frame in frames[1:]]
    pairs = [(a.numpy(), b.numpy()) for a, b in zip(frames[1:], painted, strict=True)]
    psnr = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]
    assert scores.psnr == pytest.approx(np.mean(psnr), abs=1e-3)
    assert scores.l1 == pytest.approx(np.mean([np.abs(a - b).mean() for a, b in pairs]), abs=1e-5)
    assert math.isnan(scores.keypoints)


@pytest.mark.parametrize(("occlusion", "bias", "shown"), [(True, 30, 0), (True, -30, 255), (False, 0, 0)])
def test_its_sample_grid_is_white_where_it_paints_anew(clips, occlusion, bias, shown):
    model = FirstOrderModel(dataclasses.replace(TINY_FIRST_ORDER, occlusion=occlusion)).eval()
    layer = model.generator.dense_motion_network.occlusion
    if layer is not None:
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, bias)
    grid = sample_grid(model, clips, SIZE, rows=2)
    assert grid.shape == (2 * SIZE, 5 * SIZE, 3)
    assert (grid[:, 3 * SIZE : 4 * SIZE] == shown).all()


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
