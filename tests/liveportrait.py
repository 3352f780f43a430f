"""LivePortrait's networks at tiny widths, and their five files as they are published."""

from collections import OrderedDict
from pathlib import Path

import torch

from faceanim_cli.weights.liveportrait_layout import RETARGETING
from faceanim_models import LivePortraitModel, LivePortraitSettings

TINY = LivePortraitSettings(
    num_keypoints=21,
    appearance_widths=(2, 3, 3),
    volume_channels=2,
    depth=3,
    volume_blocks=1,
    motion_depths=(1, 2),
    motion_widths=(2, 3),
    compressed=1,
    hourglass=(2, 4, 5),
    warped_channels=4,
    generator_widths=(6, 5, 4),
    generator_blocks=2,
    spade_hidden=3,
    stitching_widths=(4,),
    lip_widths=(5, 4),
    eye_widths=(4, 5, 6),
)
FILES = ("appearance", "motion", "warping", "generator", "stitching")


def tiny_liveportrait() -> LivePortraitModel:
    """Random weights, but for motion of a size that heads have."""
    torch.manual_seed(0)
    model = LivePortraitModel(TINY).eval()
    with torch.no_grad():
        for name, bias in (("fc_scale", 1.2), ("fc_t", 0.0)):
            model.motion.detector.get_submodule(name).bias.fill_(bias)
        for name, factor in (("fc_yaw", 3.0), ("fc_exp", 3.0), ("fc_scale", 0.1), ("fc_t", 0.1)):
            model.motion.detector.get_submodule(name).weight.mul_(factor)
    return model


def published(model: LivePortraitModel) -> dict[str, dict]:
    """What the five files hold, by network, spectral norms and all."""
    contents = {name: OrderedDict(model.get_submodule(name).state_dict()) for name in FILES[:4]}
    generator = contents["generator"]
    for key in [
        key for key in generator if key.split(".")[-2].startswith("conv_") and key.endswith("weight")
    ]:
        if key.startswith("conv_img"):
            continue
        weight = generator.pop(key)
        name = key.removesuffix(".weight")
        generator[f"{name}.weight_orig"] = 3 * weight
        # u . (M v) is 3 for these, whatever the weight is.
        matrix = (3 * weight).flatten(1)
        v = torch.linalg.pinv(matrix) @ torch.ones(len(matrix)) * 3 / len(matrix)
        generator[f"{name}.weight_u"], generator[f"{name}.weight_v"] = (
            matrix @ v / (matrix @ v).square().sum() * 3,
            v,
        )
    contents["stitching"] = {
        there: OrderedDict((f"module.{k}", v) for k, v in model.get_submodule(ours).state_dict().items())
        for ours, there in RETARGETING.items()
    } | {"optimizer_eye": {"state": {0: {"step": 1}}, "param_groups": []}}
    return contents


def save_published(model: LivePortraitModel, folder: Path) -> list[Path]:
    """The five files, by names that say nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, content in enumerate(published(model).values()):
        paths.append(folder / f"{number}.pth")
        torch.save(content, paths[-1])
    return paths
