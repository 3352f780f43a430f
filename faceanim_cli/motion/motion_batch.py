"""Batches of motion: keypoints, or LivePortrait's head rotation and expression."""

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar, cast

import torch
from torch import Tensor

from faceanim_cli.pictures import Floats
from faceanim_models import HeadMotion, Keypoints

MotionBatch: TypeAlias = Keypoints | HeadMotion
"""Named tuples of tensors (B, ...), some of which may be None."""

M = TypeVar("M", bound=MotionBatch)


def frame_count(motion: MotionBatch) -> int:
    """B."""
    return len(motion[0])


def part_of(motion: M, part: slice | list[int]) -> M:
    """The motion of some frames of a batch."""
    return rebuilt(motion, [None if values is None else values[part] for values in motion])


def join_motion(batches: Sequence[M]) -> M:
    """Several batches as one."""
    return rebuilt(batches[0], [_joined(values) for values in zip(*batches, strict=True)])


def rebuilt(like: M, values: Sequence[Tensor | None]) -> M:
    """Motion of the same kind, made of its parts in their order."""
    return cast(M, cast(Any, type(like))(*values))


def all_finite(motion: MotionBatch) -> Tensor:
    """(B,): whether all numbers of a frame are finite."""
    known = [values for values in motion if values is not None]
    return torch.stack([torch.isfinite(values).flatten(1).all(1) for values in known]).all(0)


def as_arrays(motion: MotionBatch) -> dict[str, Floats]:
    """Its tensors by name, (B, ...), as far as they are known."""
    return {
        name: values.float().cpu().numpy() for name, values in motion._asdict().items() if values is not None
    }


def nearest_rotations(matrices: Tensor) -> Tensor:
    """The rotations that are closest to matrices (..., 3, 3), such as means of rotations."""
    u, _, vh = torch.linalg.svd(matrices.cpu().double())
    turned = torch.ones_like(u[..., 0])
    turned[..., 2] = torch.linalg.det(u @ vh).sign()
    nearest: Tensor = u * turned[..., None, :] @ vh
    return nearest.to(matrices)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None
