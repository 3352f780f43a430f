"""First-order-model's losses, against the original's formulas and against cases worked out by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from faceanim_cli.training import equivariance, first_order
from faceanim_cli.training.equivariance import RandomDeformation
from faceanim_cli.training.first_order import FirstOrderObjective
from faceanim_cli.training.perceptual import SqueezeNetLoss
from faceanim_cli.training.settings import FirstOrderLossWeights
from faceanim_cli.weights.load import import_published
from faceanim_models import FirstOrderModel
from tests.conftest import TINY_FIRST_ORDER

REFERENCE = Path(__file__).parents[2].parent / "shared" / "fomm_reference"


@pytest.fixture
def model():
    model = FirstOrderModel(TINY_FIRST_ORDER)
    torch.nn.init.normal_(model.kp_detector.jacobian.weight, 0, 0.05)
    return model


@pytest.fixture
def perceptual(features):
    return SqueezeNetLoss(features)


def terms_of(model, pairs, **weights):
    _, terms, _ = FirstOrderObjective(model, None, FirstOrderLossWeights(**weights))(pairs)
    return {name: term.item() for name, term in terms.items()}


def looking_at_nothing(model, jacobian):
    """Every keypoint in the middle, every Jacobian the given one."""
    for layer in (model.kp_detector.kp, model.kp_detector.jacobian):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    with torch.no_grad():
        model.kp_detector.jacobian.bias.copy_(torch.tensor(jacobian).flatten().repeat(4))
    return model.eval()


def test_the_loss_is_the_weighted_sum(model, pairs, perceptual):
    weights = FirstOrderLossWeights(equivariance=3.0)
    loss, terms, generated = FirstOrderObjective(model, perceptual, weights)(pairs)
    assert set(terms) == {"perceptual", "equivariance", "equivariance_jacobian"}
    expected = 10 * terms["perceptual"] + 3 * terms["equivariance"] + 10 * terms["equivariance_jacobian"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert generated.shape == (4, 3, 64, 64)
    assert terms["perceptual"].item() == pytest.approx(
        perceptual(generated, perceptual.maps(pairs["driving"])).item(), rel=1e-5
    )


def test_equivariance_is_the_original_s(model, pairs):
    """Its formulas as its code has them: Jacobians of the deformation by autograd, a matrix inverse."""
    model.eval()
    torch.manual_seed(3)
    seen = terms_of(model, pairs)
    torch.manual_seed(3)
    deformation = RandomDeformation(4, torch.device("cpu"))
    driving = model.detect(pairs["driving"])
    value, jacobian, _ = model.detect(deformation.images(pairs["driving"]))
    assert seen["equivariance"] == pytest.approx(
        (driving.points - deformation.points(value)).abs().mean().item(), rel=1e-5
    )
    moved = deformation.points(value)
    rows = [torch.autograd.grad(moved[..., i].sum(), value, create_graph=True)[0] for i in (0, 1)]
    transformed = torch.stack(rows, dim=-2) @ jacobian
    expected = (torch.eye(2) - torch.inverse(driving.jacobians) @ transformed).abs().mean()
    assert seen["equivariance_jacobian"] == pytest.approx(expected.item(), rel=1e-4)


def test_a_detector_that_does_not_follow_is_off_by_the_deformation(model, pairs, monkeypatch):
    monkeypatch.setattr(equivariance, "BENDING", 0.0)

    class Sheared(RandomDeformation):
        def __init__(self, batch, device):
            super().__init__(batch, device)
            self.affine = torch.tensor([[1.0, 0.2, 0.3], [0.0, 1.0, -0.1]]).expand(batch, 2, 3)

    monkeypatch.setattr(first_order, "RandomDeformation", Sheared)
    terms = terms_of(looking_at_nothing(model, [[2.0, 0.0], [0.0, 1.0]]), pairs)
    assert terms["equivariance"] == pytest.approx((0.3 + 0.1) / 2, abs=1e-4)
    # [[1/2, 0], [0, 1]] [[1, 0.2], [0, 1]] [[2, 0], [0, 1]] = [[1, 0.1], [0, 1]]
    assert terms["equivariance_jacobian"] == pytest.approx(0.1 / 4, abs=1e-4)


def test_nothing_deformed_costs_nothing(model, pairs, monkeypatch):
    monkeypatch.setattr(equivariance, "AFFINE", 0.0)
    monkeypatch.setattr(equivariance, "BENDING", 0.0)
    terms = terms_of(model.eval(), pairs)
    assert terms == pytest.approx({"equivariance": 0.0, "equivariance_jacobian": 0.0}, abs=1e-4)


def test_switched_off_terms_are_not_computed(model, pairs):
    assert terms_of(model, pairs, equivariance=0.0, equivariance_jacobian=0.0) == {}


@pytest.mark.parametrize("jacobian_maps", [0, 1, 4])
def test_every_weight_learns(pairs, perceptual, jacobian_maps):
    """DistributedDataParallel asks for it; and batch norms take in what they see."""
    model = FirstOrderModel(dataclasses.replace(TINY_FIRST_ORDER, jacobian_maps=jacobian_maps))
    loss, terms, _ = FirstOrderObjective(model, perceptual, FirstOrderLossWeights())(pairs)
    assert ("equivariance_jacobian" in terms) == (jacobian_maps > 0)
    loss.backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
    assert model.generator.first.norm.running_mean.abs().max() > 0


def test_half_precision_is_close(model, pairs, perceptual):
    objective = FirstOrderObjective(model.eval(), perceptual, FirstOrderLossWeights())
    torch.manual_seed(1)
    exact, _, _ = objective(pairs)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        half, _, _ = objective(pairs)
    assert half.item() == pytest.approx(exact.item(), rel=0.02)


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="needs ../shared/fomm_reference")
@torch.no_grad()
def test_the_network_under_training_paints_what_the_original_paints():
    path = REFERENCE / "first_order"
    with np.load(path / "expected.npz") as arrays:
        expected = dict(arrays)
    model = import_published(path / "vox-cpk.pth.tar")
    names = set(model.state_dict())
    objective = FirstOrderObjective(model, None, FirstOrderLossWeights())
    frames = {
        role: torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        for role, images in (
            ("source", expected["source"][None].repeat(2, 0)),
            ("driving", expected["driving"]),
        )
    }
    _, terms, generated = objective(frames)
    np.testing.assert_allclose(generated.numpy(), expected["prediction_absolute"], rtol=0, atol=1e-4)
    assert set(objective.model.state_dict()) == names
    assert terms["equivariance"] < 0.1
