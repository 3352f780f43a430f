"""The generator: Eq. 1 and Eq. 2 on pictures whose result is known."""

import pytest
import torch
from skimage.data import astronaut
from torch import nn

from faceanim_models import DenseMotion, Generator, GeneratorSettings
from faceanim_models.blocks import fold_batch_norms
from faceanim_models.geometry import identity_grid, resize

K = 4
TINY = GeneratorSettings(K, widths=(8, 12, 16), photo_widths=(4, 6, 8))


def motion_of(grid, batch=1, size=16):
    """Dense motion with a given grid and nothing else of interest."""
    return DenseMotion(
        grid.expand(batch, -1, -1, -1),
        torch.ones(batch, 1, size, size),
        torch.rand(batch, K, size, size),
        torch.full((batch, 1, size, size), 1.0),
    )


def still(batch=1):
    return motion_of(identity_grid(32, 32, torch.zeros(1)), batch)


def paint(generator, colour, mask):
    """Let R differ from E by one colour, and M be one value (a logit), everywhere."""
    nn.init.zeros_(generator.head.weight)
    with torch.no_grad():
        generator.head.bias[:12] = torch.tensor(colour).atanh().repeat_interleave(4)
        generator.head.bias[12:] = mask


@pytest.fixture
def generator():
    """As after some training: a fresh one repaints nothing."""
    generator = Generator(TINY).eval()
    nn.init.normal_(generator.head.weight, 0, 0.2)
    return generator


@pytest.fixture
def face():
    picture = torch.from_numpy(astronaut()[:192, 140:332].copy()).permute(2, 0, 1)[None] / 255
    return resize(picture, 64, 64)


def test_composes_by_equation_2(generator, face):
    generated = generator(face, generator.encode(face), still())
    image, warped, repainted, mask = generated.image, generated.warped, generated.repainted, generated.mask
    assert image.shape == warped.shape == repainted.shape == (1, 3, 64, 64)
    assert mask.shape == (1, 1, 64, 64)
    assert mask.min() > 0
    assert mask.max() < 1
    assert mask.std() > 0
    torch.testing.assert_close(image, warped * (1 - mask) + repainted * mask)


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_no_motion_leaves_the_photo_in_e(generator, size):
    photo = torch.rand(1, 3, *size)
    generated = generator(photo, generator.encode(photo), still())
    torch.testing.assert_close(generated.warped, photo, rtol=0, atol=1e-4)


def test_an_empty_mask_shows_e_and_a_full_one_shows_r(generator, face):
    paint(generator, [0.25, 0.25, 0.25], -60.0)
    torch.testing.assert_close(
        generator(face, generator.encode(face), still()).image, face, rtol=0, atol=1e-4
    )
    paint(generator, [0.25, 0.25, 0.25], 60.0)
    brighter = generator(face, generator.encode(face), still()).image
    torch.testing.assert_close(brighter, face + 0.25, rtol=0, atol=1e-4)


def test_starts_from_the_warp(face):
    generator = Generator(TINY).eval()
    generated = generator(face, generator.encode(face), still())
    warped, mask = generated.warped, generated.mask
    torch.testing.assert_close(generated.image, warped)
    torch.testing.assert_close(generated.repainted, warped)
    assert mask.min() > 0  # R has its say from the start
    assert mask.max() < 0.3


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_colours_keep_their_channel(generator, channel):
    photo = torch.zeros(1, 3, 64, 64)
    photo[:, channel] = 0.5
    colour = [0.0] * 3
    colour[channel] = 0.5
    paint(generator, colour, 60.0)
    generated = generator(photo, generator.encode(photo), still())
    torch.testing.assert_close(generated.warped, photo)
    torch.testing.assert_close(generated.repainted, 2 * photo)
    torch.testing.assert_close(generated.image, 2 * photo)


def test_e_follows_the_grid(generator):
    # Every pixel is found 8 pixels to the right and 4 down: the content moves left and up.
    photo = torch.rand(1, 3, 64, 64)
    grid = identity_grid(64, 64, photo) + torch.tensor([16 / 63, 8 / 63])
    warped = generator(photo, generator.encode(photo), motion_of(grid)).warped
    torch.testing.assert_close(warped[..., :-4, :-8], photo[..., 4:, 8:], rtol=0, atol=1e-4)


def test_the_photos_features_have_halving_sizes(generator, face):
    shapes = [tuple(f.shape) for f in generator.encode(face)]
    assert shapes == [(1, 4, 32, 32), (1, 6, 16, 16), (1, 8, 8, 8)]


def test_the_driving_heatmaps_reach_the_picture(generator, face):
    motion = still()
    other = motion._replace(heatmaps=motion.heatmaps.flip(-1))
    features = generator.encode(face)
    change = generator(face, features, motion).repainted - generator(face, features, other).repainted
    assert change.abs().max() > 1e-5


def test_features_are_warped_with_the_picture(generator, face):
    features = generator.encode(face)
    with_them = generator(face, features, still()).repainted
    without = generator(face, [torch.zeros_like(f) for f in features], still()).repainted
    assert (with_them - without).abs().max() > 1e-4


def test_merged_what_is_made_of_the_photo_is_ready_before_the_warp(generator, face):
    merged = fold_batch_norms(generator)
    motion = motion_of(identity_grid(32, 32, face) * 0.9 + 0.05)
    wanted = generator(face, generator.encode(face), motion)
    features = merged.encode(face)
    assert [f.shape[1] for f in features] == [4, 12, 16]  # the U-Net's widths after the first
    assert [join.conv.in_channels for join in merged.unet.joins] == [12 + K, 16]
    seen = merged(face, features, motion)
    torch.testing.assert_close(seen.mask, wanted.mask, rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.image, wanted.image, rtol=0, atol=1e-5)
