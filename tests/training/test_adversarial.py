"""The discriminator's and the generator's losses against their equations, and the windows they look at."""

import pytest
import torch
from torch import nn

from faceanim_cli.training.adversarial import DiscriminatorObjective, face_corners, generator_terms, windows
from faceanim_models import PatchDiscriminator, PatchDiscriminatorSettings


class Brightness(nn.Module):
    """A discriminator whose score is the image's mean, and whose features are the image and twice that."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, images):
        scores = self.gain * images.mean((1, 2, 3), keepdim=True)
        return scores, [images, 2 * images]


@pytest.fixture
def discriminator():
    return PatchDiscriminator(PatchDiscriminatorSettings((4, 8)))


def grey(level, count=2):
    return torch.full((count, 3, 8, 8), level)


class TestLosses:
    def test_discriminator_by_equation_4(self):
        loss = DiscriminatorObjective(Brightness())(grey(0.7), grey(0.4))
        assert loss.item() == pytest.approx((1 - 0.7) ** 2 + 0.4**2, rel=1e-5)

    def test_discriminator_is_content_when_it_tells_them_apart(self):
        assert DiscriminatorObjective(Brightness())(grey(1.0), grey(0.0)).item() == pytest.approx(0)

    def test_generator_by_equation_5_and_feature_matching(self):
        terms = generator_terms(Brightness(), grey(0.7), grey(0.4))
        assert set(terms) == {"adversarial", "feature_matching"}
        assert terms["adversarial"].item() == pytest.approx((1 - 0.4) ** 2, rel=1e-5)
        assert terms["feature_matching"].item() == pytest.approx((0.3 + 0.6) / 2, rel=1e-5)

    def test_generator_learns_and_the_discriminator_does_not(self, discriminator):
        generated = torch.rand(2, 3, 32, 32, requires_grad=True)
        terms = generator_terms(discriminator, torch.rand(2, 3, 32, 32), generated)
        sum(terms.values()).backward()
        assert generated.grad.abs().sum() > 0
        assert all(p.grad is None and p.requires_grad for p in discriminator.parameters())

    def test_a_few_steps_teach_the_discriminator(self, discriminator):
        objective = DiscriminatorObjective(discriminator)
        real, generated = torch.rand(4, 3, 32, 32), 0.5 + 0.05 * torch.rand(4, 3, 32, 32)  # noise and grey
        optimizer = torch.optim.Adam(objective.parameters(), 5e-3)
        losses = []
        for _ in range(30):
            losses.append(objective(real, generated))
            optimizer.zero_grad()
            losses[-1].backward()
            optimizer.step()
        assert losses[-1] < 0.5 * losses[0]


class TestWindows:
    def test_are_centred_on_a_keypoint_and_stay_inside(self):
        size, side = 65, 17
        points = torch.tensor([[[0.0, 0.5]], [[-1.0, 1.0]]])  # pixels (32, 48) and (0, 64)
        assert face_corners(points, size, side) == [(40, 24), (48, 0)]  # rows first

    def test_cut_the_same_place_from_each_image_of_its_own(self):
        rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
        images = torch.stack((rows, columns, rows)).expand(2, 3, 20, 20)
        cut = windows(images, [(3, 5), (0, 16)], 4)
        assert cut.shape == (2, 3, 4, 4)
        assert cut[0, :2, 0, 0].tolist() == [3, 5]
        assert cut[1, :2, 3, 3].tolist() == [3, 19]

    def test_every_keypoint_has_its_turn(self):
        points = torch.stack((torch.linspace(-0.5, 0.5, 5), torch.zeros(5)), dim=-1).expand(100, 5, 2)
        assert len(set(face_corners(points, 64, 16))) == 5

    def test_the_whole_frame_is_a_window_too(self):
        assert face_corners(torch.rand(3, 4, 2), 32, 32) == [(0, 0)] * 3
