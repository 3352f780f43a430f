"""Coordinates, warps and the similarity fit, against slices, scipy and scikit-image."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import SimilarityTransform, estimate_transform
from torch.nn import functional as F

from faceanim_models.geometry import (
    fit_similarity,
    gaussian_heatmaps,
    identity_grid,
    resize,
    resize_grid,
    sample_at,
    sample_rows,
    warp,
)

HEIGHT, WIDTH = 12, 20  # unequal, so that swapped axes show


def pixels(points, height, width):
    """[-1, 1] to pixel positions by the rule of the package: -1 first centre, 1 last centre."""
    return (np.asarray(points) + 1) / 2 * (np.array([width, height]) - 1)


def ramps(height, width):
    """A picture of its own pixel positions: channel 0 is x, channel 1 is y."""
    ys, xs = np.mgrid[:height, :width]
    return torch.from_numpy(np.stack((xs, ys)).astype(np.float32))[None]


class TestWarp:
    def test_the_identity_grid_changes_nothing(self):
        image = torch.rand(2, 3, HEIGHT, WIDTH)
        grid = identity_grid(HEIGHT, WIDTH, image).expand(2, -1, -1, -1)
        torch.testing.assert_close(warp(image, grid), image, rtol=0, atol=2e-5)

    def test_the_identity_grid_has_x_first_and_y_down(self):
        grid = identity_grid(3, 5, torch.zeros(1))
        assert grid.shape == (1, 3, 5, 2)
        assert grid[0, 0, 4].tolist() == [1, -1]  # top right
        assert grid[0, 2, 0].tolist() == [-1, 1]  # bottom left
        assert grid[0, 1, 1].tolist() == [-0.5, 0]

    @pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, 1), (-3, 0), (2, -4)])
    def test_a_grid_moved_by_whole_pixels_is_a_slice(self, dx, dy):
        image = torch.rand(1, 3, HEIGHT, WIDTH)
        step = torch.tensor([2 * dx / (WIDTH - 1), 2 * dy / (HEIGHT - 1)])
        moved = warp(image, identity_grid(HEIGHT, WIDTH, image) + step)
        # np.roll, the border pixels repeated instead of wrapped around
        columns = np.clip(np.arange(WIDTH) + dx, 0, WIDTH - 1)
        rows = np.clip(np.arange(HEIGHT) + dy, 0, HEIGHT - 1)
        expected = image[:, :, rows][:, :, :, columns]
        torch.testing.assert_close(moved, expected, rtol=0, atol=5e-5)

    def test_samples_between_pixels_as_scipy_does(self):
        rng = np.random.default_rng(0)
        image = rng.random((3, HEIGHT, WIDTH))
        points = rng.uniform(-1, 1, (7, 5, 2))
        seen = warp(torch.from_numpy(image)[None].float(), torch.from_numpy(points)[None].float())[0]
        x, y = np.moveaxis(pixels(points, HEIGHT, WIDTH), -1, 0)
        expected = np.stack([ndimage.map_coordinates(channel, (y, x), order=1) for channel in image])
        np.testing.assert_allclose(seen, expected, atol=1e-5)

    def test_half_precision_keeps_positions(self):
        image = ramps(4, 256)[:, :1].to(torch.bfloat16)  # 0..255 are exact in bfloat16
        grid = identity_grid(4, 256, image)
        with torch.autocast("cpu", torch.bfloat16):
            seen = warp(image, grid)
        assert seen.dtype == torch.bfloat16
        assert torch.equal(seen, image)


class TestResize:
    @pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (23, 39), (34, 58)])
    def test_enlarging_keeps_the_corners_and_is_linear_between(self, size):
        resized = resize(ramps(HEIGHT, WIDTH), *size)[0]
        x = np.linspace(0, WIDTH - 1, size[1])
        y = np.linspace(0, HEIGHT - 1, size[0])
        np.testing.assert_allclose(resized[0], np.broadcast_to(x, size), atol=1e-4)
        np.testing.assert_allclose(resized[1], np.broadcast_to(y[:, None], size), atol=1e-4)

    @pytest.mark.parametrize(("before", "after"), [(256, 128), (256, 64), (128, 32), (128, 64), (90, 64)])
    def test_shrinking_keeps_positions(self, before, after):
        # A low-pass bends a ramp at its ends only; in between, position i (n - 1) / (m - 1) must be seen.
        resized = resize(ramps(before, before), after, after)[0].numpy()
        expected = np.linspace(0, before - 1, after)
        inner = slice(3, -3)
        tolerance = 0.1 * before / after  # a tenth of a pixel of the result
        np.testing.assert_allclose(resized[0, after // 2, inner], expected[inner], atol=tolerance)
        np.testing.assert_allclose(resized[1, inner, after // 2], expected[inner], atol=tolerance)

    def test_shrinking_a_symmetric_picture_keeps_it_symmetric(self):
        half = torch.rand(1, 3, 32, 16)
        image = torch.cat((half, half.flip(-1)), dim=-1)
        shrunk = resize(image, 16, 16)
        torch.testing.assert_close(shrunk, shrunk.flip(-1), rtol=0, atol=1e-5)

    def test_shrinking_does_not_alias(self):
        stripes = torch.arange(256).remainder(2).float().expand(1, 1, 256, 256)
        shrunk = resize(stripes, 64, 64)[..., 2:-2, 2:-2]
        assert shrunk.min() > 0.35
        assert shrunk.max() < 0.65

    @pytest.mark.parametrize("size", [(5, 9), (5, 24), (12, 20), (1, 1)])
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_without_gradients_the_same_comes_by_fewer_products(self, size, layout):
        image = torch.rand(2, 3, HEIGHT, WIDTH).contiguous(memory_format=layout)
        with torch.no_grad():
            seen = resize(image, *size)
        torch.testing.assert_close(seen, resize(image, *size), rtol=0, atol=1e-6)

    @pytest.mark.parametrize(("before", "after"), [(32, 64), (128, 32), (128, 64)])
    def test_a_resized_identity_grid_is_the_identity_grid(self, before, after):
        grid = identity_grid(before, before, torch.zeros(1))
        seen = resize_grid(grid, after, after)
        tolerance = 0.1 * 2 / (after - 1)  # a tenth of a pixel
        expected = identity_grid(after, after, grid)
        torch.testing.assert_close(seen, expected, rtol=0, atol=tolerance)


class TestHeatmaps:
    def test_peaks_at_the_row_and_column_of_its_point(self):
        rows, columns = np.array([2, 7, 11]), np.array([15, 0, 19])
        points = np.stack((2 * columns / (WIDTH - 1) - 1, 2 * rows / (HEIGHT - 1) - 1), axis=-1)
        maps = gaussian_heatmaps(torch.from_numpy(points).float()[None], HEIGHT, WIDTH, sigma=0.1)
        assert maps.shape == (1, 3, HEIGHT, WIDTH)
        for k in range(3):
            assert maps[0, k].argmax() == rows[k] * WIDTH + columns[k]
            assert maps[0, k].max() == pytest.approx(1, abs=1e-6)

    def test_falls_off_by_the_normal_curve_in_both_directions(self):
        maps = gaussian_heatmaps(torch.zeros(1, 1, 2), 21, 41, sigma=0.1)[0, 0]
        assert maps[10, 22] == pytest.approx(math.exp(-0.5), rel=1e-5)  # one sigma in x: 2 of 20 pixels
        assert maps[11, 20] == pytest.approx(math.exp(-0.5), rel=1e-5)  # one sigma in y: 1 of 10 pixels
        assert maps[12, 22] == pytest.approx(math.exp(-0.5 - 2), rel=1e-5)


def apply(linear, shift, points):
    return points @ linear[0].numpy().T + shift[0].numpy()


class TestSimilarity:
    def test_a_quarter_turn(self):
        # x right, y down: (1, 0) to (0, 1) is a quarter turn clockwise on the screen.
        source = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        target = torch.tensor([[[0.5, 0.0], [0.5, 2.0], [-1.5, 0.0]]])  # turned, twice as large, moved
        linear, shift = fit_similarity(source, target)
        torch.testing.assert_close(linear, torch.tensor([[[0.0, -2.0], [2.0, 0.0]]]))
        torch.testing.assert_close(shift, torch.tensor([[0.5, 0.0]]))

    @settings(max_examples=60, deadline=None)
    @given(
        st.floats(-math.pi, math.pi),
        st.floats(0.2, 4),
        st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
        st.integers(2, 12),
        st.integers(0, 999),
    )
    def test_recovers_any_similarity(self, angle, scale, move, count, seed):
        source = np.random.default_rng(seed).uniform(-1, 1, (count, 2))
        if np.ptp(source, axis=0).max() < 0.1:
            source[0] += 0.5
        truth = SimilarityTransform(scale=scale, rotation=angle, translation=move)
        target = truth(source)
        weights = torch.linspace(0.5, 2, count)
        linear, shift = fit_similarity(
            torch.tensor(source)[None], torch.tensor(target)[None], weights.double()
        )
        np.testing.assert_allclose(linear[0], truth.params[:2, :2], atol=1e-6)
        np.testing.assert_allclose(shift[0], truth.params[:2, 2], atol=1e-6)

    def test_noisy_points_as_scikit_image(self):
        rng = np.random.default_rng(3)
        source, target = rng.uniform(-1, 1, (2, 4, 10, 2))
        target = 0.7 * source[..., ::-1] * [1, -1] + 0.2 * target  # a turn, and noise
        linear, shift = fit_similarity(torch.from_numpy(source), torch.from_numpy(target))
        for b in range(4):
            expected = estimate_transform("similarity", source[b], target[b])
            np.testing.assert_allclose(linear[b], expected.params[:2, :2], atol=1e-6)
            np.testing.assert_allclose(shift[b], expected.params[:2, 2], atol=1e-6)

    def test_points_without_weight_do_not_count(self):
        rng = np.random.default_rng(1)
        source = rng.uniform(-1, 1, (6, 2))
        truth = SimilarityTransform(scale=1.3, rotation=0.4, translation=(0.1, -0.2))
        target = truth(source)
        target[4:] = [[9, 9], [-5, 3]]
        weights = torch.tensor([1.0, 1, 1, 1, 0, 0], dtype=torch.float64)
        linear, shift = fit_similarity(torch.tensor(source)[None], torch.tensor(target)[None], weights)
        np.testing.assert_allclose(apply(linear, shift, source[:4]), target[:4], atol=1e-9)

    def test_weights_pull_the_fit(self):
        # Two points that cannot both be met by a shift alone, seen from one place: the weighted mean wins.
        source = torch.tensor([[[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]])
        target = torch.tensor([[[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        _, shift = fit_similarity(source, target, torch.tensor([1.0, 1.0, 2.0]))
        torch.testing.assert_close(shift, torch.tensor([[0.0, 0.5]]))

    def test_a_mirrored_face_is_not_mirrored_back(self):
        source = torch.rand(1, 8, 2) * 2 - 1
        linear, _ = fit_similarity(source, source * torch.tensor([-1.0, 1.0]))
        assert linear[0].det() >= 0

    @pytest.mark.parametrize("spread", [0.0, 1e-9])
    def test_a_face_in_one_point_stays_finite(self, spread):
        source = (torch.full((2, 5, 2), 0.3) + spread * torch.randn(2, 5, 2)).requires_grad_()
        target = torch.rand(2, 5, 2)
        linear, shift = fit_similarity(source, target)
        (linear.sum() + shift.sum()).backward()
        assert linear.isfinite().all()
        assert shift.isfinite().all()
        assert source.grad.isfinite().all()

    def test_float32_is_enough_far_from_the_middle(self):
        source = torch.rand(1, 10, 2) * 0.1 + 0.9  # a small face in a corner
        target = source + torch.tensor([-1.5, -1.2])
        linear, shift = fit_similarity(source, target)
        np.testing.assert_allclose(apply(linear, shift, source[0].numpy()), target[0], atol=1e-4)


class TestSampling:
    """``sample_at`` is ``grid_sample``, whichever way it goes."""

    @staticmethod
    def grid(extent: float) -> torch.Tensor:
        torch.manual_seed(3)
        exact = identity_grid(5, 4, like=torch.zeros(1)).expand(3, -1, -1, -1)  # pixels themselves, edges too
        return torch.cat((extent * (2 * torch.rand(3, 5, 4, 2) - 1), exact), dim=2)

    @pytest.mark.parametrize("padding", ["border", "zeros"])
    @pytest.mark.parametrize("extent", [0.9, 1.4, 30.0])
    @pytest.mark.parametrize("size", [(5, 4), (2, 7)])
    def test_rows_of_channels(self, padding: str, extent: float, size: tuple[int, int]) -> None:
        image, grid = torch.rand(1, 24, *size), self.grid(extent)
        expected = F.grid_sample(image.expand(3, -1, -1, -1), grid, padding_mode=padding, align_corners=True)
        torch.testing.assert_close(sample_rows(image[0], grid, padding), expected, rtol=0, atol=2e-6)
        torch.testing.assert_close(
            sample_at(image.expand(3, -1, -1, -1), grid, padding), expected, rtol=0, atol=2e-6
        )

    def test_what_is_not_a_number_stays_in_its_place(self) -> None:
        grid = self.grid(0.9)
        grid[1, 2, 3] = float("nan")
        sampled = sample_at(torch.rand(1, 24, 5, 4), grid, "border")
        assert sampled[1, :, 2, 3].isnan().all()
        assert int(sampled.isnan().sum()) == 24

    def test_gradients_reach_image_and_grid(self) -> None:
        image, grid = torch.rand(1, 24, 5, 4, requires_grad=True), self.grid(0.9).requires_grad_()
        sample_at(image.expand(3, -1, -1, -1), grid, "border").square().sum().backward()
        assert image.grad is not None and image.grad.abs().sum() > 0
        assert grid.grad is not None and grid.grad.abs().sum() > 0

    def test_half_precision_comes_back_as_it_went_in(self) -> None:
        image = torch.rand(1, 24, 5, 4).bfloat16()
        sampled = sample_at(image, self.grid(0.9), "border")
        assert sampled.dtype == torch.bfloat16
        expected = F.grid_sample(
            image.float().expand(3, -1, -1, -1), self.grid(0.9), padding_mode="border", align_corners=True
        )
        torch.testing.assert_close(sampled.float(), expected, rtol=0, atol=4e-3)
