"""The super-resolution network: sizes, what it starts as, where its skips go."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_models import FaceSuperResolver, FaceSuperResolverSettings
from faceanim_models.blocks import fold_batch_norms

TINY = FaceSuperResolverSettings(widths=(4, 4, 6, 6, 8), detail=6, depth=1)


def painting(settings: FaceSuperResolverSettings = TINY) -> FaceSuperResolver:
    """A network in evaluation mode that no longer is the plain enlargement."""
    torch.manual_seed(0)
    network = FaceSuperResolver(settings).eval()
    nn.init.normal_(network.head.weight, std=0.05)
    return network


def bicubic(frames: Tensor) -> Tensor:
    return F.interpolate(frames, scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (250, 190), (33, 65), (2, 2), (1, 1)])
def test_result_is_exactly_twice_the_size(height: int, width: int) -> None:
    assert painting()(torch.rand(1, 3, height, width)).shape == (1, 3, 2 * height, 2 * width)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 37)])
def test_starts_as_the_bicubic_enlargement_up_to_the_edge(height: int, width: int) -> None:
    frames = torch.rand(2, 3, height, width)
    with torch.no_grad():
        torch.testing.assert_close(FaceSuperResolver(TINY).eval()(frames), bicubic(frames), atol=1e-5, rtol=0)


def test_bfloat16_costs_less_than_a_level_of_eight_bits() -> None:
    frames = torch.randint(0, 256, (1, 3, 64, 64)) / 255
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = FaceSuperResolver(TINY).eval()(frames)
    assert rounded.dtype == torch.float32
    assert (rounded - bicubic(frames)).abs().mean() < 0.3 / 255
    assert (rounded - bicubic(frames)).mean().abs() < 0.05 / 255


def test_result_stays_in_range() -> None:
    network = painting()
    nn.init.normal_(network.head.weight, std=5.0)
    result = network(torch.rand(1, 3, 64, 64))
    assert result.min() >= 0
    assert result.max() <= 1


def test_odd_size_equals_the_frame_with_repeated_edges() -> None:
    network, frames = painting(), torch.rand(1, 3, 50, 40)
    padded = F.pad(frames, (0, 64 - 40, 0, 64 - 50), mode="replicate")
    with torch.no_grad():
        torch.testing.assert_close(network(frames), network(padded)[..., :100, :80])


def test_folded_equals_unfolded() -> None:
    network, frames = painting(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(fold_batch_norms(network)(frames), network(frames), atol=1e-5, rtol=0)


def test_each_down_block_feeds_its_mirror() -> None:
    network = painting()
    downs, merged = [], []
    for block in (network.stem, *network.downs):
        block.register_forward_hook(lambda _, __, output: downs.append(output))
    for block in network.ups:
        block.merge.register_forward_pre_hook(lambda _, inputs: merged.append(inputs[0]))
    network(torch.rand(1, 3, 64, 64))
    assert [d.shape[-1] for d in downs] == [32, 16, 8, 4, 2]
    assert len(merged) == 4
    for down, joined in zip(reversed(downs[:-1]), merged, strict=True):
        assert torch.equal(joined[:, -down.shape[1] :], down)


def test_five_levels_or_an_error() -> None:
    with pytest.raises(ValueError, match="5 levels"):
        FaceSuperResolver(FaceSuperResolverSettings(widths=(4, 4)))
