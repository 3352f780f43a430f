"""The discriminator: one unbounded score for each patch."""

import pytest
import torch

from faceanim_models import PatchDiscriminator, PatchDiscriminatorSettings


def test_one_score_for_each_patch_and_the_features_of_each_block():
    scores, features = PatchDiscriminator(PatchDiscriminatorSettings((4, 6, 8)))(torch.rand(2, 3, 64, 96))
    assert scores.shape == (2, 1, 8, 12)
    assert [tuple(f.shape) for f in features] == [(2, 4, 32, 48), (2, 6, 16, 24), (2, 8, 8, 12)]


def test_the_default_halves_four_times():
    with torch.device("meta"):
        scores, _ = PatchDiscriminator(PatchDiscriminatorSettings())(torch.empty(1, 3, 256, 256))
    assert scores.shape == (1, 1, 16, 16)


def test_scores_are_not_squashed():
    # Least squares wants raw scores: no sigmoid holds them in [0, 1], no tanh in [-1, 1].
    discriminator = PatchDiscriminator(PatchDiscriminatorSettings((4, 6))).eval()
    bias = discriminator.score.bias
    for level in (-7.0, 7.0):
        with torch.no_grad():
            bias.fill_(level)
        scores, _ = discriminator(torch.rand(1, 3, 32, 32))
        assert scores.mean().item() == pytest.approx(level, abs=3)


def test_spectral_norm_bounds_every_layer():
    discriminator = PatchDiscriminator(PatchDiscriminatorSettings((4, 6)))
    with torch.no_grad():
        for layer in (*discriminator.blocks, discriminator.score):
            layer.parametrizations.weight.original.mul_(50)
        for _ in range(30):  # its power iteration runs in training
            discriminator(torch.rand(1, 3, 32, 32))
        for layer in (*discriminator.blocks, discriminator.score):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_the_score_moves_with_the_picture():
    discriminator = PatchDiscriminator(PatchDiscriminatorSettings((4, 6))).eval()
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    scores, _ = discriminator(image)
    scores[0, 0, 0, 0].backward()
    touched = image.grad[0].abs().sum(0) > 0
    assert touched[:4, :4].any()
    assert not touched[32:, 32:].any()  # a patch sees its surroundings only
