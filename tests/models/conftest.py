"""Networks small enough for a busy core, built as the real ones are."""

import pytest
import torch
from torch import nn

from faceanim_models import (
    AnimationModel,
    AnimationSettings,
    DenseMotionSettings,
    GeneratorSettings,
    KeypointDetectorSettings,
)
from faceanim_models.face_patches import PatchSettings

SIZE = 64  # pixels of the pictures that tiny networks work on

# For five keypoints: two of each eye, and a mouth.
TINY_PATCHES = (
    PatchSettings(((0, 1), (3, 2)), ((0, 1), (3, 2)), (False, True), 0.125, 0.5, 0.25, (8, 16)),
    PatchSettings(((4,),), ((4,),), (False,), 0.0, 0.5, 0.5, (16, 16)),
)
TINY_RIGID = (0, 1, 2, 3)


def tiny_settings(keypoints: int = 4, photo_channels: int = 0) -> AnimationSettings:
    return AnimationSettings(
        KeypointDetectorSettings(keypoints, input_size=32, stages=2, widths=(12, 8)),
        DenseMotionSettings(keypoints, size=16, widths=(8, 12), photo_channels=photo_channels),
        GeneratorSettings(keypoints, widths=(8, 12, 16), photo_widths=(4, 6, 8)),
        image_size=SIZE,
    )


def randomise_norms(network: nn.Module) -> None:
    """Batch statistics and scales as after training; fresh ones are 0 and 1 and hide most mistakes."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)


def force_candidate(model: AnimationModel, candidate: int) -> None:
    """Let the mixture take one candidate motion everywhere: 0 identity, 1 the head, then the keypoints."""
    conv = model.dense_motion.mixture
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    with torch.no_grad():
        conv.bias[candidate] = 60.0


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def model() -> AnimationModel:
    return AnimationModel(tiny_settings()).eval()


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.rand(1, 3, SIZE, SIZE)
