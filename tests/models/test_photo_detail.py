"""Frames at the photo's size: the photo's own detail where it is shown, moved as far as the small frame."""

import pytest
import torch
from torch.nn import functional as F

from faceanim_models.geometry import identity_grid, warp
from faceanim_models.photo_detail import enlarged_grid, high_band, with_photo_detail

SMALL = 32


def shrunk(photo: torch.Tensor) -> torch.Tensor:
    return F.interpolate(photo, (SMALL, SMALL), mode="area")


def shifted(columns: int, rows: int) -> torch.Tensor:
    """A grid that finds each pixel so many pixels of the small picture further right and down."""
    return identity_grid(SMALL, SMALL, torch.zeros(1)) + torch.tensor([columns, rows]) * 2 / (SMALL - 1)


def middle(picture: torch.Tensor, margin: int) -> torch.Tensor:
    return picture[..., margin:-margin, margin:-margin]


@pytest.fixture(params=[64, 96, 80])
def photo(request) -> torch.Tensor:
    """Noise: all of it is detail."""
    return torch.rand(1, 3, request.param, request.param)


def test_a_grid_that_changes_nothing_changes_nothing_at_any_size() -> None:
    for large in (64, 96, 80):
        grid = enlarged_grid(identity_grid(16, 16, torch.zeros(1)), SMALL, large)
        torch.testing.assert_close(grid, identity_grid(large, large, torch.zeros(1)), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("columns", "rows"), [(0, 0), (2, 0), (-2, 6)])
def test_a_photo_that_moves_as_a_whole_is_shown_pixel_by_pixel(photo, columns, rows) -> None:
    grid, scale = shifted(columns, rows), photo.shape[-1] / SMALL
    warped = warp(shrunk(photo), grid)
    found = with_photo_detail(warped, warped, torch.zeros(1, 1, SMALL, SMALL), grid, high_band(photo, SMALL))
    wanted = photo.roll((-round(rows * scale), -round(columns * scale)), (-2, -1))
    margin = photo.shape[-1] // 4
    difference = (middle(found, margin) - middle(wanted, margin)).abs()
    assert difference.mean() < 0.02  # enlarged alone: 0.2
    enlarged = F.interpolate(warped, photo.shape[-2:], mode="bicubic")
    assert (middle(enlarged, margin) - middle(wanted, margin)).abs().mean() > 0.1


def test_what_is_painted_has_no_detail_of_the_photo(photo) -> None:
    grid, size = shifted(0, 0), photo.shape[-2:]
    warped = shrunk(photo)
    image = warped.clone()
    image[..., : SMALL // 2] = 0.0  # the left half: painted
    found = with_photo_detail(image, warped, None, grid, high_band(photo, SMALL))
    quarter = size[0] // 4
    assert found[..., :quarter].abs().max() < 0.01
    assert (found[..., -quarter:] - photo[..., -quarter:]).abs().mean() < 0.02


def test_the_mask_alone_keeps_the_detail_away(photo) -> None:
    warped, size = shrunk(photo), photo.shape[-2:]
    found = with_photo_detail(
        warped, warped, torch.ones(1, 1, SMALL, SMALL), shifted(0, 0), high_band(photo, SMALL)
    )
    wanted = F.interpolate(warped, size, mode="bicubic")
    torch.testing.assert_close(found, wanted)


def test_there_is_no_step_where_the_mask_changes(photo) -> None:
    """Of a photo without detail, any mask makes the same."""
    line = torch.linspace(0, 1, photo.shape[-1])
    smooth = (line[:, None] * line).expand(1, 3, -1, -1)
    warped, mask = shrunk(smooth), (torch.rand(1, 1, SMALL, SMALL) > 0.5).float()
    found = with_photo_detail(warped, warped, mask, shifted(0, 0), high_band(smooth, SMALL))
    assert (middle(found, 8) - middle(smooth, 8)).abs().max() < 2 / 255  # bicubic bends lines a little
