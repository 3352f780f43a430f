"""What a trained network gains without harm, and what a fresh one knows of the average head."""

import numpy as np
import pytest
import torch

from faceanim_cli.errors import UsageError
from faceanim_cli.motion.head_model import HEAD, anchor_means
from faceanim_cli.training.architecture import HEAD_DEPTHS, SHIPPED_ANCHORS, add_head_planes, set_mean_face
from faceanim_cli.weights.checkpoint import load_checkpoint, save_checkpoint
from faceanim_models import AnimationModel
from tests.training.conftest import tiny_settings


@pytest.fixture
def model():
    """Without planes, every weight moved off its initial value."""
    model = AnimationModel(tiny_settings(anchors=SHIPPED_ANCHORS)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    set_mean_face(model)
    return model


def seen(model):
    """The motion from one face to another."""
    motion, maps = model.dense_motion, torch.full((1, 2, 32, 32), 0.3)
    points = model.details.patches.mean_face[None, : motion.settings.num_keypoints]
    moved = points * 0.9 + torch.tensor((0.1, -0.05))
    with torch.no_grad():
        return motion(torch.linspace(0, 1, 3 * 16 * 16).view(1, 3, 16, 16), points, moved, maps)


def test_planes_without_a_share_change_nothing(model):
    grown = add_head_planes(model).eval()
    planes = slice(2, 2 + len(HEAD_DEPTHS))
    assert seen(grown).mixture[:, planes].amin() > 0  # but they have one
    with torch.no_grad():
        grown.dense_motion.mixture.bias[planes] -= 60
    before, after = seen(model), seen(grown)
    torch.testing.assert_close(after.grid, before.grid, rtol=0, atol=1e-5)
    torch.testing.assert_close(after.occlusion, before.occlusion, rtol=0, atol=1e-5)
    others = torch.cat((after.mixture[:, :2], after.mixture[:, planes.stop :]), dim=1)
    torch.testing.assert_close(others, before.mixture, rtol=0, atol=1e-5)


def test_networks_that_have_planes_are_left_as_they_are(model):
    grown = add_head_planes(model)
    assert add_head_planes(grown) is grown


def test_planes_lie_in_the_average_head(model):
    model = add_head_planes(model)
    head = anchor_means(HEAD, SHIPPED_ANCHORS[:29])
    pose = model.dense_motion.planes.pose(torch.from_numpy(head[None, :, :2] * 0.5 + 0.1).float())
    np.testing.assert_allclose(pose.axes[0], 0.5 * np.eye(3)[:2], atol=1e-4)


def test_weights_without_planes_through_the_head_get_them(run, tmp_path):
    init = AnimationModel(tiny_settings())
    save_checkpoint(tmp_path / "m.safetensors", init)
    run(init=tmp_path / "m.safetensors", max_steps=1)
    kept = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert kept.settings.motion.head_depths == ()  # as they were, unless one asks
    run(init=tmp_path / "m.safetensors", out=tmp_path / "grown", head_planes=True, max_steps=1)
    grown = load_checkpoint(tmp_path / "grown" / "last.safetensors").dense_motion
    assert grown.settings.head_depths == HEAD_DEPTHS
    assert grown.planes.fit.abs().sum() > 0


@pytest.mark.parametrize("without", [{"anchors": ()}, {"similarity": False}], ids=["anchors", "similarity"])
def test_networks_that_can_have_no_planes(without):
    with pytest.raises(UsageError, match="--head-planes: for networks with anchored keypoints"):
        add_head_planes(AnimationModel(tiny_settings(**without)))


def test_fresh_networks_with_planes_train(run, tmp_path):
    run(head_planes=True, max_steps=2)
    made = load_checkpoint(tmp_path / "run" / "last.safetensors").dense_motion
    assert made.settings.head_depths == HEAD_DEPTHS
    learned = made.unet.stem.conv.weight[:, : 3 * made.candidates].unflatten(1, (3, -1))[:, :, 2:5]
    assert learned.abs().amax() > 0  # began at nought
