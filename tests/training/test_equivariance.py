"""Random deformations: what they say of points is what they do to images."""

import pytest
import torch

from faceanim_cli.training import equivariance
from faceanim_cli.training.equivariance import RandomDeformation
from faceanim_cli.training.motion_losses import MotionObjective
from faceanim_cli.training.settings import LossWeights
from faceanim_models.geometry import gaussian_heatmaps, identity_grid


def found(heatmap):
    """Where the one spot of each image is, (B, 1, 2)."""
    weights = heatmap.flatten(1).clamp_min(1e-3) - 1e-3
    grid = identity_grid(*heatmap.shape[-2:], like=heatmap).flatten(1, 2)
    return (weights[..., None] * grid).sum(1, keepdim=True) / weights.sum(1)[:, None, None]


def test_points_of_the_deformed_image_lead_to_those_of_the_image():
    spots = torch.rand(16, 1, 2) - 0.5
    deformation = RandomDeformation(16, spots.device)
    deformed = deformation.images(gaussian_heatmaps(spots, 64, 64, sigma=0.08))
    where = found(deformed)
    assert (where - spots).norm(dim=-1).mean() > 0.03  # they have moved
    assert (deformation.points(where) - spots).norm(dim=-1).max() < 0.01


def test_nothing_random_changes_nothing(monkeypatch):
    monkeypatch.setattr(equivariance, "AFFINE", 0.0)
    monkeypatch.setattr(equivariance, "BENDING", 0.0)
    deformation = RandomDeformation(2, torch.device("cpu"))
    images, points = torch.rand(2, 3, 20, 30), torch.rand(2, 5, 2)
    torch.testing.assert_close(deformation.images(images), images)
    torch.testing.assert_close(deformation.points(points), points)


def test_jacobians_are_those_of_the_points():
    deformation = RandomDeformation(3, torch.device("cpu"))
    points = 2 * torch.rand(3, 5, 2) - 1
    step = 1e-3
    columns = [
        (deformation.points(points + d) - deformation.points(points - d)) / (2 * step)
        for d in (torch.tensor([step, 0.0]), torch.tensor([0.0, step]))
    ]
    expected = torch.stack(columns, dim=-1)
    assert (expected - torch.eye(2)).abs().max() > 0.05
    torch.testing.assert_close(deformation.jacobians(points), expected, rtol=0, atol=2e-3)


def test_every_image_is_deformed_differently():
    a, b = RandomDeformation(2, torch.device("cpu")).points(torch.rand(1, 5, 2).expand(2, 5, 2))
    assert (a - b).abs().max() > 1e-3


def test_the_loss_is_zero_for_a_detector_that_follows_and_counts_by_its_weight(model, pairs, monkeypatch):
    monkeypatch.setattr(equivariance, "AFFINE", 0.0)
    monkeypatch.setattr(equivariance, "BENDING", 0.0)
    model.eval()  # batch norms that see a batch of another size answer otherwise

    def term():
        _, terms, _ = MotionObjective(model, None, LossWeights(equivariance=1.0))(pairs)
        return terms["equivariance"].item()

    assert term() == pytest.approx(0.0, abs=1e-5)
    # One that always answers the middle is off by as much as the middle is moved.
    torch.nn.init.zeros_(model.keypoint_detector.heatmaps.weight)
    torch.nn.init.zeros_(model.keypoint_detector.heatmaps.bias)
    monkeypatch.setattr(RandomDeformation, "points", lambda _, points: points + torch.tensor([0.3, -0.1]))
    assert term() == pytest.approx(0.2, abs=1e-4)
