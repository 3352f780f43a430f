"""A generator with fewer channels: what is superfluous goes without harm, and the rest is fitted."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from faceanim_cli.errors import UsageError
from faceanim_cli.training.channel_pruning import choose_channels, prune_generator
from faceanim_cli.weights.checkpoint import load_checkpoint, save_checkpoint
from faceanim_models import AnimationModel
from tests.training.conftest import tiny_settings

WIDE, NARROW = (12, 16, 20, 24), (8, 12, 10, 16)


@pytest.fixture
def frames():
    torch.manual_seed(1)
    rough = torch.rand(8, 3, 16, 16)
    return nn.functional.interpolate(rough, (64, 64), mode="bicubic").clamp(0, 1).chunk(2)


def wide_model(widths, narrow):
    """A model whose generator has ``narrow`` channels that are not always 0, in any order."""
    torch.manual_seed(2)
    settings = tiny_settings()
    model = AnimationModel(replace(settings, generator=replace(settings.generator, widths=widths))).eval()
    with torch.no_grad():
        for norm in (m for m in model.generator.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.2, 0.6)
            norm.running_mean.uniform_(-0.2, 0.2)
        model.generator.head.weight.normal_(0, 0.1)
        alive = {width: torch.randperm(width)[:keep] for width, keep in zip(widths, narrow, strict=True)}
        for norm in (m for m in model.generator.unet.modules() if isinstance(m, nn.BatchNorm2d)):
            dead = torch.ones(norm.num_features, dtype=torch.bool)
            dead[alive[norm.num_features]] = False
            norm.weight[dead], norm.bias[dead] = 0, 0
    return model


def painted(model, source, driving):
    points = [model.keypoint_detector(frames) for frames in (source, driving)]
    with torch.no_grad():
        generated, _ = model(model.encode_photo(source, points[0]), points[1])
    return generated


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [(WIDE, NARROW), (WIDE[:3], NARROW[:3])],
    ids=["plain bottleneck", "joined bottleneck"],
)
def test_channels_that_are_always_nought_go_without_a_trace(frames, wide, narrow):
    model = wide_model(wide, narrow)
    pruned = prune_generator(model, narrow, *frames)
    assert pruned.settings.generator.widths == narrow
    # On frames that it was not fitted on.
    for name in ("image", "change", "mask"):
        before, after = (getattr(painted(m, *(f.flip(3) for f in frames)), name) for m in (model, pruned))
        assert before.std() > 0.005
        torch.testing.assert_close(after, before, rtol=0, atol=0.01)
        assert (after - before).abs().mean() < 2e-4
    for name, value in model.state_dict().items():  # the others are as they were
        if not name.startswith(("generator.unet", "generator.head")):
            assert torch.equal(pruned.state_dict()[name], value), name


def test_fitted_weights_are_nearer_than_the_channels_alone(frames):
    model = wide_model(WIDE, WIDE)  # no channel is superfluous
    pruned = prune_generator(model, (10, 14, 18, 20), *frames)
    change = painted(model, *frames).change
    left = (painted(pruned, *frames).change - change).square().mean() / change.square().mean()
    assert left < 0.05


def test_the_channels_that_tell_the_others_are_chosen():
    torch.manual_seed(3)
    two = torch.randn(500, 2)
    told = two @ torch.tensor([[1.0, 0.0], [-2.0, 1.0]])
    samples = torch.cat((told, two, torch.zeros(500, 1)), dim=1)  # five channels of rank 2
    chosen = choose_channels([samples], 2)
    assert len(chosen) == 2
    left = samples - samples[:, chosen] @ torch.linalg.lstsq(samples[:, chosen], samples).solution
    assert left.abs().max() < 1e-3


@pytest.mark.parametrize("widths", [(12, 16, 20, 25), (12, 16, 20), (0, 16, 20, 24)])
def test_no_level_can_be_wider_or_missing(frames, widths):
    with pytest.raises(UsageError, match=r"--generator-widths .*: give at most 12,16,20,24"):
        prune_generator(wide_model(WIDE, WIDE), widths, *frames)


def test_training_goes_on_with_a_narrower_generator_and_is_taught(run, tmp_path):
    save_checkpoint(tmp_path / "m.safetensors", AnimationModel(tiny_settings()))
    _, reports = run(init=tmp_path / "m.safetensors", generator_widths=(4, 6, 8), max_steps=2)
    made = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert made.settings.generator.widths == (4, 6, 8)
    assert any("teacher" in line for line in reports)
    run(init=tmp_path / "m.safetensors", generator_widths=(4, 6, 8), max_steps=3)  # goes on from there


def test_fresh_networks_may_have_other_widths(run, tmp_path):
    run(generator_widths=(4, 6, 8), max_steps=1)
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").settings.generator.widths == (4, 6, 8)
