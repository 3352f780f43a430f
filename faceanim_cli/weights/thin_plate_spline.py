"""The key layout of Thin-Plate-Spline Motion Model checkpoints (``vox.pth.tar``).

Recognised by their keys, every size read off shapes. The background predictor and the shape network, which
its animations can do without, are left.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.first_order_layout import tensors_of_parts

PARTS = ("kp_detector", "dense_motion_network", "inpainting_network")


def is_thin_plate_spline(content: Any) -> bool:
    """Whether ``read_torch_file`` or ``read_torch_shapes`` gave such a checkpoint's content."""
    return isinstance(content, dict) and all(isinstance(content.get(part), dict) for part in PARTS)


def thin_plate_spline_parts(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Tensors of the three networks that animate, keys prefixed by the network's name.

    Raises:
        WeightsError: something in them is no tensor.
    """
    return tensors_of_parts(content, PARTS, path)


def thin_plate_spline_sizes(tensors: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Fields of ``ThinPlateSplineSettings``, read off what :func:`thin_plate_spline_parts` gave.

    Raises:
        WeightsError: tensors that are not of this architecture.
    """

    def outputs(pattern: str) -> tuple[int, ...]:
        """Channels that come out of each of the numbered convolutions that ``pattern`` names."""
        found = {int(match[1]): key for key in tensors if (match := re.fullmatch(pattern, key))}
        return tuple(int(tensors[found[number]].shape[0]) for number in sorted(found))

    motion, painting = r"dense_motion_network", r"inpainting_network"
    try:
        splines = int(tensors["dense_motion_network.maps.weight"].shape[0]) - 1
        numbers = int(tensors["kp_detector.fg_encoder.fc.weight"].shape[0])
        ups = outputs(rf"{motion}\.hourglass\.decoder\.up_blocks\.(\d+)\.conv\.weight")
        sizes: dict[str, Any] = {
            "splines": splines,
            "points": numbers // (2 * splines),
            "encoder_widths": outputs(r"kp_detector\.fg_encoder\.layer(\d+)\.0\.conv1\.weight"),
            "motion_widths": ups[-1:]
            + outputs(rf"{motion}\.hourglass\.encoder\.down_blocks\.(\d+)\.conv\.weight"),
            "occlusion_widths": outputs(rf"{motion}\.up\.(\d+)\.conv\.weight"),
            "generator_widths": (
                int(tensors["inpainting_network.first.conv.weight"].shape[0]),
                *outputs(rf"{painting}\.down_blocks\.(\d+)\.conv\.weight"),
            ),
        }
    except (KeyError, IndexError, TypeError, ZeroDivisionError) as error:
        raise WeightsError(
            f"{path}: looks like Thin-Plate-Spline Motion Model, but its networks are not ({error})"
        ) from error
    if len(sizes["occlusion_widths"]) != 2 or len(sizes["generator_widths"]) != 4:
        raise WeightsError(f"{path}: a Thin-Plate-Spline Motion Model of another shape than faceanim knows")
    return sizes
