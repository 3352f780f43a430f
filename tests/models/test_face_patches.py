"""Patches around eyes and mouth: where they are cut, how points lie in them, and that they go back there."""

import math

import pytest
import torch

from faceanim_models.face_patches import FacePatches, cut_patches, paste_patches
from tests.models.conftest import TINY_PATCHES, TINY_RIGID

SIZE = 65  # pixels: pixel p lies at p / 32 - 1


def patches(mean_face) -> FacePatches:
    module = FacePatches(TINY_PATCHES, TINY_RIGID, 5)
    module.mean_face.copy_(mean_face)
    return module


@pytest.fixture
def face():
    """Two eyes of two keypoints each, and a mouth; (5, 2)."""
    return torch.tensor([[-0.5, -0.25], [-0.25, -0.25], [0.25, -0.25], [0.5, -0.25], [0.0, 0.5]])


def gradient():
    """An image whose red is its x and whose green is its y, in [-1, 1]."""
    line = torch.linspace(-1, 1, SIZE)
    return torch.stack((line.expand(SIZE, SIZE), line[:, None].expand(SIZE, SIZE), torch.zeros(SIZE, SIZE)))[
        None
    ]


def test_patches_lie_where_the_settings_say_on_the_mean_face(face):
    eyes, mouth = patches(face)(face[None])
    # The left eye's centre is the mean of its keypoints, (-0.375, -0.25), and 0.125 further down.
    torch.testing.assert_close(eyes.centres, torch.tensor([[[-0.375, -0.125], [0.375, -0.125]]]))
    torch.testing.assert_close(mouth.centres, torch.tensor([[[0.0, 0.5]]]))
    shown = cut_patches(gradient(), eyes, (8, 16))
    assert shown.shape == (1, 2, 3, 8, 16)
    # 0.5 wide, so from -0.625 to -0.125; the other eye from its inner side, in a mirror, to the outer.
    torch.testing.assert_close(shown[0, 0, 0, 0], torch.linspace(-0.625, -0.125, 16))
    torch.testing.assert_close(shown[0, 1, 0, 0], torch.linspace(0.625, 0.125, 16))
    torch.testing.assert_close(shown[0, 1, 1, :, 3], torch.linspace(-0.25, 0.0, 8))


def test_patches_turn_grow_and_move_with_the_head(face):
    angle, scale, shift = math.radians(30), 0.8, torch.tensor([0.1, -0.05])
    turn = scale * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    where = patches(face)
    still, moved = where(face[None]), where((face @ turn.T + shift)[None])
    places = torch.tensor([[-1.0, -1.0], [0.3, 0.7]]).expand(1, 2, 2, 2)
    torch.testing.assert_close(moved[0].to_image(places), still[0].to_image(places) @ turn.T + shift)


def test_to_patch_is_the_way_back(face):
    frames = patches(face)(
        (face + torch.tensor([[0.05, 0.02], [0.0, 0.1], [0.0, 0.0], [0.1, 0.0], [0.0, 0.0]]))[None]
    )[0]
    places = torch.rand(1, 2, 7, 2) - 0.5
    torch.testing.assert_close(frames.to_patch(frames.to_image(places)), places)


def test_the_mouth_does_not_move_its_patch_s_frame(face):
    """Only rigid keypoints say how the head lies; the patch follows its centre."""
    opened = face.clone()
    opened[4, 1] += 0.2
    _, mouth = patches(face)(opened[None])
    torch.testing.assert_close(mouth.axes, patches(face)(face[None])[1].axes)
    torch.testing.assert_close(mouth.centres, torch.tensor([[[0.0, 0.7]]]))


def test_what_is_pasted_lands_where_it_was_cut(face):
    frames = patches(face)(face[None])[0]
    image = gradient()
    pasted = paste_patches(torch.zeros_like(image), cut_patches(image, frames, (33, 65)), frames)
    inside = pasted[0, :2].abs().sum(0) > 0
    columns = inside.any(0).nonzero()[:, 0]
    assert (columns.min(), columns.max()) == (12, 52)  # x of -0.625 and 0.625
    assert not inside[:, 30:35].any()  # between the eyes
    # Inside the left eye's patch, half a pixel away from its edge.
    torch.testing.assert_close(pasted[0, :2, 26:30, 14:26], image[0, :2, 26:30, 14:26], rtol=0, atol=1e-5)
    assert pasted[0, :, 50:].abs().max() == 0


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.6, -0.7), (-5.0, 3.0)])
@pytest.mark.parametrize("size", [(65, 65), (40, 90), (8, 6)])
def test_pasting_where_patches_lie_is_pasting_everywhere(face, shift, size):
    """Without gradients only the rectangles around patches are worked on; with them, whole images."""
    turned = face @ torch.tensor([[0.8, -0.5], [0.5, 0.8]]) + torch.tensor(shift)
    images = torch.rand(2, 3, *size)
    for frames, count in zip(patches(face)(torch.stack((face, turned))), (2, 1), strict=True):
        content = torch.rand(2, count, 3, 16, 24)
        by_rectangles = paste_patches(images, content, frames)
        everywhere = paste_patches(images, content.requires_grad_(), frames).detach()
        torch.testing.assert_close(by_rectangles, everywhere, rtol=0, atol=1e-5)


def test_patches_that_are_nowhere_stop_nothing(face):
    frames = patches(face)(torch.full((1, 5, 2), math.nan))[0]
    assert paste_patches(torch.zeros(1, 3, 65, 65), torch.rand(1, 2, 3, 8, 8), frames).shape == (1, 3, 65, 65)
