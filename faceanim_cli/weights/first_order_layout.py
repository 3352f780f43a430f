"""The key layout of first-order-model checkpoints; all sizes are read off tensor shapes.

Works on tensors and on bare shapes alike, and needs no torch: no YAML is asked for, no network built.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from faceanim_cli.errors import WeightsError

PARTS = ("generator", "kp_detector")
# Other projects' checkpoints that people try, by a key of theirs.
OTHERS = {
    "inpainting_network": "thin-plate-spline-motion-model, of which networks are missing",
    "he_estimator": "face-vid2vid",
}


def first_order_parts(content: Any, path: Path) -> dict[str, Any]:
    """Tensors of the generator and the keypoint detector, keys prefixed by the part's name.

    Args:
        content: what ``read_torch_file`` or ``read_torch_shapes`` gave.
        path: the file it came from, for messages.

    Raises:
        WeightsError: not a first-order-model checkpoint, named for what it is.
    """
    keys = [str(key) for key in content] if isinstance(content, dict) else []
    if not all(isinstance(content, dict) and isinstance(content.get(part), dict) for part in PARTS):
        other = next((name for key, name in OTHERS.items() if key in keys), None)
        what = f"a checkpoint of {other}" if other else "a torch file, but not a first-order-model checkpoint"
        held = "Tensor" if hasattr(content, "shape") else type(content).__name__
        holds = ", ".join(keys[:6] + ["..."] * (len(keys) > 6)) or f"a {held}"
        raise WeightsError(f"{path}: {what} (it holds {holds}); generator and kp_detector are needed")
    return tensors_of_parts(content, PARTS, path)


def tensors_of_parts(content: Mapping[str, Any], parts: Iterable[str], path: Path) -> dict[str, Any]:
    """Tensors of some of a checkpoint's state dicts, keys prefixed by the part's name.

    Raises:
        WeightsError: something in them is no tensor.
    """
    tensors = {}
    for part in parts:
        for key, value in content[part].items():
            if not hasattr(value, "shape"):
                raise WeightsError(f"{path}: {part}.{key} is a {type(value).__name__}, not a tensor")
            # DataParallel prefixes every key.
            tensors[f"{part}.{str(key).removeprefix('module.')}"] = value
    return tensors


def first_order_sizes(tensors: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Fields of ``FirstOrderSettings``, read off what :func:`first_order_parts` gave.

    Raises:
        WeightsError: tensors that are not of this architecture.
    """

    def outputs(prefix: str) -> tuple[int, ...]:
        """Channels that come out of each of the numbered blocks called ``prefix``."""
        pattern = re.compile(rf"{re.escape(prefix)}\.\d+\.conv\.weight")
        count = sum(pattern.fullmatch(key) is not None for key in tensors)
        return tuple(tensors[f"{prefix}.{index}.conv.weight"].shape[0] for index in range(count))

    def hourglass(prefix: str) -> tuple[int, ...]:
        ups, downs = outputs(f"{prefix}.decoder.up_blocks"), outputs(f"{prefix}.encoder.down_blocks")
        if not ups or len(ups) != len(downs):
            raise KeyError(prefix)
        return ups[-1:] + downs

    def shrink(prefix: str) -> int:
        blur = tensors.get(f"{prefix}.down.weight")
        return 1 if blur is None else (blur.shape[-1] + 3) // 4  # a blur of four sigmas to either side

    motion = "generator.dense_motion_network"
    try:
        jacobians = tensors.get("kp_detector.jacobian.weight")
        residuals = {key.split(".")[2] for key in tensors if key.startswith("generator.bottleneck.")}
        first, points = tensors["generator.first.conv.weight"], tensors["kp_detector.kp.weight"]
        return {
            "num_keypoints": points.shape[0],
            "jacobian_maps": 0 if jacobians is None else jacobians.shape[0] // 4,
            "keypoint_widths": hourglass("kp_detector.predictor"),
            "motion_widths": hourglass(f"{motion}.hourglass"),
            "keypoint_shrink": shrink("kp_detector"),
            "motion_shrink": shrink(motion),
            "generator_widths": (first.shape[0], *outputs("generator.down_blocks")),
            "residual_blocks": len(residuals),
            "occlusion": f"{motion}.occlusion.weight" in tensors,
        }
    except (KeyError, IndexError, TypeError) as error:
        raise WeightsError(
            f"{path}: has a generator and a kp_detector, but not first-order-model's ({error} is missing)"
        ) from error
