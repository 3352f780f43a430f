"""The photo's maps: where they lie, what stays frozen, and that the dense motion follows them."""

import pytest
import torch
import torchvision

from faceanim_models import AnimationModel, DenseMotionNetwork, DenseMotionSettings
from faceanim_models.geometry import identity_grid
from faceanim_models.head_segmenter import HeadSegmenter
from tests.models.conftest import SIZE, randomise_norms, tiny_settings

K = 4


@pytest.fixture
def segmenter():
    return HeadSegmenter(K, size=16, channels=3).eval()


def test_maps_come_at_twice_the_size_of_the_dense_motion(segmenter):
    for side in (48, 64, 100):  # any photo
        assert segmenter(torch.rand(2, 3, side, side), torch.zeros(2, K, 2)).shape == (2, 3, 32, 32)


def test_the_encoders_maps_are_exact_fractions_of_the_photo(segmenter):
    shapes = []
    for index in (4, 7, 12):
        segmenter.encoder[index].register_forward_hook(lambda *a: shapes.append(a[2].shape[1:]))
    segmenter(torch.rand(1, 3, 64, 64), torch.zeros(1, K, 2))
    assert shapes == [(128, 16, 16), (256, 8, 8), (512, 4, 4)]


def test_the_head_is_undecided_at_the_start(segmenter):
    maps = segmenter(torch.rand(1, 3, 64, 64), torch.zeros(1, K, 2))
    assert (maps[:, 0] == 0).all()
    assert (maps[:, 1:] != 0).any()


def test_a_map_lies_where_the_photo_shows_what_it_saw(segmenter):
    """A change in a corner of the photo shows in that corner of the maps more than anywhere else."""
    photo = torch.full((1, 3, 64, 64), 0.5)
    other = photo.clone()
    other[..., 40:56, 4:20] = torch.rand(1, 3, 16, 16)
    change = segmenter(photo, torch.zeros(1, K, 2)) - segmenter(other, torch.zeros(1, K, 2))
    row, column = divmod(int(change[0, 1:].abs().sum(0).argmax()), 32)
    assert 18 <= row <= 29
    assert 1 <= column <= 11


def test_imagenet_weights_are_taken_and_left_alone(segmenter):
    features = torchvision.models.squeezenet1_1(weights=None).features.state_dict()
    segmenter.start_from_imagenet(features)
    segmenter(torch.rand(1, 3, 64, 64), torch.zeros(1, K, 2)).sum().backward()
    for name, parameter in segmenter.encoder.named_parameters():
        assert torch.equal(parameter, features[name])
        assert parameter.grad is None
    assert segmenter.ups[0].merge.conv.weight.grad is not None


def motion_with_maps(head: float):
    """A network whose mixture knows nothing, for a photo whose left half is head by the logit given."""
    settings = DenseMotionSettings(K, size=16, widths=(8, 12), photo_channels=2)
    network = DenseMotionNetwork(settings).eval()
    torch.nn.init.zeros_(network.mixture.weight)
    torch.nn.init.zeros_(network.mixture.bias)
    maps = torch.zeros(1, 2, 32, 32)
    maps[:, 0] = -head
    maps[:, 0, :, :16] = head
    source = torch.tensor([[[-0.8, -0.5], [-0.2, -0.5], [-0.5, 0.1], [-0.5, 0.5]]])
    driving = source + torch.tensor([0.25, 0.0])
    with torch.no_grad():
        return network(torch.rand(1, 3, 16, 16), source, driving, maps)


def test_what_the_photo_calls_head_moves_and_the_rest_stays():
    motion = motion_with_maps(30.0)
    shift = (motion.grid - identity_grid(32, 32, motion.grid))[0, :, :, 0]
    # The head's edge, in the middle of the photo, lies a quarter of the half width farther in the frame.
    torch.testing.assert_close(shift[:, :18], torch.full((32, 18), -0.25), rtol=0, atol=1e-3)
    torch.testing.assert_close(shift[:, 22:], torch.zeros(32, 10), rtol=0, atol=1e-3)
    assert motion.mixture[0, 0, :, 12:].min() > 0.99
    assert motion.mixture[0, 0, :, :8].max() < 0.01


def test_the_mixture_still_sums_to_one():
    mixture = motion_with_maps(1.0).mixture
    torch.testing.assert_close(mixture.sum(1), torch.ones(1, 16, 16))


def test_maps_are_made_once_for_a_photo_and_serve_a_batch():
    model = AnimationModel(tiny_settings(photo_channels=2))
    randomise_norms(model)
    model.eval()
    with torch.inference_mode():
        model.dense_motion.segmenter.maps.weight.normal_(0, 0.5)
        photo, drivings = torch.rand(1, 3, SIZE, SIZE), torch.rand(3, 4, 2) - 0.5
        code = model.encode_photo(photo)
        assert code.maps is not None
        batched, _ = model(code.expand(3), drivings)
        one, _ = model(code, drivings[2:])
        without, _ = model(code._replace(maps=torch.zeros_like(code.maps)), drivings[2:])
    torch.testing.assert_close(batched.image[2:], one.image, rtol=0, atol=1e-4)
    assert (without.image - one.image).abs().max() > 1e-3  # they do count
