"""The keypoint detector (paper §3.1, step 2): a U-Net on a ResNet encoder, then soft-argmax."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from faceanim_models.backbones import RESNETS, ResNet
from faceanim_models.blocks import UpBlock
from faceanim_models.geometry import resize, soft_argmax
from faceanim_models.keypoint_refiner import KeypointRefiner, KeypointRefinerSettings
from faceanim_models.memory_layout import channels_first

ENCODERS = tuple(RESNETS)


@dataclass(frozen=True)
class KeypointDetectorSettings:
    """What rebuilds a :class:`KeypointDetector`."""

    num_keypoints: int = 10  # the paper's number
    encoder: str = "resnet18"  # one of ENCODERS
    input_size: int = 128  # pixels: images are brought to this size first
    # How many of the ResNet's four stages are used. The fourth holds three quarters of its weights and works
    # on a 4x4 map here, where it adds a third to a training step and nothing that the third does not see.
    stages: int = 3
    widths: tuple[int, ...] = (128, 96, 48)  # decoder channels, deepest first, the last at 1/2 of input_size
    temperature: float = 0.1  # of the spatial softmax: lower is more pointed (FOMM: 0.1)
    refiner: KeypointRefinerSettings | None = None  # the second step, on patches at the image's full size


class KeypointDetector(nn.Module):
    """Images (B, 3, H, W), RGB in [0, 1], to keypoints (B, K, 2), x and y in [-1, 1].

    Viola-Jones improves their selection (paper §3.1) by the crop that it gives. Its box as a prior on the
    heatmaps as well, by a strength learned for each keypoint, was tried: it cost 0.13 dB, and went to zero.

    Args:
        settings: sizes; see :class:`KeypointDetectorSettings`.
    """

    def __init__(self, settings: KeypointDetectorSettings) -> None:
        super().__init__()
        if settings.encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, not {settings.encoder!r}")
        self.settings = settings
        if not (1 <= settings.stages <= 4 and len(settings.widths) == settings.stages):
            raise ValueError(
                f"{settings.stages} stages with {len(settings.widths)} decoder widths: 1 to 4, one each"
            )
        self.encoder = ResNet(settings.encoder, settings.stages)
        channels = self.encoder.channels  # at 1/2 of the input, and after each stage at 1/4, 1/8, ...
        inputs = (channels[-1], *settings.widths[:-1])
        self.ups = nn.ModuleList(
            UpBlock(i, s, o) for i, s, o in zip(inputs, reversed(channels[:-1]), settings.widths, strict=True)
        )
        self.heatmaps = nn.Conv2d(settings.widths[-1], settings.num_keypoints, 3, padding=1)
        self.refiner = (
            None if settings.refiner is None else KeypointRefiner(settings.refiner, settings.num_keypoints)
        )
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)

    def start_from_imagenet(self, classifier: Mapping[str, Tensor]) -> None:
        """Take the encoder's weights from the ``state_dict()`` of torchvision's classifier of its name.

        Raises:
            RuntimeError: they are those of another.
        """
        left_out = ("fc.", *(f"layer{stage}." for stage in range(self.settings.stages + 1, 5)))
        kept = {key: t for key, t in classifier.items() if not key.startswith(left_out)}
        self.encoder.load_state_dict(kept)

    def forward(self, images: Tensor, kept: list[Tensor] | None = None) -> Tensor:
        """Keypoints (B, K, 2); arguments as ``steps``."""
        return self.steps(images, kept)[-1]

    def steps(self, images: Tensor, kept: list[Tensor] | None = None) -> list[Tensor]:
        """The keypoints after each step, (B, K, 2): found on the whole image, and again on its patches.

        Args:
            images: (B, 3, H, W).
            kept: gets the heatmaps' logits, see ``logits``.
        """
        logits = self.logits(images)
        if kept is not None:
            kept.append(logits)
        coarse = soft_argmax(logits / self.settings.temperature)
        return [coarse] if self.refiner is None else [coarse, self.refiner(images, coarse)]

    def logits(self, images: Tensor) -> Tensor:
        """Heatmap logits (B, K, S / 2, S / 2) before the temperature, float32; S is ``input_size``."""
        size = self.settings.input_size
        x = (resize(images, size, size) - self.mean) / self.std
        net = self.encoder
        skips = [net.relu(net.bn1(net.conv1(x)))]
        x = net.maxpool(skips[0])
        for stage in range(1, self.settings.stages + 1):
            x = net.get_submodule(f"layer{stage}")(x)
            skips.append(x)
        skips.pop()
        for up in self.ups:
            x = up(x, skips.pop())
        return channels_first(self.heatmaps(x)).float()
