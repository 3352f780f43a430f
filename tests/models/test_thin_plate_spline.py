"""Thin-Plate-Spline Motion Model against its authors' code, on a small checkpoint of the published layout."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceanim_cli.motion.transfer import FirstOrderTransfer
from faceanim_cli.weights.load import import_published
from faceanim_models import Keypoints
from faceanim_models.blocks import fold_batch_norms
from faceanim_models.geometry import identity_grid
from faceanim_models.thin_plate_spline import thin_plate_splines

REFERENCE = Path(__file__).parents[2].parent / "shared" / "tpsmm" / "reference"

needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference outputs are not here")


@pytest.fixture(scope="module")
def model():
    return import_published(REFERENCE / "vox.pth.tar")


@pytest.fixture(scope="module")
def expected():
    return dict(np.load(REFERENCE / "expected.npz"))


@pytest.fixture(scope="module")
def pictures():
    names = ("source", *(f"driving_{i}" for i in range(4)))
    frames = [cv2.imread(str(REFERENCE / f"{name}.png"))[..., ::-1] for name in names]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255


def close(seen, wanted, most, mean):
    difference = np.abs(np.asarray(seen, np.float64) - wanted)
    assert difference.max() <= most
    assert difference.mean() <= mean


def test_splines_pass_near_their_points_and_know_affine_motions():
    torch.manual_seed(0)
    driving = torch.rand(1, 2, 5, 2) * 2 - 1
    grid = driving[:, 0][:, None]  # the first spline's own points, (1, 1, 5, 2)
    source = driving + 0.1 * torch.randn(1, 2, 5, 2)
    exact = thin_plate_splines(source.double(), driving.double(), grid.double(), 1e-9)
    torch.testing.assert_close(exact[0, 0, 0], source[0, 0].double(), rtol=0, atol=1e-4)
    turn = torch.tensor([[0.9, -0.2], [0.1, 1.1]], dtype=torch.float64)
    affine = driving.double() @ turn.T + 0.3
    places = identity_grid(4, 6, driving).double()
    seen = thin_plate_splines(affine, driving.double(), places, 1e-9)
    torch.testing.assert_close(seen[0, 1], places[0] @ turn.T + 0.3, rtol=0, atol=1e-4)


@needs_reference
@torch.inference_mode()
def test_keypoints(model, expected, pictures):
    points = model.detect(pictures).points
    close(points[0], expected["keypoints_source"], 1e-4, 1e-5)
    close(points[1:], expected["keypoints_driving"], 1e-4, 1e-5)
    transfer = FirstOrderTransfer(Keypoints(points[:1]), Keypoints(points[1:2]))
    close(transfer.relative(Keypoints(points[1:])).points, expected["keypoints_relative"], 1e-4, 1e-5)


@needs_reference
@pytest.mark.parametrize("drive", ["standard_3", "relative_1", "background_1"])
@torch.inference_mode()
def test_motion_and_picture(model, expected, pictures, drive):
    name, frame = drive.split("_")
    recorded = expected["keypoints_relative" if name == "relative" else "keypoints_driving"][int(frame)]
    source, driving = torch.from_numpy(expected["keypoints_source"])[None], torch.from_numpy(recorded)[None]
    background = torch.from_numpy(expected["background_1"])[None] if name == "background" else None
    code = model.encode_photo(pictures[:1], Keypoints(source))
    motion = model.dense_motion_network(code.thumbnail, source, driving, background)
    close(motion.grid[0][::2, 1::2], expected[f"{drive}_deformation"], 1e-4, 1e-5)
    close(motion.mixture[0][:, ::3, 1::3], expected[f"{drive}_contributions"], 1e-4, 1e-5)
    for level, occlusion in enumerate(motion.occlusions):
        step = max(1, occlusion.shape[-1] // 32)
        seen = occlusion[0, 0][step // 2 :: step, ::step]
        close(seen, expected[f"{drive}_occlusion_{level}"], 1e-4, 1e-5)
    generated = model.inpainting_network(code.photo, code.features, motion)
    close(generated.warped[0][:, 1::4, 2::4], expected[f"{drive}_deformed"], 2e-3, 1e-5)
    close(generated.image[0][:, 1::4, 2::4], expected[f"{drive}_prediction"], 2e-3, 1e-5)
    close(generated.image[0][:, 100:132, 110:142], expected[f"{drive}_prediction_patch"], 2e-3, 1e-5)


@needs_reference
@torch.inference_mode()
def test_folded_for_inference_it_is_the_same(model, pictures):
    ready = fold_batch_norms(model)
    code, keypoints = model.encode_photo(pictures[:1]), model.detect(pictures[1:3])
    folded, _ = ready(ready.encode_photo(pictures[:1]).expand(2), keypoints)
    plain, _ = model(code.expand(2), keypoints)
    # Splines and instance norms amplify the rounding of the keypoints, which are found twice here.
    assert (folded.image - plain.image).abs().mean() < 1e-4
