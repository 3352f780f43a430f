"""Checkpoints of first-order-model (``vox-cpk.pth.tar``, ``vox-adv-cpk.pth.tar`` and the like).

Recognised by their keys, all sizes read off the tensors: no YAML is asked for. Read with ``weights_only``,
which builds tensors and nothing else; the optimizers and the discriminator are two thirds of a published
file, and are left.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.media.output_file import check_writable
from faceanim_cli.weights.checkpoint import load_checkpoint, load_tensors, save_checkpoint
from faceanim_cli.weights.records import assets_folder
from faceanim_cli.weights.torch_file import read_torch_file
from faceanim_models import FirstOrderModel, FirstOrderSettings

PARTS = ("generator", "kp_detector")
# Other projects' checkpoints that people try, by a key of theirs.
OTHERS = {
    "inpainting_network": "thin-plate-spline-motion-model",
    "he_estimator": "face-vid2vid",
}


def load_first_order(path: Path) -> FirstOrderModel:
    """The network of a checkpoint, through a converted copy that is made on first use.

    The copy is 240 MB to read instead of 750, and takes a third of the memory. Where its folder cannot be
    written the checkpoint itself is read every time.

    Raises:
        WeightsError: as :func:`import_first_order`.
    """
    copy = converted_path(path)
    if not copy.is_file():
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            check_writable(copy)
        except (OSError, UsageError):
            return import_first_order(path)
        convert_first_order(path, copy)
    return cast(FirstOrderModel, load_checkpoint(copy, "first-order"))


def converted_path(path: Path) -> Path:
    """Where a checkpoint's converted copy lies, or would: in ``$HF_HOME/assets/faceanim/weights/converted``.

    Its name is made of the checkpoint's path, size and time: a checkpoint that changes is converted anew.
    """
    found = path.resolve().stat()
    stamp = f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"
    return assets_folder("converted", f"{hashlib.sha256(stamp.encode()).hexdigest()[:32]}.safetensors")


def import_first_order(path: Path) -> FirstOrderModel:
    """The network of a first-order-model checkpoint, in float32, in evaluation mode.

    Raises:
        WeightsError: not such a checkpoint, named for what it is; or keys missing, unexpected or misshapen.
    """
    tensors = first_order_tensors(read_torch_file(path), path)
    # Built without memory, then given the file's own tensors: the weights are in memory once.
    settings = first_order_settings(tensors, path)
    with torch.device("meta"):
        try:
            network = FirstOrderModel(settings)
        except ValueError as error:
            raise WeightsError(
                f"{path}: not a first-order-model checkpoint that faceanim knows: {error}"
            ) from error
    network.to_empty(device="cpu")
    load_tensors(network, tensors, path)
    return network.float().eval()


def convert_first_order(path: Path, out: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write the generator and keypoint detector of a checkpoint as ours: slim, safe, quick to open.

    Kept in float32: in half precision the results would differ from the original's by more than rounding.

    Raises:
        WeightsError: as :func:`import_first_order`.
    """
    notes = {"converted": f"first-order-model checkpoint {path.name}", **(notes or {})}
    save_checkpoint(out, import_first_order(path), dtype=torch.float32, notes=notes)


def first_order_tensors(content: Any, path: Path) -> dict[str, Tensor]:
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
        holds = ", ".join(keys[:6] + ["..."] * (len(keys) > 6)) or f"a {type(content).__name__}"
        raise WeightsError(f"{path}: {what} (it holds {holds}); generator and kp_detector are needed")
    tensors = {}
    for part in PARTS:
        for key, value in content[part].items():
            if not isinstance(value, Tensor):
                raise WeightsError(f"{path}: {part}.{key} is a {type(value).__name__}, not a tensor")
            # DataParallel prefixes every key.
            tensors[f"{part}.{str(key).removeprefix('module.')}"] = value
    for key in [key for key in tensors if key.endswith("running_mean")]:
        # Not saved before torch 0.4.1, and never used: our networks are not trained on from it.
        tensors.setdefault(key.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    return tensors


def first_order_settings(tensors: Mapping[str, Tensor], path: Path) -> FirstOrderSettings:
    """Every size, read off the tensors of :func:`first_order_tensors`.

    Raises:
        WeightsError: tensors that are not of this architecture.
    """

    def outputs(prefix: str) -> tuple[int, ...]:
        """Channels that come out of each of the numbered blocks called ``prefix``."""
        pattern = re.compile(rf"{re.escape(prefix)}\.\d+\.conv\.weight")
        count = sum(pattern.fullmatch(key) is not None for key in tensors)
        return tuple(len(tensors[f"{prefix}.{index}.conv.weight"]) for index in range(count))

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
        return FirstOrderSettings(
            num_keypoints=len(tensors["kp_detector.kp.weight"]),
            jacobian_maps=0 if jacobians is None else len(jacobians) // 4,
            keypoint_widths=hourglass("kp_detector.predictor"),
            motion_widths=hourglass(f"{motion}.hourglass"),
            keypoint_shrink=shrink("kp_detector"),
            motion_shrink=shrink(motion),
            generator_widths=(len(tensors["generator.first.conv.weight"]), *outputs("generator.down_blocks")),
            residual_blocks=len(residuals),
            occlusion=f"{motion}.occlusion.weight" in tensors,
        )
    except (KeyError, IndexError, TypeError) as error:
        raise WeightsError(
            f"{path}: has a generator and a kp_detector, but not first-order-model's ({error} is missing)"
        ) from error
