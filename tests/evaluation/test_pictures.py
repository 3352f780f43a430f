"""Metrics of one picture against values worked out by hand and against other implementations."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from faceanim_cli.errors import FaceanimError
from faceanim_cli.evaluation.pictures import SCALE_WEIGHTS, as_bytes, as_unit, l1, ms_ssim, psnr, ssim

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
