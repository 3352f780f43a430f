"""Fused convolutions compute what plain ones do, in every network that has them, or are left alone."""

import copy

import pytest
import torch
from torch import nn

from faceanim_models import AnimationModel, FaceSuperResolver, FaceSuperResolverSettings, FirstOrderModel
from faceanim_models import fused_convolutions as module
from faceanim_models.backbones import ResNet
from faceanim_models.blocks import ResidualBlock, UNet, cast_convolutions, fold_batch_norms
from faceanim_models.fused_convolutions import BlockConvolution, FusedConvolution, can_fuse, fuse_convolutions
from faceanim_models.thin_plate_spline import ThinPlateSplineModel, ThinPlateSplineSettings
from tests.conftest import TINY_FIRST_ORDER
from tests.models.conftest import randomise_norms, tiny_settings
from tests.models.test_detail_refiner import FACE, with_details

pytestmark = pytest.mark.skipif(not can_fuse(torch.float32), reason="this torch cannot fuse convolutions")

TINY_SPLINES = ThinPlateSplineSettings(
    splines=2,
    encoder_widths=(4, 6, 8, 8),
    motion_widths=(4, 6, 8, 8),
    generator_widths=(4, 6, 8, 8),
    occlusion_widths=(8, 8),
)


class Animates(nn.Module):
    """A model that animates, from pictures to pictures."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        if isinstance(self.model, AnimationModel) and self.model.details is not None:
            code, driving = self.model.encode_photo(frames[:1], FACE[None]), FACE.expand(3, -1, -1) * 0.9
        else:
            code, driving = self.model.encode_photo(frames[:1]), self.model.detect(frames)
        generated, _ = self.model(code.expand(3), driving)
        return generated.image


class SuperResolves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = FaceSuperResolver(FaceSuperResolverSettings((4, 4, 6, 6, 8), detail=6, depth=2))
        nn.init.normal_(self.model.head.weight, std=0.05)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.model(frames[..., :40])


class Features(nn.Module):
    """The parts of a ResNet that the keypoint detector uses."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        net = self.network
        return net.layer2(net.layer1(net.relu(net.bn1(net.conv1(frames)))))


NETWORKS = {
    "unet": lambda: UNet(3, (8, 12, 16)),
    "own": lambda: Animates(AnimationModel(tiny_settings(photo_channels=3))),
    "own with details": lambda: Animates(with_details()),
    "first-order": lambda: Animates(FirstOrderModel(TINY_FIRST_ORDER)),
    "thin-plate-spline": lambda: Animates(ThinPlateSplineModel(TINY_SPLINES)),
    "super-resolution": SuperResolves,
    "resnet18": lambda: Features(ResNet("resnet18", 2)),
    "resnet50": lambda: Features(ResNet("resnet50", 2)),
}


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64)


def prepared(name: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """The network as it is and fused; the same weights at every call."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    randomise_norms(network)
    plain = fold_batch_norms(network)
    fused = fuse_convolutions(copy.deepcopy(plain))
    for ready in (plain, fused):
        cast_convolutions(ready, dtype)
    return plain, fused


@pytest.mark.parametrize("name", NETWORKS)
def test_the_result_is_that_of_plain_convolutions(name: str, frames: torch.Tensor) -> None:
    plain, fused = prepared(name, torch.float32)
    with torch.inference_mode():
        wanted, before = plain(frames), frames.clone()
        for _ in range(2):  # weights are packed in the first call
            torch.testing.assert_close(
                fused(frames), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max())
            )
    assert torch.equal(frames, before)
    assert any(isinstance(part, FusedConvolution) for part in fused.modules())


@pytest.mark.skipif(not can_fuse(torch.bfloat16), reason="no bfloat16 in this CPU's fused convolutions")
@pytest.mark.parametrize("name", NETWORKS)
def test_in_bfloat16_it_is_as_close_to_float32_as_plain_ones_are(name: str, frames: torch.Tensor) -> None:
    plain, fused = prepared(name, torch.bfloat16)
    exact, _ = prepared(name, torch.float32)
    with torch.inference_mode():
        wanted = exact(frames)
        with torch.autocast("cpu", torch.bfloat16):
            fused(frames)  # packs the weights
            off_plain, off_fused = ((ready(frames).float() - wanted).abs().mean() for ready in (plain, fused))
    assert off_fused < 2 * off_plain + 1e-4


def test_other_sizes_and_batches_follow(frames: torch.Tensor) -> None:
    plain, fused = prepared("unet", torch.float32)
    with torch.inference_mode():
        for x in (frames, frames[:1], frames[:, :, :16, :32]):
            torch.testing.assert_close(fused(x), plain(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["unet", "super-resolution", "first-order"])
def test_damaged_weights_show_in_every_call(name: str, frames: torch.Tensor) -> None:
    network = NETWORKS[name]()
    for conv in list(network.modules()):
        if isinstance(conv, nn.Conv2d):
            nn.init.normal_(conv.weight, std=1e30)
    fused = fuse_convolutions(fold_batch_norms(network.eval()))
    with torch.inference_mode():
        assert all(fused(frames).isnan().any() for _ in range(2))


@pytest.mark.parametrize("size", [(16, 24), (9, 15)])
@pytest.mark.parametrize("outputs", [1, 3, 4])
@pytest.mark.parametrize(("kernel", "bias"), [(5, True), (7, False)])
def test_few_outputs_of_a_large_kernel_come_by_blocks(
    size: tuple[int, int], outputs: int, kernel: int, bias: bool
) -> None:
    network = nn.Sequential(nn.Conv2d(6, outputs, kernel, padding=kernel // 2, bias=bias))
    x = torch.rand(2, 6, *size)
    with torch.inference_mode():
        wanted = network(x)
        fused = fuse_convolutions(network)
        assert isinstance(fused[0], BlockConvolution)
        torch.testing.assert_close(fused(x), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 5, 7, padding=3),
        nn.Conv2d(6, 3, 3, padding=1),
        nn.Conv2d(6, 3, 7),
        nn.Conv2d(6, 3, 7, padding=3, stride=2),
        nn.Conv2d(6, 3, (7, 5), padding=(3, 2)),
        nn.Conv2d(3, 3, 7, padding=3, groups=3),
        nn.Conv2d(6, 3, 7, padding=3, padding_mode="reflect"),
        nn.Conv2d(6, 3, 5, padding=4, dilation=2),
    ],
    ids=str,
)
def test_other_convolutions_do_not(conv: nn.Conv2d) -> None:
    assert fuse_convolutions(nn.Sequential(conv))[0] is conv


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 3e38])
def test_numbers_that_are_not_or_overflow_show_in_every_call(wrong: float, transposed: bool) -> None:
    """And in a frame beside others, after which the convolution is fused nevertheless."""
    conv = nn.ConvTranspose2d(2, 3, 4, 2, 1) if transposed else nn.Conv2d(2, 3, 3, padding=1)
    nn.init.constant_(conv.weight, 2.0)
    fused = FusedConvolution(conv, relu=True)
    frames = torch.rand(2, 2, 8, 8)
    damaged = frames.clone()
    damaged[1, :, 4, 4] = wrong
    with torch.inference_mode():
        for _ in range(2):
            assert fused(damaged).isfinite().flatten(1).all(1).tolist() == [True, False]
        wanted = conv(frames).relu()
        for _ in range(2):
            torch.testing.assert_close(fused(frames), wanted, rtol=1e-5, atol=1e-5)
        assert fused._packed is not None


def test_a_norm_that_could_not_be_folded_stays(frames: torch.Tensor) -> None:
    block = ResidualBlock(3).eval()
    block.norm = nn.InstanceNorm2d(3, affine=True)
    folded = fold_batch_norms(block)
    with torch.inference_mode():
        fused = fuse_convolutions(copy.deepcopy(folded))
        torch.testing.assert_close(fused(frames), folded(frames), rtol=0, atol=1e-5)


@pytest.mark.parametrize("fault", ["missing", "other arguments", "other result"])
def test_operators_that_do_something_else_are_not_used(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "missing":
        monkeypatch.setattr(module, "OPERATORS", ("_convolution_of_another_torch",))
    else:

        def forward(
            self: FusedConvolution, x: torch.Tensor, added: torch.Tensor | None = None
        ) -> torch.Tensor:
            if fault == "other arguments":
                torch.ops.mkldnn._convolution_pointwise(x)
            return self.conv(x)  # forgets the ReLU

        monkeypatch.setattr(FusedConvolution, "forward", forward)
    can_fuse.cache_clear()
    try:
        assert not can_fuse(torch.float32)
    finally:
        can_fuse.cache_clear()


def test_asking_leaves_random_numbers_as_they_are() -> None:
    can_fuse.cache_clear()
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    can_fuse(torch.float32)
    assert torch.equal(torch.rand(4), wanted)


def test_the_first_result_is_that_of_every_call() -> None:
    torch.manual_seed(0)
    network = fuse_convolutions(fold_batch_norms(UNet(4, (8, 16)).eval()))
    x = torch.rand(2, 4, 16, 16)
    with torch.inference_mode():
        first, second = network(x), network(x)
    assert torch.equal(first, second)
