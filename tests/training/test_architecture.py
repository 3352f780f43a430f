"""What a trained network gains without harm, and what a fresh one knows of the average head."""

import pytest
import torch

from faceanim_cli.errors import UsageError
from faceanim_cli.training.architecture import SHIPPED_ANCHORS, add_free_keypoints, set_mean_face
from faceanim_cli.weights.checkpoint import load_checkpoint, save_checkpoint
from faceanim_models import AnimationModel
from faceanim_models.free_keypoints import HOMES
from tests.training.conftest import tiny_settings


@pytest.fixture
def model():
    """Without free keypoints, every weight moved off its initial value."""
    model = AnimationModel(tiny_settings(anchors=SHIPPED_ANCHORS)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    set_mean_face(model)
    return model


def seen(model, *free):
    """The motion from one face to another."""
    motion, maps = model.dense_motion, torch.full((1, 2, 32, 32), 0.3)
    points = model.details.patches.mean_face[None, : motion.settings.num_keypoints]
    moved = points * 0.9 + torch.tensor((0.1, -0.05))
    with torch.no_grad():
        return motion(torch.linspace(0, 1, 3 * 16 * 16).view(1, 3, 16, 16), points, moved, maps, *free)


def test_free_keypoints_without_a_share_change_nothing(model):
    grown = add_free_keypoints(model).eval()
    free = torch.tensor(HOMES)[None], torch.tensor(HOMES)[None] + 0.2
    assert seen(grown, *free).mixture[:, -len(HOMES) :].amin() > 0  # but they have one
    with torch.no_grad():
        grown.dense_motion.mixture.bias[-len(HOMES) :] -= 60
    before, after = seen(model), seen(grown, *free)
    torch.testing.assert_close(after.grid, before.grid, rtol=0, atol=1e-5)
    torch.testing.assert_close(after.occlusion, before.occlusion, rtol=0, atol=1e-5)
    torch.testing.assert_close(after.mixture[:, : -len(HOMES)], before.mixture, rtol=0, atol=1e-5)


def test_networks_that_have_free_keypoints_are_left_as_they_are(model):
    grown = add_free_keypoints(model)
    assert add_free_keypoints(grown) is grown


def test_weights_without_free_keypoints_get_them(run, tmp_path):
    init = AnimationModel(tiny_settings())
    save_checkpoint(tmp_path / "m.safetensors", init)
    run(init=tmp_path / "m.safetensors", max_steps=1)
    kept = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert kept.free_keypoints is None  # as they were, unless one asks
    run(init=tmp_path / "m.safetensors", out=tmp_path / "grown", free_keypoints=True, max_steps=1)
    grown = load_checkpoint(tmp_path / "grown" / "last.safetensors")
    assert grown.dense_motion.settings.free_keypoints == len(HOMES)


@pytest.mark.parametrize("without", [{"anchors": ()}, {"similarity": False}], ids=["anchors", "similarity"])
def test_networks_that_can_have_no_free_keypoints(without):
    with pytest.raises(UsageError, match="--free-keypoints: for networks with anchored keypoints"):
        add_free_keypoints(AnimationModel(tiny_settings(**without)))


def test_fresh_networks_with_free_keypoints_train(run, tmp_path):
    run(free_keypoints=True, max_steps=2)
    made = load_checkpoint(tmp_path / "run" / "last.safetensors").dense_motion
    learned = made.unet.stem.conv.weight[:, : 3 * made.candidates].unflatten(1, (3, -1))[:, :, -len(HOMES) :]
    assert learned.abs().amax() > 0  # began at nought
