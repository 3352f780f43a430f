"""Rearranging maps moves nothing but memory, by hand as by torch."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from faceanim_models.memory_layout import channels_first, channels_last, pixel_shuffle, pixel_unshuffle

LAST = torch.channels_last


@pytest.fixture(params=[True, False], ids=["autograd", "inference"], autouse=True)
def grad(request: pytest.FixtureRequest):
    with torch.set_grad_enabled(request.param):
        yield


@pytest.fixture(params=["planes", "channels last", "some channels", "turned"])
def maps(request: pytest.FixtureRequest) -> Tensor:
    maps = torch.rand(2, 36, 6, 12)
    return {
        "planes": maps,
        "channels last": maps.contiguous(memory_format=LAST),
        "some channels": torch.rand(2, 38, 6, 12)[:, 1:37],
        "turned": torch.rand(2, 36, 12, 6).mT,
    }[request.param].to(torch.bfloat16)


def test_channels_lie_as_asked_for(maps: Tensor) -> None:
    last, first = channels_last(maps), channels_first(maps)
    assert torch.equal(last, maps)
    assert last.is_contiguous(memory_format=LAST)
    assert torch.equal(first, maps)
    assert first.is_contiguous()


@pytest.mark.parametrize("factor", [2, 3])
def test_pixels_are_folded_and_unfolded_as_torch_does(maps: Tensor, factor: int) -> None:
    assert torch.equal(pixel_shuffle(maps, factor), F.pixel_shuffle(maps, factor))
    assert torch.equal(pixel_unshuffle(maps, factor), F.pixel_unshuffle(maps, factor))
