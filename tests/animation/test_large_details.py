"""Eyes and mouth of results larger than the networks' frames: painted again at that size."""

import dataclasses

import numpy as np
import pytest
import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.photo_detail import refine_frames
from faceanim_cli.weights.checkpoint import save_checkpoint
from faceanim_models import AnimationModel, KeypointDetector
from faceanim_models.detail_refiner import DetailRefiner, DetailRefinerSettings
from tests.models.conftest import SIZE, TINY_PATCHES, TINY_RIGID, randomise_norms, tiny_settings

PATCHES = tuple(dataclasses.replace(p, pixels=(2 * p.pixels[0], 2 * p.pixels[1])) for p in TINY_PATCHES)
LARGE = DetailRefinerSettings(PATCHES, TINY_RIGID, (4, 6, 8), fold=4)
FACE = torch.tensor([[-0.5, -0.25], [-0.25, -0.25], [0.25, -0.25], [0.5, -0.25], [0.0, 0.5]])
TURNED = torch.tensor([[0.96, -0.2], [0.2, 0.96]])


def refiner_that_paints() -> DetailRefiner:
    """Whose changes differ from pixel to pixel."""
    torch.manual_seed(1)
    refiner = DetailRefiner(LARGE, 5).eval()
    refiner.patches.mean_face.copy_(FACE)
    randomise_norms(refiner)
    for network in refiner.networks:
        torch.nn.init.normal_(network.head.weight, std=2)
    return refiner


@pytest.mark.parametrize("side", [64, 128])
def test_opencv_paints_what_the_network_paints(side: int) -> None:
    refiner = refiner_that_paints()
    keypoints = torch.stack((FACE @ TURNED.T + 0.05, 1.2 * FACE - 0.3))  # turned; over the edge
    smooth = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), (side, side), mode="bicubic")
    frames = (255 * smooth.clamp(0, 1)).byte().permute(0, 2, 3, 1).contiguous()
    with torch.inference_mode():
        codes = refiner.encode(torch.rand(2, 3, side, side), FACE.expand(2, -1, -1))
        wanted = refiner(frames.permute(0, 3, 1, 2) / 255, keypoints, codes).permute(0, 2, 3, 1)
        found = frames.clone().numpy()
        refine_frames(found, refiner, keypoints, codes)
    change = np.abs(found.astype(float) - frames.numpy())
    difference = np.abs(found - 255 * wanted.clamp(0, 1).numpy())
    assert change.mean() > 1  # there is something to compare
    assert difference.mean() < 0.5
    assert difference.max() < 20  # OpenCV samples at steps of 1/32 pixel


def test_keypoints_that_are_no_numbers_paint_nothing() -> None:
    refiner = refiner_that_paints()
    keypoints = torch.stack((FACE, FACE * torch.nan))
    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    painted = frames.copy()
    with torch.inference_mode():
        refine_frames(painted, refiner, keypoints, refiner.encode(torch.rand(2, 3, 64, 64), keypoints))
    assert (painted[0] != frames[0]).any()
    assert (painted[1] == frames[1]).all()


def test_large_results_are_painted_again(tmp_path, monkeypatch) -> None:
    # An untrained detector finds all in one place.
    found = lambda self, images, kept=None: FACE.expand(len(images), -1, -1)  # noqa: E731
    monkeypatch.setattr(KeypointDetector, "forward", found)
    settings = tiny_settings(4)
    wide = dataclasses.replace(settings.keypoints, num_keypoints=5)
    anchors = ((36,), (39,), (42,), (45,), (62,))
    settings = dataclasses.replace(settings, keypoints=wide, anchors=anchors)
    torch.manual_seed(0)
    plain = AnimationModel(settings).eval()
    refined = AnimationModel(dataclasses.replace(settings, large_details=LARGE)).eval()
    refined.load_state_dict(plain.state_dict(), strict=False)
    refined.large_details.patches.mean_face.copy_(FACE)
    for network in refined.large_details.networks:
        torch.nn.init.constant_(network.head.bias, 1.0)  # brighter
    photo = np.random.default_rng(0).integers(0, 200, (4 * SIZE, 4 * SIZE, 3), np.uint8)

    def frames(model: AnimationModel, size: int) -> np.ndarray:
        save_checkpoint(tmp_path / "w.safetensors", model)
        animator = Animator(tmp_path / "w.safetensors", size=size, sr=False, device="cpu", mark=None)
        animator.set_photo(photo, None)
        return np.stack(list(animator.animate([photo] * 3, None))).astype(int)

    small, large = SIZE, 2 * SIZE
    assert (frames(refined, small) == frames(plain, small)).all()
    brighter = frames(refined, large) - frames(plain, large)
    assert brighter.max() > 100
    assert brighter.min() >= -1
    assert (brighter != 0).mean() < 0.5  # elsewhere it is the photo's detail
