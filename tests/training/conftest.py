"""Tiny networks with the shipped model's keypoints, and pairs to train them on."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from faceanim_cli.data.landmarks import DENSE_ANCHORS
from faceanim_models import (
    AnimationModel,
    AnimationSettings,
    DenseMotionSettings,
    GeneratorSettings,
    KeypointDetectorSettings,
)

SIZE = 64
K = len(DENSE_ANCHORS)


def tiny_settings(size: int = SIZE) -> AnimationSettings:
    return AnimationSettings(
        KeypointDetectorSettings(K, input_size=32, stages=1, widths=(8,)),
        DenseMotionSettings(K, size=16, widths=(8, 12)),
        GeneratorSettings(K, widths=(8, 8, 8), photo_widths=(4, 4, 4)),
        DENSE_ANCHORS,
        size,
    )


def squeezenet_file(path, prefix="", seed=0, value=None):
    """Random SqueezeNet 1.1 features in the format of the real file."""
    torch.manual_seed(seed)
    features = torchvision.models.squeezenet1_1(weights=None).features.state_dict()
    if value is not None:
        features = {key: torch.full_like(tensor, value) for key, tensor in features.items()}
    save_file({prefix + key: tensor for key, tensor in features.items()}, path)
    return path


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def features(tmp_path_factory):
    return squeezenet_file(tmp_path_factory.mktemp("weights") / "features.safetensors")


@pytest.fixture
def model() -> AnimationModel:
    return AnimationModel(tiny_settings())


@pytest.fixture
def pairs() -> dict[str, torch.Tensor]:
    """Four pairs: two without a box."""
    boxes = torch.tensor([[-0.6, -0.6, 0.6, 0.6]]).repeat(4, 1)
    boxes[::2] = torch.nan
    return {
        "source": torch.rand(4, 3, SIZE, SIZE),
        "driving": torch.rand(4, 3, SIZE, SIZE),
        "source_points": torch.rand(4, K, 2) - 0.5,
        "driving_points": torch.rand(4, K, 2) - 0.5,
        "source_box": boxes,
        "driving_box": boxes.flip(0),
    }
