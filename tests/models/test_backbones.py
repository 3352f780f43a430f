"""ResNet and SqueezeNet: torchvision's weights fit, and give what torchvision's networks give."""

import subprocess
import sys

import pytest
import torch
import torchvision

from faceanim_models.backbones import RESNETS, ResNet, squeezenet_features
from tests.models.conftest import randomise_norms


@pytest.mark.parametrize("name", RESNETS)
def test_a_resnet_is_torchvision_s(name: str) -> None:
    wanted = torchvision.models.get_model(name, weights=None).eval()
    randomise_norms(wanted)
    found = ResNet(name, 3).eval()
    own = found.state_dict()
    found.load_state_dict({key: tensor for key, tensor in wanted.state_dict().items() if key in own})
    image, maps = torch.rand(2, 3, 48, 40), []
    for network in (found, wanted):
        x = network.maxpool(network.relu(network.bn1(network.conv1(image))))
        maps.append([x := network.get_submodule(f"layer{stage}")(x) for stage in (1, 2, 3)])
    torch.testing.assert_close(*maps)
    assert [len(x[0]) for x in maps[0]] == found.channels[1:]


def test_squeezenet_is_torchvision_s() -> None:
    wanted, found = (
        torchvision.models.squeezenet1_1(weights=None).features.eval(),
        squeezenet_features().eval(),
    )
    found.load_state_dict(wanted.state_dict())
    image = torch.rand(2, 3, 70, 50)
    torch.testing.assert_close(found(image), wanted(image))


def test_animating_does_not_load_torchvision() -> None:
    """It would take a second at every start."""
    code = "import sys; import faceanim_cli.animation.job; print('torchvision' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
