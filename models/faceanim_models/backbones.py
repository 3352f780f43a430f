"""ResNet (He et al. 2016) and SqueezeNet 1.1 (Iandola et al. 2016), with torchvision's names and shapes.

Weights made for torchvision's fit. Importing torchvision itself would take a second at every start.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

# Blocks of each stage, and whether they are bottlenecks.
RESNETS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, the first of which may shrink: (B, in, H, W) -> (B, out, H / stride, W / stride).

    Args:
        in_channels, out_channels: of the block.
        stride: of its first convolution.
        downsample: brings the input to the shape of the output; None where it has it.
    """

    expansion = 1  # channels of a block are its stage's width times this

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(out_channels)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(self.bn1(self.conv1(x)))
        return torch.relu_(shortcut + self.bn2(self.conv2(y)))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, which bring channels down and up again; as ``BasicBlock``."""

    expansion = 4

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        width = out_channels // self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3: nn.Module = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return torch.relu_(shortcut + self.bn3(self.conv3(y)))


class ResNet(nn.Module):
    """The convolutions of a ResNet; whoever has one calls its parts.

    Args:
        name: one of RESNETS.
        stages: how many of its four are there.
    """

    def __init__(self, name: str, stages: int) -> None:
        super().__init__()
        blocks, bottlenecks = RESNETS[name]
        kind = Bottleneck if bottlenecks else BasicBlock
        self.conv1: nn.Module = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(64)
        self.relu: nn.Module = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = [64, *(64 * 2**stage * kind.expansion for stage in range(stages))]
        for stage, (before, width) in enumerate(pairwise(channels), start=1):
            stride = 1 if stage == 1 else 2
            layer = resnet_stage(kind, before, width, blocks[stage - 1], stride)
            self.add_module(f"layer{stage}", layer)
        self.channels = channels  # after the first convolution, and after each stage
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet_stage(
    kind: type[BasicBlock] | type[Bottleneck], before: int, width: int, blocks: int, stride: int
) -> nn.Sequential:
    """Some blocks in a row, the first of which may shrink; its input is brought to size where it must."""
    downsample = None
    if stride != 1 or before != width:
        downsample = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    return nn.Sequential(
        kind(before, width, stride, downsample), *(kind(width, width) for _ in range(1, blocks))
    )


class Fire(nn.Module):
    """SqueezeNet's: to few channels by 1x1, and from them as many by 1x1 as by 3x3."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat((torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))), dim=1)


def squeezenet_features() -> nn.Sequential:
    """SqueezeNet 1.1 without its classifier: (B, 3, H, W) to 512 channels at 1/16."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, stride=2, ceil_mode=True)

    features = nn.Sequential(
        *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(inplace=True), pool()),
        *(Fire(64, 16, 64), Fire(128, 16, 64), pool()),
        *(Fire(128, 32, 128), Fire(256, 32, 128), pool()),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
    )
    for module in features.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.kaiming_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return features
