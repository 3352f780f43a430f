"""Candidate motions and their mixture: grids that carry driving points back onto the photo's."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.transform import SimilarityTransform
from torch import nn

from faceanim_models import DenseMotionNetwork, DenseMotionSettings
from faceanim_models.geometry import identity_grid, resize_grid

SIZE, K = 16, 5
TINY = DenseMotionSettings(K, size=SIZE, widths=(8, 12))
TURN = SimilarityTransform(scale=1.2, rotation=0.3, translation=(0.15, -0.1))


@pytest.fixture
def network():
    return DenseMotionNetwork(TINY).eval()


@pytest.fixture
def source():
    return torch.rand(2, K, 2) * 1.2 - 0.6


def moved(points, transform):
    return torch.from_numpy(np.stack([transform(p) for p in points.double().numpy()])).float()


def look_up(grid, points):
    """Where a grid (h, w, 2) sends points (K, 2), between its pixels too."""
    height, width = grid.shape[:2]
    x, y = ((points.double().numpy() + 1) / 2 * (np.array([width, height]) - 1)).T
    return np.stack([ndimage.map_coordinates(grid[..., c].numpy(), (y, x), order=1) for c in (0, 1)], axis=-1)


class TestCandidates:
    def test_all_are_the_identity_for_a_face_that_does_not_move(self, network, source):
        grids = network.candidate_grids(source, source)
        assert grids.shape == (2, K + 2, SIZE, SIZE, 2)
        expected = identity_grid(SIZE, SIZE, source)[:, None].expand_as(grids)
        torch.testing.assert_close(grids, expected, rtol=0, atol=1e-5)

    def test_the_first_is_always_the_identity(self, network, source):
        grids = network.candidate_grids(source, torch.rand(2, K, 2))
        torch.testing.assert_close(grids[:, 0], identity_grid(SIZE, SIZE, source).expand(2, -1, -1, -1))

    def test_the_head_carries_driving_points_back_onto_the_photo(self, network, source):
        driving = moved(source, TURN)
        head = network.candidate_grids(source, driving)[:, 1].detach()
        for b in range(2):
            inside = driving[b].abs().amax(-1) <= 1
            assert inside.sum() >= 3
            found = look_up(head[b], driving[b][inside])
            np.testing.assert_allclose(found, source[b][inside], atol=1e-4)

    def test_each_keypoint_candidate_meets_its_own_keypoint(self, network, source):
        driving = (source + 0.2 * torch.randn(2, K, 2)).clamp(-1, 1)  # no similarity explains this
        grids = network.candidate_grids(source, driving).detach()
        for b in range(2):
            for k in range(K):
                found = look_up(grids[b, 2 + k], driving[b, k : k + 1])[0]
                np.testing.assert_allclose(found, source[b, k], atol=1e-4)

    def test_keypoint_candidates_turn_with_the_head(self, network, source):
        grids = network.candidate_grids(source, moved(source, TURN)).detach()
        inverse = np.linalg.inv(TURN.params[:2, :2])  # from driving frame to photo
        step = 2 / (SIZE - 1)
        for candidate in range(1, K + 2):
            grid = grids[0, candidate].numpy()
            np.testing.assert_allclose((grid[3, 4] - grid[3, 3]) / step, inverse[:, 0], atol=1e-4)
            np.testing.assert_allclose((grid[4, 3] - grid[3, 3]) / step, inverse[:, 1], atol=1e-4)

    def test_without_similarity_keypoints_only_shift(self, source):
        network = DenseMotionNetwork(dataclasses.replace(TINY, use_similarity=False))
        driving = moved(source, TURN)
        grids = network.candidate_grids(source, driving)
        assert grids.shape == (2, K + 1, SIZE, SIZE, 2)
        identity = identity_grid(SIZE, SIZE, source)
        torch.testing.assert_close(grids[:, :1], identity[:, None].expand(2, 1, -1, -1, -1))
        shift = (source - driving)[:, :, None, None]
        torch.testing.assert_close(grids[:, 1:], identity[:, None] + shift)

    def test_how_much_each_keypoint_counts_for_the_head_is_learned(self, network, source):
        network.candidate_grids(source, source + 0.2 * torch.randn(2, K, 2))[:, 1].sum().backward()
        assert (network.rigidity.grad.abs() > 0).all()

    def test_a_keypoint_that_counts_nothing_leaves_the_head_alone(self, network, source):
        driving = moved(source, TURN)
        driving[:, 0] += 0.5  # the mouth opens wide
        with torch.no_grad():
            network.rigidity[0] = -40.0
        head = network.candidate_grids(source, driving)[0, 1].detach()
        inside = driving[0].abs().amax(-1) <= 1
        inside[0] = False
        np.testing.assert_allclose(look_up(head, driving[0][inside]), source[0][inside], atol=1e-4)


class TestFreeKeypoints:
    FREE = 2

    @pytest.fixture
    def network(self):
        network = DenseMotionNetwork(dataclasses.replace(TINY, free_keypoints=self.FREE)).eval()
        with torch.no_grad():
            network.turning.copy_(torch.tensor((-40.0, 40.0)))  # the first stands upright, the second turns
        return network

    @pytest.fixture
    def free(self):
        return torch.tensor(((-0.5, 0.7), (0.4, 0.6))).expand(2, -1, -1)

    def test_they_move_upright_or_as_the_head_is_turned(self, network, source, free):
        turn = torch.tensor(((0.8, -0.6), (0.6, 0.8)))
        driving, moved = source @ turn.T, free + torch.tensor((0.1, -0.05))
        points = (torch.cat(pair, dim=1) for pair in ((source, free), (driving, moved)))
        grids = network.candidate_grids(*points).detach()
        assert grids.shape[1] == K + 2 + self.FREE
        places = identity_grid(SIZE, SIZE, source)[0]
        upright = places + (free - moved)[0, 0]
        turned = (places - moved[0, 1]) @ turn + free[0, 1]  # back from the driving frame
        torch.testing.assert_close(grids[0, -2], upright, rtol=0, atol=1e-4)
        torch.testing.assert_close(grids[0, -1], turned, rtol=0, atol=1e-4)

    @pytest.mark.parametrize("chosen", range(1, K + 4))
    def test_the_grid_is_that_of_the_candidate_that_has_all_of_the_share(self, network, source, free, chosen):
        with torch.no_grad():
            network.locality.zero_()
            network.mixture.weight.zero_()
            network.mixture.bias.fill_(-60.0)
            network.mixture.bias[chosen] = 0.0
        driving = source + 0.1 * torch.randn(2, K, 2)
        moved = free + 0.1 * torch.randn(2, self.FREE, 2)
        with torch.no_grad():
            photo = torch.rand(2, 3, SIZE, SIZE)
            motion = network(photo, source, driving, free_source=free, free_driving=moved)
            grids = network.candidate_grids(torch.cat((source, free), 1), torch.cat((driving, moved), 1))
        expected = resize_grid(grids[:, chosen], 2 * SIZE, 2 * SIZE)
        torch.testing.assert_close(motion.grid, expected, rtol=0, atol=1e-5)
        assert motion.heatmaps.shape[1] == K  # the generator knows the anchored ones

    def test_without_the_driver_s_they_go_along_with_the_head_as_they_mostly_do(self, network, source, free):
        network.following.copy_(torch.tensor((0.0, 1.0)))
        photo, driving = torch.rand(2, 3, SIZE, SIZE), source * 1.1 + torch.tensor((0.1, 0.05))
        led = torch.stack((free[:, 0], free[:, 1] * 1.1 + torch.tensor((0.1, 0.05))), dim=1)
        with torch.no_grad():
            without = network(photo, source, driving, free_source=free)
            expected = network(photo, source, driving, free_source=free, free_driving=led)
        torch.testing.assert_close(without.grid, expected.grid, rtol=0, atol=1e-4)

    def test_how_far_they_go_along_is_learned(self, network, source, free):
        network.train()
        photo, step = torch.rand(2, 3, SIZE, SIZE), torch.tensor((0.1, -0.05))
        shares = torch.tensor((0.2, 0.9))[:, None]
        for _ in range(800):
            network._note_following(step.expand(2, 2, 2), shares * step)
        torch.testing.assert_close(network.following, shares[:, 0], rtol=0, atol=1e-3)
        network(photo, source, source + step, free_source=free, free_driving=free)  # stand still, once
        torch.testing.assert_close(network.following, 0.99 * shares[:, 0], rtol=0, atol=2e-3)
        network.eval()
        before = network.following.clone()
        with torch.no_grad():
            network(photo, source, source + step, free_source=free, free_driving=free)
        assert torch.equal(network.following, before)

    def test_the_photo_s_are_needed(self, network, source):
        with pytest.raises(ValueError, match="photo's free keypoints"):
            network(torch.rand(2, 3, SIZE, SIZE), source, source)

    def test_without_the_similarity_there_are_none(self):
        with pytest.raises(ValueError, match="similarity"):
            DenseMotionNetwork(dataclasses.replace(TINY, free_keypoints=2, use_similarity=False))


class TestNetwork:
    def test_shapes_and_ranges(self, network, source):
        motion = network(torch.rand(2, 3, SIZE, SIZE), source, source.flip(1))
        assert motion.grid.shape == (2, 2 * SIZE, 2 * SIZE, 2)
        assert motion.occlusion.shape == (2, 1, SIZE, SIZE)
        assert motion.heatmaps.shape == (2, K, SIZE, SIZE)
        assert motion.mixture.shape == (2, K + 2, SIZE, SIZE)
        torch.testing.assert_close(motion.mixture.sum(1), torch.ones(2, SIZE, SIZE))
        assert motion.occlusion.min() >= 0
        assert motion.occlusion.max() <= 1

    def test_heatmaps_show_the_driving_points(self, network, source):
        driving = torch.zeros(2, K, 2)
        driving[:, 0] = torch.tensor([1.0, -1.0])  # upper right
        maps = network(torch.rand(2, 3, SIZE, SIZE), source, driving).heatmaps
        assert (maps[:, 0].flatten(1).argmax(1) == SIZE - 1).all()

    @pytest.mark.parametrize("use_similarity", [True, False])
    def test_a_face_that_does_not_move_gives_the_identity_at_the_start(self, source, use_similarity):
        network = DenseMotionNetwork(dataclasses.replace(TINY, use_similarity=use_similarity)).eval()
        grid = network(torch.rand(2, 3, SIZE, SIZE), source, source).grid
        expected = identity_grid(2 * SIZE, 2 * SIZE, source).expand_as(grid)
        torch.testing.assert_close(grid, expected, rtol=0, atol=1e-5)

    def test_without_similarity_the_photos_maps_move_as_the_keypoints_do_on_the_average(self, source):
        settings = dataclasses.replace(TINY, use_similarity=False, photo_channels=2)
        network = DenseMotionNetwork(settings).eval()
        seen = []
        network.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        step = 2 / (SIZE - 1)  # one pixel at ``size``
        driving = source.clone()
        driving[:, 0, 0] -= K * step  # one keypoint by K pixels to the left: one pixel on the average
        maps = torch.rand(2, 2, 2 * SIZE, 2 * SIZE)
        with torch.no_grad():
            network(torch.rand(2, 3, SIZE, SIZE), source, driving, maps)
        still, head = seen[0][:, -4:-2], seen[0][:, -2:]
        torch.testing.assert_close(still, torch.nn.functional.avg_pool2d(maps, 2))
        torch.testing.assert_close(head[..., :-1], still[..., 1:], rtol=0, atol=1e-5)

    def test_the_residual_is_bounded(self, network, source):
        thumbnail = torch.rand(2, 3, SIZE, SIZE)
        without = network(thumbnail, source, source.flip(1)).grid
        nn.init.normal_(network.residual.weight, 0, 100)
        change = network(thumbnail, source, source.flip(1)).grid - without
        assert change.abs().max() <= TINY.max_residual + 1e-5
        assert change.abs().max() > 0.9 * TINY.max_residual  # and is there at all

    def test_the_residual_is_learned_for_x_and_y_apart(self, network, source):
        with torch.no_grad():
            network.residual.bias[:4] = 0.5  # four sub-pixels of x
        grid = network(torch.rand(2, 3, SIZE, SIZE), source, source).grid
        change = grid - identity_grid(2 * SIZE, 2 * SIZE, source)
        expected = 0.1 * np.tanh(0.5)
        torch.testing.assert_close(
            change[..., 0], torch.full_like(change[..., 0], expected), rtol=0, atol=1e-5
        )
        assert change[..., 1].abs().max() < 1e-5

    def test_keypoints_get_gradients(self, network, source):
        source.requires_grad_()
        driving = torch.rand(2, K, 2, requires_grad=True)
        network(torch.rand(2, 3, SIZE, SIZE), source, driving).grid.square().sum().backward()
        assert (source.grad.abs().sum((1, 2)) > 0).all()
        assert (driving.grad.abs().sum((1, 2)) > 0).all()

    def test_positions_stay_exact_under_autocast(self, network, source):
        thumbnail = torch.rand(2, 3, SIZE, SIZE)
        with torch.autocast("cpu", torch.bfloat16):
            grid = network(thumbnail, source, source).grid
        assert grid.dtype == torch.float32
        expected = identity_grid(2 * SIZE, 2 * SIZE, source).expand_as(grid)
        torch.testing.assert_close(grid, expected, rtol=0, atol=1e-5)
