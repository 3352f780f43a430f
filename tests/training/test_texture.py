"""How much detail there is: what is as rough is near, wherever its pixels lie; what is blurred is far."""

import pytest
import torch
from scipy import ndimage

from faceanim_cli.training.texture import contrast_distance, sharpness_distance


def picture(seed: int = 0, channels: int = 3) -> torch.Tensor:
    return torch.rand(1, channels, 48, 64, generator=torch.Generator().manual_seed(seed))


def maps(image: torch.Tensor) -> list[torch.Tensor]:
    return [torch.nn.functional.normalize(image - 0.5, dim=1)] * 5


def blurred(image: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(image.numpy(), (0, 0, 1, 1), mode="wrap"))


@pytest.mark.parametrize(
    "distance",
    [sharpness_distance, lambda a, b: contrast_distance(maps(a), maps(b))],
    ids=["sharpness", "contrast"],
)
def test_a_pixel_beside_is_nearer_than_blurred(distance) -> None:
    image = picture()
    assert distance(image, image) == 0
    beside, blur = distance(image.roll(1, -1), image), distance(blurred(image), image)
    pixels = ((image.roll(1, -1) - image).abs().mean(), (blurred(image) - image).abs().mean())
    assert pixels[1] < pixels[0]  # by pixels it is the other way
    assert beside < 0.3 * blur


def test_sharpness_is_the_root_mean_square_of_the_laplacian() -> None:
    image = picture(1)
    edges = ndimage.laplace(image[0].double().numpy(), axes=(1, 2))[:, 1:-1, 1:-1]
    windows = [
        (edges[:, y : y + 8, x : x + 8] ** 2).mean((1, 2)) ** 0.5
        for y in range(0, 46 - 7, 4)
        for x in range(0, 62 - 7, 4)
    ]
    wanted = torch.tensor([window.tolist() for window in windows]).mean()
    found = sharpness_distance(image, torch.zeros_like(image))
    torch.testing.assert_close(found, wanted.float(), rtol=2e-3, atol=1e-4)


def test_a_flat_picture_has_a_gradient() -> None:
    image = torch.full((1, 3, 48, 64), 0.5, requires_grad=True)
    (sharpness_distance(image, picture()) + contrast_distance([image] * 2, maps(picture()))).backward()
    assert image.grad.isfinite().all()
