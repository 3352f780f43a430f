"""Frames with the photo's detail, and frames as they are, on a CPU: what the networks' own functions make."""

import pytest
import torch

from faceanim_cli.animation.image_batches import DeviceCopies, to_frames
from faceanim_cli.animation.networks import Painted
from faceanim_cli.animation.photo_detail import detailed_frames
from faceanim_models.geometry import identity_grid
from faceanim_models.photo_detail import high_band, with_photo_detail

SMALL = 32


@pytest.mark.parametrize("large", [48, 64, 96])
@pytest.mark.parametrize("masked", [True, False])
def test_opencv_makes_what_torch_makes_of_it(large: int, masked: bool) -> None:
    warped = torch.rand(2, 3, SMALL, SMALL)
    image = warped + 0.1 * torch.randn_like(warped)  # beyond 0 and 1 here and there
    image[:, :, SMALL // 2 :] = warped[:, :, SMALL // 2 :]
    mask = torch.rand(2, 1, SMALL, SMALL) if masked else None
    grid = 1.1 * identity_grid(16, 16, warped) + 0.05 * torch.rand(2, 16, 16, 2)
    band = high_band(torch.rand(1, 3, large, large), SMALL)
    found = torch.from_numpy(detailed_frames(Painted(image, warped, mask, grid), band)).int()
    wanted = 255 * with_photo_detail(image, warped, mask, grid, band).clamp(0, 1).permute(0, 2, 3, 1)
    difference = (found - wanted).abs()
    # OpenCV samples at steps of 1/32 pixel, which shows in noise more than in any photo
    assert difference.mean() < 0.7
    assert difference.max() < 8


def test_frames_are_rounded_and_cut_off() -> None:
    picture = (
        torch.tensor([-torch.inf, -0.2, 1.49 / 255, 1.51 / 255, 1.3, torch.inf])
        .view(1, 1, 2, 3)
        .expand(2, 3, 2, 3)
    )
    (first, second) = to_frames(picture, 3, DeviceCopies(torch.device("cpu"))).array()[:, :2]
    assert first.shape == (2, 3, 3)
    for channel in range(3):
        assert first[..., channel].tolist() == [[0, 0, 1], [2, 255, 255]]
    assert (first == second).all()
