"""Metrics of pictures and of steadiness against values worked out by hand and other implementations."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from faceanim_cli.errors import FaceanimError
from faceanim_cli.image_metrics import (
    SCALE_WEIGHTS,
    as_bytes,
    as_unit,
    flicker,
    flow_from_before,
    l1,
    ms_ssim,
    psnr,
    ssim,
    warping_error,
)

Noise = Callable[..., np.ndarray]


def flat(level: int | float, size: tuple[int, int] = (16, 16)) -> np.ndarray:
    return np.full((*size, 3), level, np.uint8 if isinstance(level, int) else np.float32)


def skimage_ssim(a: np.ndarray, b: np.ndarray) -> float:
    return float(
        structural_similarity(
            as_unit(a),
            as_unit(b),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=2,
        )
    )


@pytest.mark.parametrize(("a", "b"), [(0, 255), (100, 110), (0, 1)])
def test_psnr_of_constant_pictures_by_hand(a: int, b: int) -> None:
    # MSE = ((b - a) / 255)^2, so PSNR = 20 log10(255 / |b - a|).
    assert psnr(flat(a), flat(b)) == pytest.approx(20 * math.log10(255 / (b - a)), abs=1e-5)


def test_psnr_counts_all_colours_together() -> None:
    truth, result = flat(0), flat(0)
    result[..., 0] = 51  # a third of the values is off by 0.2
    assert psnr(result, truth) == pytest.approx(-10 * math.log10(0.04 / 3), abs=1e-5)


def test_psnr_of_noise_is_scikit_images(noise: Noise) -> None:
    a, b = noise(2, 33, 47)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255), abs=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (11, 64), (33, 47), (101, 12)])
def test_ssim_is_scikit_images_with_the_same_window(noise: Noise, size: tuple[int, int]) -> None:
    a, b = noise(2, *size)
    mixed = (0.7 * a + 0.3 * b).astype(np.uint8)
    assert ssim(mixed, a) == pytest.approx(skimage_ssim(mixed, a), abs=1e-6)


def test_ssim_of_a_shifted_photo_and_of_flat_pictures(astronaut: np.ndarray) -> None:
    face = astronaut[:200, 120:320]
    shifted = np.roll(face, 3, axis=1)
    assert ssim(shifted, face) == pytest.approx(skimage_ssim(shifted, face), abs=1e-6)
    assert ssim(shifted, face) < 0.9
    # Without variance only the luminance factor is left: (2 a b + C1) / (a^2 + b^2 + C1).
    a, b = 0.9, 0.5
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert ssim(np.full((20, 20, 3), a), np.full((20, 20, 3), b)) == pytest.approx(expected, abs=1e-9)


def test_ssim_is_torchmetrics_inside_the_border_that_it_invents(noise: Noise) -> None:
    a, b = noise(2, 30, 40)
    mixed = (0.5 * a + 0.5 * b).astype(np.uint8)
    pair = [torch.from_numpy(as_unit(p)).permute(2, 0, 1)[None] for p in (mixed, a)]
    _, everywhere = structural_similarity_index_measure(*pair, data_range=1.0, return_full_image=True)
    assert ssim(mixed, a) == pytest.approx(float(everywhere[..., 5:-5, 5:-5].mean()), abs=1e-9)


def independent_ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2003, from its formulas, on scipy."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()

    def mean(x: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(x, taps, axis=0), taps, axis=1)[5:-5, 5:-5]

    result = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        ma, mb = mean(a), mean(b)
        va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
        factor = (2 * cov + 0.0009) / (va + vb + 0.0009)
        if scale == 4:
            factor = factor * (2 * ma * mb + 0.0001) / (ma**2 + mb**2 + 0.0001)
        result *= factor.mean() ** weight
        h, w = a.shape[0] // 2, a.shape[1] // 2
        a, b = (x[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 3).mean((1, 3)) for x in (a, b))
    return float(result)


def test_ms_ssim_against_its_formulas(astronaut: np.ndarray) -> None:
    face = astronaut[:180, 120:313]  # odd at some scales
    blurred = np.round((face.astype(float) + np.roll(face, 2, 0) + np.roll(face, 2, 1)) / 3).astype(np.uint8)
    expected = independent_ms_ssim(as_unit(blurred), as_unit(face))
    assert 0.5 < expected < 0.99
    assert ms_ssim(blurred, face) == pytest.approx(expected, abs=1e-9)
    assert ms_ssim(255 - face, face) == 0.0  # negative structure has no such power


def test_l1_by_hand() -> None:
    result = flat(0)
    result[:8] = 51  # half of the pixels off by 0.2
    assert l1(result, flat(0)) == pytest.approx(0.1, abs=1e-12)


def test_identical_pictures_are_perfect(astronaut: np.ndarray) -> None:
    face = astronaut[:180, 120:300]
    assert psnr(face, face) == math.inf
    assert ssim(face, face) == pytest.approx(1, abs=1e-12)
    assert ms_ssim(face, face) == pytest.approx(1, abs=1e-12)
    assert l1(face, face) == 0


@pytest.mark.parametrize("metric", [psnr, ssim, l1])
def test_eight_bits_and_floats_mean_the_same(metric: Callable[..., float], noise: Noise) -> None:
    a, b = noise(2, 20, 21)
    floats = [(p / 255).astype(np.float32) for p in (a, b)]
    assert metric(floats[0], b) == pytest.approx(metric(a, b), rel=1e-6)
    assert metric(*floats) == pytest.approx(metric(a, b), rel=1e-6)


def test_floats_round_to_eight_bits_and_back(noise: Noise) -> None:
    (a,) = noise(1)
    assert np.array_equal(as_bytes(a.astype(np.float32) / 255), a)
    assert as_bytes(np.array([[[-0.5, 0.5, 1.5]]])).tolist() == [[[0, 128, 255]]]


def test_pictures_smaller_than_the_window_are_named() -> None:
    with pytest.raises(FaceanimError, match="ssim needs frames of 11 pixels at least, not 10x40"):
        ssim(flat(0, (40, 10)), flat(0, (40, 10)))
    with pytest.raises(FaceanimError, match="ms-ssim needs frames of 176"):
        ms_ssim(flat(0, (175, 300)), flat(0, (175, 300)))


def grey(level: float) -> np.ndarray:
    return np.full((16, 16, 3), level)


def test_flicker_is_the_change_that_the_truth_does_not_have() -> None:
    # The result brightens by 0.3 where the truth brightens by 0.1.
    assert flicker(grey(0.2), grey(0.5), grey(0.4), grey(0.5)) == pytest.approx(0.2)
    # A constant error does not flicker.
    assert flicker(grey(0.2), grey(0.3), grey(0.4), grey(0.5)) == pytest.approx(0, abs=1e-12)
    # 8 bits: levels of 255ths.
    frames = [np.full((4, 4, 3), level, np.uint8) for level in (0, 51, 0, 0)]
    assert flicker(*frames) == pytest.approx(0.2)


def test_flow_finds_a_shift_and_what_came_into_view(astronaut: np.ndarray) -> None:
    before = astronaut[100:228, 150:278]
    frame = astronaut[100:228, 146:274]  # everything moves right by 4 pixels
    flow = flow_from_before(before, frame)
    y, x = np.indices((128, 128), dtype=float)
    inner = np.s_[24:-24, 24:-24]
    assert np.median(np.abs(flow.origin[..., 0] - (x - 4))[inner]) < 0.25
    assert np.median(np.abs(flow.origin[..., 1] - y)[inner]) < 0.25
    assert flow.seen[inner].mean() > 0.9
    assert not flow.seen[:, :2].any()  # it was outside the frame before


def test_warping_error_follows_the_motion(astronaut: np.ndarray) -> None:
    before, frame = astronaut[100:228, 150:278], astronaut[100:228, 146:274]
    flow = flow_from_before(before, frame)
    steady = warping_error(before, frame, flow)
    frozen = warping_error(before, before, flow)
    assert steady < 0.001
    assert frozen > 10 * steady
    # A result that brightens by 0.1 while it follows: the mean square of just that.
    brighter = np.clip(as_unit(before) * 0.5 + 0.2, 0, 1), np.clip(as_unit(frame) * 0.5 + 0.3, 0, 1)
    assert warping_error(*brighter, flow) == pytest.approx(0.01, abs=0.001)


def test_nothing_seen_is_no_number() -> None:
    flow = flow_from_before(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 3), np.uint8))
    blind = type(flow)(flow.origin, np.zeros_like(flow.seen))
    assert np.isnan(warping_error(grey(0), grey(1), blind))
