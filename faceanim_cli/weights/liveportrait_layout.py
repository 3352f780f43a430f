"""The key layout of LivePortrait's five files; all sizes are read off tensor shapes.

Works on tensors and on bare shapes alike, and needs no torch. The five are told apart by what they hold,
never by their names; the safetensors mirror of them is read too.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.file_kind import file_kind, safetensors_header
from faceanim_cli.weights.pickle_shapes import TensorShape
from faceanim_cli.weights.torch_file import read_torch_shapes

# The networks of ``LivePortraitModel``, and a key that only this one's file has.
NETWORK_KEYS: Mapping[str, str] = {
    "appearance": "resblocks_3d.3dr0.conv1.weight",
    "motion": "detector.fc_kp.weight",
    "warping": "dense_motion_network.mask.weight",
    "generator": "conv_img.0.weight",
}
PUBLISHED_NAMES: Mapping[str, str] = {
    "appearance": "appearance_feature_extractor",
    "motion": "motion_extractor",
    "warping": "warping_module",
    "generator": "spade_generator",
    "stitching": "stitching_retargeting_module",
}
# The fifth file's three small networks. All else in it, the optimizers, is left.
RETARGETING: Mapping[str, str] = {
    "stitching": "retarget_shoulder",
    "lips": "retarget_mouth",
    "eyes": "retarget_eye",
}
SPECTRAL = (".weight_orig", ".weight_u", ".weight_v")
SUFFIXES = frozenset({".pth", ".safetensors"})
MOST_FILES = 100  # of a folder that are looked into


def liveportrait_files(folder: Path) -> dict[str, Path]:
    """The files of LivePortrait's in a folder and its folders, by the part that each is; others are left.

    Raises:
        WeightsError: a part is there twice, or there are far more files of weights than such a folder has.
    """
    found: dict[str, Path] = {}
    paths = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    if len(paths) > MOST_FILES:
        raise WeightsError(f"{folder}: {len(paths)} files of weights; name the folder of LivePortrait's five")
    for path in paths:
        try:
            part = liveportrait_part(read_shapes(path))
        except WeightsError:  # some other file, or one that is found missing below
            continue
        if part in found:
            raise WeightsError(f"{path}: LivePortrait's {PUBLISHED_NAMES[part]}, as {found[part]} is")
        if part is not None:
            found[part] = path
    return found


def complete_files(folder: Path) -> dict[str, Path]:
    """As :func:`liveportrait_files`, all five.

    Raises:
        WeightsError: as there; or one is missing, named.
    """
    found = liveportrait_files(folder)
    if not found:
        raise WeightsError(f"{folder}: a folder; give the weights file inside it")
    check_complete(found, folder)
    return found


def check_complete(found: Iterable[str], folder: Path) -> None:
    """Raise WeightsError unless all parts are there."""
    missing = [name for part, name in PUBLISHED_NAMES.items() if part not in found]
    if missing:
        raise WeightsError(
            f"{folder}: LivePortrait's weights are five files; missing: {', '.join(missing)} "
            "(.pth or .safetensors)"
        )


def read_shapes(path: Path) -> Any:
    """A file's content with what tells a tensor's shape in the place of each.

    Raises:
        WeightsError: neither a torch file nor safetensors, or not all of it.
    """
    if file_kind(path) != "safetensors":
        return read_torch_shapes(path)
    header = safetensors_header(path)
    return {key: TensorShape(tuple(e["shape"])) for key, e in header.items() if key != "__metadata__"}


def incomplete_files_error(part: str, path: Path) -> WeightsError:
    """What to say of one file alone."""
    return WeightsError(
        f"{path}: LivePortrait's {PUBLISHED_NAMES[part]}, one of five files; give --weights the folder with "
        "all of them, or run faceanim weights add FOLDER"
    )


def liveportrait_part(content: Any) -> str | None:
    """Which of the five files this is (a key of ``PUBLISHED_NAMES``); None if it is none of them."""
    if not isinstance(content, Mapping):
        return None
    for part, key in NETWORK_KEYS.items():
        if key in content:
            return part
    names = tuple(RETARGETING.values())
    return "stitching" if any(str(key).startswith(names) for key in content) else None


def liveportrait_tensors(part: str, content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A file's tensors, with the keys that ``LivePortraitModel`` has for them; spectral norms are not folded.

    Raises:
        WeightsError: something in it is no tensor, or one of the fifth file's networks is missing.
    """
    if part != "stitching":
        found = {f"{part}.{key}": value for key, value in content.items()}
    else:
        found = {}
        for name, published in RETARGETING.items():
            network = content.get(published)
            if network is None:  # the safetensors mirror has one flat list
                prefix = f"{published}_module."
                network = {
                    key.removeprefix(prefix): content[key] for key in content if key.startswith(prefix)
                }
            if not network:
                raise WeightsError(
                    f"{path}: lacks {published}; LivePortrait's file for people has it, the one for animals "
                    "is another"
                )
            found |= {f"{name}.{str(key).removeprefix('module.')}": value for key, value in network.items()}
    for key, value in found.items():
        if not hasattr(value, "shape"):
            raise WeightsError(f"{path}: {key} is a {type(value).__name__}, not a tensor")
    return found


def liveportrait_sizes(tensors: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Fields of ``LivePortraitSettings``, read off all five files' tensors.

    Raises:
        WeightsError: tensors that are not of this architecture, or not of one set: two revisions mixed.
    """

    def count(pattern: str) -> int:
        return len({match[1] for key in tensors if (match := re.match(pattern, key))})

    def outputs(prefix: str, number: int, suffix: str = "conv.weight") -> tuple[int, ...]:
        return tuple(int(tensors[f"{prefix}.{i}.{suffix}"].shape[0]) for i in range(number))

    def conv(name: str) -> Any:
        return tensors.get(f"{name}.weight_orig", tensors.get(f"{name}.weight")).shape

    def hidden(name: str) -> tuple[int, ...]:
        layers = count(rf"{name}\.mlp\.(\d+)\.weight")
        return tuple(int(tensors[f"{name}.mlp.{2 * i}.weight"].shape[0]) for i in range(layers - 1))

    try:
        motion, hourglass = "motion.detector", "warping.dense_motion_network.hourglass"
        downs = count(r"appearance\.down_blocks\.(\d+)\.")
        channels = int(tensors["appearance.resblocks_3d.3dr0.conv1.weight"].shape[0])
        stages = count(rf"{re.escape(motion)}\.stages\.(\d+)\.")
        levels = count(rf"{re.escape(hourglass)}\.encoder\.down_blocks\.(\d+)\.")
        sizes: dict[str, Any] = {
            "num_keypoints": int(tensors[f"{motion}.fc_kp.weight"].shape[0]) // 3,
            "appearance_widths": (
                int(tensors["appearance.first.conv.weight"].shape[0]),
                *outputs("appearance.down_blocks", downs),
            ),
            "volume_channels": channels,
            "depth": int(tensors["appearance.second.weight"].shape[0]) // channels,
            "volume_blocks": count(r"appearance\.resblocks_3d\.3dr(\d+)\."),
            "motion_depths": tuple(
                count(rf"{re.escape(motion)}\.stages\.{stage}\.(\d+)\.") for stage in range(stages)
            ),
            "motion_widths": tuple(
                int(tensors[f"{motion}.stages.{stage}.0.dwconv.weight"].shape[0]) for stage in range(stages)
            ),
            "compressed": int(tensors["warping.dense_motion_network.compress.weight"].shape[0]),
            "hourglass": (
                outputs(f"{hourglass}.decoder.up_blocks", levels)[-1],
                *outputs(f"{hourglass}.encoder.down_blocks", levels),
            ),
            "warped_channels": int(tensors["warping.fourth.weight"].shape[0]),
            "generator_widths": (
                int(tensors["generator.fc.weight"].shape[0]),
                int(conv("generator.up_0.conv_1")[0]),
                int(conv("generator.up_1.conv_1")[0]),
            ),
            "generator_blocks": count(r"generator\.G_middle_(\d+)\."),
            "spade_hidden": int(tensors["generator.up_0.norm_0.mlp_shared.0.weight"].shape[0]),
            "stitching_widths": hidden("stitching"),
            "lip_widths": hidden("lips"),
            "eye_widths": hidden("eyes"),
        }
    except (KeyError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise WeightsError(f"{path}: not LivePortrait's networks as faceanim knows them ({error})") from error
    joints = {  # where one file's sizes must be another's
        "keypoints": {
            sizes["num_keypoints"],
            int(tensors["warping.dense_motion_network.mask.weight"].shape[0]) - 1,
            int(tensors["lips.mlp.0.weight"].shape[1] - 2) // 3,
        },
        "volume channels": {channels, int(tensors["warping.dense_motion_network.compress.weight"].shape[1])},
        "warped channels": {sizes["warped_channels"], int(tensors["generator.fc.weight"].shape[1])},
    }
    for what, found in joints.items():
        if len(found) > 1:
            raise WeightsError(
                f"{path}: its files do not belong together: {' and '.join(map(str, sorted(found)))} {what}; "
                "take all five from one revision"
            )
    return sizes
