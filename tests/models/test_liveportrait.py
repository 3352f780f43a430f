"""LivePortrait's networks against what the authors' code gives for small checkpoints of the same layout."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceanim_cli.weights.liveportrait import import_liveportrait
from faceanim_models.blocks import fold_batch_norms
from faceanim_models.liveportrait.motion_extractor import rotation_matrix
from faceanim_models.liveportrait.spade_generator import SPADE
from tests.liveportrait import tiny_liveportrait

REFERENCE = Path(__file__).parents[2].parent / "shared" / "liveportrait" / "reference"
DRIVES = ("relative_stitched_1", "absolute_2", "relative_3")  # keypoints in motion.npz, and the frame

needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference outputs are not here")


@pytest.fixture(scope="module")
def model():
    return import_liveportrait(sorted((REFERENCE / "liveportrait").glob("*/*.pth")))


@pytest.fixture(scope="module")
def expected():
    return dict(np.load(REFERENCE / "networks.npz"))


@pytest.fixture(scope="module")
def motions():
    return dict(np.load(REFERENCE / "motion.npz"))


@pytest.fixture(scope="module")
def pictures():
    names = ("source", *(f"driving_{i}" for i in range(4)))
    frames = [cv2.imread(str(REFERENCE / f"{name}.png"))[..., ::-1] for name in names]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255


def close(seen, wanted, most, mean=None):
    difference = np.abs(np.asarray(seen, np.float64) - wanted)
    assert difference.max() <= most
    if mean is not None:
        assert difference.mean() <= mean


def test_angles_turn_heads_the_right_way():
    """Row vectors: a head that yaws by 90 degrees shows, where x was, what was z; and so on."""
    zero, right = torch.tensor([0.0]), torch.tensor([90.0])
    x, y, z = torch.eye(3)
    for angles, what, where in (
        ((right, zero, zero), y, z), ((zero, right, zero), z, x), ((zero, zero, right), x, y)
    ):  # fmt: skip
        torch.testing.assert_close(rotation_matrix(*angles)[0].T @ what, where, rtol=0, atol=1e-6)


@pytest.mark.parametrize("enlarged", [1, 2, 4])
@torch.inference_mode()
def test_what_is_merged_for_speed_modulates_alike_up_to_the_border(enlarged):
    torch.manual_seed(enlarged)
    plain = SPADE(5, 4, 6, enlarged)
    merged = copy.deepcopy(plain)
    merged.merge()
    x, label = 3 * torch.randn(2, 5, 7 * enlarged, 6 * enlarged) + 1, torch.randn(2, 4, 7, 6)
    torch.testing.assert_close(merged(x, label), plain(x, label), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_folded_networks_paint_alike():
    model = tiny_liveportrait()
    for norm in (module for module in model.modules() if hasattr(module, "running_mean")):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    folded = fold_batch_norms(model)
    assert not any(isinstance(m, torch.nn.BatchNorm3d) for m in folded.warping.modules())
    photo = torch.rand(1, 3, 64, 64)
    images = []
    for network in (model, folded):
        code = network.encode_photo(photo)
        images.append(network(code, code.keypoints + 0.1)[0])
    torch.testing.assert_close(*images, rtol=0, atol=1e-5)


@needs_reference
@torch.inference_mode()
def test_motion(model, expected, pictures):
    raw = model.motion.detector(pictures)
    for head in ("pitch", "yaw", "roll"):
        close(raw[f"fc_{head}"], expected[f"raw_{head}"], 3e-4)  # logits of up to 100
    for head in ("t", "exp", "scale", "kp"):
        close(raw[f"fc_{head}"], expected[f"raw_{head}"], 1e-5)
    motion = model.motion(pictures)
    close(motion.rotation, expected["rotation"], 1e-5)
    close(motion.keypoints(), expected["keypoints"], 1e-4)


@needs_reference
@torch.inference_mode()
def test_appearance(model, expected, pictures):
    close(model.encode_photo(pictures[:1]).volume[0, :, :, ::2, 1::2], expected["volume"], 2e-5)


@needs_reference
@pytest.mark.parametrize("drive", DRIVES)
@torch.inference_mode()
def test_warp_and_picture(model, expected, motions, pictures, drive):
    name, frame = drive.rsplit("_", 1)
    keypoints = torch.from_numpy(motions[name][int(frame)][None])
    code = model.encode_photo(pictures[:1])
    features, motion = model.warping(code.volume, code.keypoints, keypoints)
    close(motion.deformation[0][:, 1::3, 2::3], expected[f"{drive}_deformation"], 1e-4)
    close(motion.occlusion[0, 0], expected[f"{drive}_occlusion"], 1e-4)
    close(motion.mask[0][:, :, 3::8, 5::8], expected[f"{drive}_mask"], 1e-4)
    seen, wanted = features[0].numpy(), expected[f"{drive}_warped"]
    rows = [range(start, seen.shape[1], 3) for start in (0, 1)]
    close(seen[:, rows[0]][:, :, rows[1]], wanted, 1e-3)
    image, _ = model(code, keypoints)
    close(image[0][:, 2::7, 3::7], expected[f"{drive}_image"], 2e-3, 1e-5)
    close(image[0][:, 200:232, 240:272], expected[f"{drive}_image_patch"], 2e-3, 1e-5)
    sums = np.stack([image[0].double().sum(axis)[:, ::8] for axis in (1, 2)])
    close(sums, expected[f"{drive}_image_sums"], 5e-2)  # of 512 pixels


@needs_reference
@torch.inference_mode()
def test_keypoints_are_mended(model, expected):
    source, driving = (torch.from_numpy(expected[f"stitching_{which}"]) for which in ("source", "driving"))
    close(model.stitched(source, driving), expected["stitching_result"], 1e-5)
    eyes, lips = torch.from_numpy(expected["eye_ratios"]), torch.from_numpy(expected["lip_ratios"])
    close(model.eye_change(source, eyes[:, :2], eyes[:, 2:]), expected["eye_delta"], 1e-5)
    close(model.lip_change(source, lips[:, :1], lips[:, 1:]), expected["lip_delta"], 1e-5)


@needs_reference
@torch.inference_mode()
def test_open_lips_are_closed_after_stitching(model, motions):
    source, driving = (torch.from_numpy(motions[name]) for name in ("keypoints_source", "relative"))
    opening = float(motions["lip_open_source"][0, 0])
    close(model.mended(source, driving), motions["relative_stitched"], 1e-4)
    close(model.mended(source, driving, lip_opening=opening), motions["relative_stitched_lip_closed"], 1e-4)
    alone = model.mended(source, driving, stitching=False, lip_opening=opening) - driving
    close(alone, model.lip_change(source, *torch.tensor([[[opening]], [[0.0]]])).numpy(), 1e-4)


@needs_reference
@torch.inference_mode()
def test_a_photo_encoded_once_serves_a_batch(model, motions, pictures):
    code = model.encode_photo(pictures[:1])
    keypoints = torch.from_numpy(motions["relative"][:2])
    batched, _ = model(code.expand(2), keypoints)
    one, _ = model(code, keypoints[1:])
    torch.testing.assert_close(batched[1:], one, rtol=0, atol=1e-4)
