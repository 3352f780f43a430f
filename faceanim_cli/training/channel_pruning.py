"""Channel pruning: a generator with fewer channels that does nearly what the wide one does, without training.

As He, Zhang and Sun do ("Channel pruning for accelerating very deep neural networks", 2017): of each layer
the channels are kept from which the others are told best, and the weights that read them are fitted, by least
squares, to what the wide layer gives. Layers are fitted in their order, on what the narrow ones before give,
so that errors do not add up. Training goes on from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_cli.errors import UsageError
from faceanim_models import AnimationModel, Keypoints
from faceanim_models.generator import Generator

PAIRS = 24  # of frames, that the layers are fitted on
SAMPLES_PER_WEIGHT = 30  # places that a layer is fitted at, for each of its inputs
FEWEST_SAMPLES = 2000
RIDGE = 1e-6  # of the mean square of an input, added to it: keeps what hardly varies from large weights
STEP = 4  # of an image's rows and columns, those that channels are chosen on


@dataclass(frozen=True)
class _Layer:
    """A convolution of the U-Net, and what becomes of its outputs."""

    conv: str
    norm: str | None  # the batch norm after it
    width: int  # channels to keep
    outputs: tuple[str, ...]  # blocks whose outputs have these channels; none: all are kept


def prune_generator(
    model: AnimationModel, widths: Sequence[int], source: Tensor, driving: Tensor
) -> AnimationModel:
    """The model with a narrower generator; all its other networks are as they were.

    Args:
        model: in any mode; it is left in evaluation mode.
        widths: channels at 1/2, 1/4, ... of the image, as of ``GeneratorSettings``.
        source, driving: pairs of frames of a clip, as training sees them, (B, 3, H, W) in [0, 1].

    Raises:
        UsageError: there are more or fewer levels than before, or one would be wider.
    """
    old = model.settings.generator
    widths = tuple(widths)
    if len(widths) != len(old.widths) or any(
        a > b or a < 1 for a, b in zip(widths, old.widths, strict=False)
    ):
        raise UsageError(
            f"--generator-widths {','.join(map(str, widths))}: give at most "
            f"{','.join(map(str, old.widths))}, which --init has"
        )
    model.eval()
    narrow = AnimationModel(replace(model.settings, generator=replace(old, widths=widths))).eval()
    narrow.to(source.device)
    state = narrow.state_dict()
    state |= {k: v for k, v in model.state_dict().items() if state[k].shape == v.shape}
    narrow.load_state_dict(state)
    layers = _layers(model.generator, widths)
    with torch.no_grad():
        points = [model.detect(frames) for frames in (source, driving)]
        chosen, wanted, places = _wide(model, layers, source, points)
        for layer in layers:
            inputs = _inputs(narrow, layer, source, points)
            _fit(
                narrow.generator,
                model.generator,
                layer,
                chosen,
                inputs,
                wanted[layer.conv],
                places[layer.conv],
            )
    return narrow


def _layers(generator: Generator, widths: Sequence[int]) -> list[_Layer]:
    """The convolutions of the U-Net and the head in the order in which they run."""
    unet = generator.unet

    def block(name: str, width: int, *others: str) -> _Layer:
        return _Layer(f"{name}.conv", f"{name}.norm", width, (name, *others))

    layers = [block("unet.stem", widths[0])]
    last = len(widths) - 2
    for level, (width, join) in enumerate(zip(widths[1:], unet.joins, strict=True)):
        names = [f"unet.downs.{level}"]
        if not isinstance(join, nn.Identity):
            names.append(f"unet.joins.{level}")
        # What is added to a bottleneck's output has the same channels.
        kept = [("unet.bottleneck",) if level == last and name == names[-1] else () for name in names]
        layers += [block(name, width, *more) for name, more in zip(names, kept, strict=True)]
    carried = layers[-1]
    layers.append(block("unet.bottleneck.first", widths[-1]))
    layers.append(_Layer("unet.bottleneck.conv", "unet.bottleneck.norm", widths[-1], carried.outputs))
    for number, width in enumerate(reversed(widths[:-1])):
        layers += [block(f"unet.ups.{number}.{part}", width) for part in ("reduce", "merge")]
    layers.append(_Layer("head", None, generator.head.out_channels, ()))
    return layers


def _wide(
    model: AnimationModel, layers: Sequence[_Layer], source: Tensor, points: Sequence[Keypoints]
) -> tuple[dict[tuple[str, ...], Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """What is kept of the wide generator: its channels, by the blocks that have them; what each convolution
    gives, (N, channels); and at which places, (B, M) of an image's."""
    modules = dict(model.generator.named_modules())
    blocks: dict[str, Tensor] = {}
    wanted: dict[str, Tensor] = {}
    places: dict[str, Tensor] = {}
    random = torch.Generator().manual_seed(0)
    hooks = []
    for layer in layers:
        conv = modules[layer.conv]
        assert isinstance(conv, nn.Conv2d)

        def keep(conv: nn.Module, _: object, given: Tensor, name: str = layer.conv) -> None:
            assert isinstance(conv, nn.Conv2d)
            count, _, height, width = given.shape
            inputs = conv.in_channels * conv.kernel_size[0] ** 2
            samples = max(FEWEST_SAMPLES, SAMPLES_PER_WEIGHT * inputs) // count + 1
            order = torch.rand(count, height * width, generator=random).argsort(1)
            places[name] = order[:, :samples].to(given.device)
            wanted[name] = _at(given.flatten(2), places[name])

        hooks.append(conv.register_forward_hook(keep))
        for name in layer.outputs:

            def collect(_: nn.Module, __: object, given: Tensor, name: str = name) -> None:
                blocks[name] = given[..., ::STEP, ::STEP].permute(0, 2, 3, 1).flatten(0, 2).clone()

            hooks.append(modules[name].register_forward_hook(collect))
    _generate(model, source, points)
    for hook in hooks:
        hook.remove()
    chosen = {
        layer.outputs: choose_channels([blocks[name] for name in layer.outputs], layer.width)
        for layer in layers
        if layer.outputs
    }
    return chosen, wanted, places


def choose_channels(samples: Sequence[Tensor], count: int) -> Tensor:
    """The channels, in their order, from which all are told best by linear maps, found greedily.

    Args:
        samples: of maps that share their channels, (N, C) each.
        count: how many to keep.
    """
    scaled = [(each / each.std().clamp_min(1e-6)).double() for each in samples]
    left = torch.stack([each.T @ each / len(each) for each in scaled]).sum(0)
    kept: list[int] = []
    for _ in range(count):
        own = left.diagonal().clamp_min(1e-12)
        explained = left.square().sum(1) / own
        explained[kept] = -1
        best = int(explained.argmax())
        kept.append(best)
        left = left - torch.outer(left[best], left[best]) / own[best]
    return torch.tensor(sorted(kept), device=left.device)


def _generate(model: AnimationModel, source: Tensor, points: Sequence[Keypoints]) -> None:
    was, now = points
    model(model.encode_photo(source, was), now)


def _inputs(model: AnimationModel, layer: _Layer, source: Tensor, points: Sequence[Keypoints]) -> Tensor:
    """What a convolution of the narrow generator is given, (B, C, H, W)."""
    given: list[Tensor] = []
    conv = model.generator.get_submodule(layer.conv)
    hook = conv.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
    _generate(model, source, points)
    hook.remove()
    return given[0]


def _fit(
    narrow: Generator,
    wide: Generator,
    layer: _Layer,
    chosen: Mapping[tuple[str, ...], Tensor],
    inputs: Tensor,
    wanted: Tensor,
    places: Tensor,
) -> None:
    """Weights of a convolution that give what the wide one gives, at so many places of each image."""
    conv = narrow.get_submodule(layer.conv)
    assert isinstance(conv, nn.Conv2d)
    padding = conv.kernel_size[0] // 2
    size = conv.in_channels * conv.kernel_size[0] ** 2 + 1
    squares = torch.zeros(size, size, dtype=torch.float64, device=inputs.device)
    products = torch.zeros(size, wanted.shape[1], dtype=torch.float64, device=inputs.device)
    for image, at, given in zip(inputs, places, wanted.view(len(inputs), -1, wanted.shape[1]), strict=True):
        seen = F.unfold(image[None], conv.kernel_size, padding=padding, stride=conv.stride)
        seen = F.pad(_at(seen, at[None]), (0, 1), value=1.0)  # and a bias
        squares += (seen.T @ seen).double()
        products += (seen.T @ given).double()
    squares += RIDGE * squares.diagonal().mean() * torch.eye(size, device=squares.device)
    fitted = torch.linalg.solve(squares, products).float()
    keep = chosen[layer.outputs] if layer.outputs else torch.arange(wanted.shape[1], device=inputs.device)
    conv.weight.copy_(fitted[:-1, keep].T.reshape(conv.weight.shape))
    bias = fitted[-1, keep]
    if conv.bias is not None:
        conv.bias.copy_(bias)
    if layer.norm is None:
        return
    ours, theirs = narrow.get_submodule(layer.norm), wide.get_submodule(layer.norm)
    assert isinstance(ours, nn.BatchNorm2d) and isinstance(theirs, nn.BatchNorm2d)
    for name, value in theirs.state_dict().items():
        if value.ndim:
            getattr(ours, name).copy_(value[keep])
    if conv.bias is None:  # the norm's mean stands in for it
        assert ours.running_mean is not None
        ours.running_mean -= bias


def _at(maps: Tensor, places: Tensor) -> Tensor:
    """Maps (B, C, H W) at M places of each image, (B, M): (B M, C)."""
    channels = maps.shape[1]
    return maps.gather(2, places[:, None].expand(-1, channels, -1)).transpose(1, 2).reshape(-1, channels)
