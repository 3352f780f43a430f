"""Motion files: a driver's keypoints, a few hundred bytes a frame.

safetensors: the arrays of ``LAYOUTS``, and metadata with the frame rate, the networks and the weights that
found the motion, and the landmarks that keypoints are anchored to.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.files import parse_json
from faceanim_cli.media import whole_file
from faceanim_cli.motion.head_model import HEAD, Anchors
from faceanim_cli.motion.head_transfer import EYE_CORNERS
from faceanim_cli.pictures import Flags, Floats

MOTION_SUFFIX = ".motion"
FORMAT = "1"
LARGEST_FILE = 1 << 28  # bytes: five days at 25 frames per second is more, and somebody's mistake
FASTEST = 1000  # frames per second
MOST_KEYPOINTS = 1024
K, F = -1, -2  # keypoints and free ones beside them, as many as there are
# Each array's name and its shape behind the frames: of keypoints, with jacobians where the networks are
# first-order-model's and free ones where they have them; and of LivePortrait's, which know no shape of a
# driver's head.
LAYOUTS: tuple[Mapping[str, tuple[int, ...]], ...] = (
    {"points": (K, 2), "jacobians": (K, 2, 2), "free": (F, 2)},
    {"rotation": (3, 3), "expression": (K, 3), "scale": (1,), "translation": (3,)},
)
OPTIONAL = frozenset({"jacobians", "free"})


@dataclass(frozen=True)
class Motion:
    """The motion in a driver's frames.

    Attributes:
        arrays: (N, ...) each, finite, as one of ``LAYOUTS``; points are x and y in [-1, 1] of the driver's
            crop.
        fps: frames per second, exact.
        anchors: which landmarks (0-69) each keypoint is the mean of; empty for keypoints learned freely.
        weights: SHA-256 of the weights that found the motion: free keypoints mean nothing to others.
        reference: the frame that stands for the photo's pose and expression, if that is known.
        starts: the first frame of each shot: shots are framed each by itself.
        network: what kind of networks found it, as checkpoints call them; empty in files of old.
    """

    arrays: Mapping[str, Floats]
    fps: Fraction
    anchors: Anchors = ()
    weights: str = ""
    reference: int | None = None
    starts: tuple[int, ...] = (0,)
    network: str = ""

    def __len__(self) -> int:
        """N."""
        return len(next(iter(self.arrays.values())))

    def resampled(self, fps: Fraction) -> "Motion":
        """The same length at another rate, linear between frames."""
        if fps == self.fps:
            return self
        count = max(1, round(len(self) * fps / self.fps))
        at = np.minimum(np.arange(count) * float(self.fps / fps), len(self) - 1)
        before = np.floor(at).astype(int)
        after = np.minimum(before + 1, len(self) - 1)
        after = np.where(np.isin(after, self.starts), before, after)  # nothing lies between two shots
        share = at - before

        def between(values: Floats) -> Floats:
            part = share.reshape(-1, *[1] * (values.ndim - 1))
            return np.asarray(values[before] * (1 - part) + values[after] * part, np.float32)

        reference = None if self.reference is None else min(round(self.reference * fps / self.fps), count - 1)
        starts = {int(np.searchsorted(at, start)) for start in self.starts}
        return replace(
            self,
            arrays=_with_rotations(self._mapped(between)),
            fps=fps,
            reference=reference,
            starts=tuple(sorted(start for start in starts if start < count)),
        )

    def excerpt(self, start: float, duration: float | None, name: str) -> "Motion":
        """The frames from ``start`` seconds on, for ``duration`` seconds or to the end.

        Raises:
            UsageError: there are none.
        """
        first = round(start * self.fps)
        count = len(self) if duration is None else max(1, round(duration * self.fps))
        end = min(len(self), first + count)
        if first >= end:
            raise UsageError(f"{name}: a start of {start:g} s lies beyond its end")
        kept = self.reference is not None and first <= self.reference < end
        return replace(
            self,
            arrays=self._mapped(lambda values: values[first:end]),
            reference=self.reference - first if kept and self.reference is not None else None,
            starts=(0, *(s - first for s in self.starts if first < s < end)),
        )

    def fitted(self, network: str, anchors: Anchors, weights: str, name: str) -> "Motion":
        """The same motion for other weights, if they can take it.

        Keypoints that the weights do not know are left out, and free ones that other weights found. Pupils
        that it lacks are put amidst the corners of their eyes: the gaze then stays as the photo's.
        LivePortrait's motion is that of its networks.

        Raises:
            UsageError: it is of other networks, lacks keypoints, or keypoints without anchors were found by
                other weights.
        """
        advice = "give --weights the same ones, or make it anew with faceanim motion"
        if ("points" in self.arrays) == (network == "liveportrait"):
            theirs = self.network or "other"
            raise UsageError(f"{name}: motion of {theirs} networks, while these are {network} ones; {advice}")
        if self.weights != weights and "free" in self.arrays:
            kept = {name: values for name, values in self.arrays.items() if name != "free"}
            return replace(self, arrays=kept).fitted(network, anchors, weights, name)
        if "points" not in self.arrays or (self.anchors == anchors and (anchors or self.weights == weights)):
            return self
        columns = []
        for group in anchors:
            groups = (
                [(corner,) for corner in EYE_CORNERS.get(group[0], ())]
                if group not in self.anchors
                else [group]
            )
            columns.append([self.anchors.index(g) for g in groups if g in self.anchors])
        if "jacobians" in self.arrays or not all(columns) or not anchors:
            raise UsageError(f"{name}: made with weights whose keypoints are others; {advice}")
        found = self.arrays["points"]
        points = np.stack([found[:, column].mean(1) for column in columns], axis=1)
        return replace(self, arrays={"points": points}, anchors=anchors)

    def _mapped(self, change: Callable[[Floats], Floats]) -> dict[str, Floats]:
        return {name: change(values) for name, values in self.arrays.items()}


def write_motion(path: Path, motion: Motion) -> None:
    """Write a motion file, whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    names = {name for layout in LAYOUTS for name in layout}
    arrays = {
        name: np.ascontiguousarray(values, np.float32)
        for name, values in motion.arrays.items()
        if name in names
    }
    metadata = {
        "faceanim_motion": FORMAT,
        "fps": str(motion.fps),
        "anchors": json.dumps(motion.anchors),
        "network": motion.network,
        "weights": motion.weights,
        "reference": json.dumps(motion.reference),
        "starts": json.dumps(motion.starts),
    }
    with whole_file(path) as partial:
        save_file(arrays, partial, metadata)


def read_motion(path: Path) -> Motion:
    """Read a motion file; nothing in it is executed, and sizes are checked before memory is taken.

    Raises:
        UnreadableInputError: missing, damaged, or not one of ours.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"larger than {LARGEST_FILE >> 20} MiB")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("faceanim_motion") != FORMAT:
                raise ValueError("not written by faceanim motion")
            return _checked(_arrays(file), metadata)
    except OSError as error:
        raise UnreadableInputError(
            f"cannot read the motion {path}: {error.strerror or error}; check the path"
        ) from error
    except (SafetensorError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise UnreadableInputError(
            f"cannot read the motion {path}: {error}; make it with faceanim motion"
        ) from error


def _arrays(file: Any) -> dict[str, Floats]:
    """The arrays of one layout, of shapes that go together."""
    there = set(file.keys())
    layout = LAYOUTS["rotation" in there]
    parts = {name: file.get_slice(name) for name in layout if name in there or name not in OPTIONAL}
    shapes = {name: tuple(part.get_shape()) for name, part in parts.items()}
    keyed = shapes["points" if "points" in layout else "expression"]
    if len(keyed) != 3 or keyed[0] < 1 or not 1 <= keyed[1] <= MOST_KEYPOINTS:
        raise ValueError(f"keypoints of shape {keyed}")
    free = shapes["free"][1:2] if "free" in shapes else ()
    if free and not 1 <= free[0] <= MOST_KEYPOINTS:
        raise ValueError(f"free keypoints of shape {shapes['free']}")
    counts = {K: keyed[1], F: free[0] if free else 0}
    for name, part in parts.items():
        wanted = (keyed[0], *(counts.get(size, size) for size in layout[name]))
        if part.get_dtype() != "F32" or shapes[name] != wanted:
            raise ValueError(f"{name} of type {part.get_dtype()} and shape {shapes[name]}")
    return {name: np.asarray(file.get_tensor(name)) for name in parts}


def _checked(arrays: dict[str, Floats], metadata: dict[str, str]) -> Motion:
    fps = Fraction(metadata["fps"])
    if not 0 < fps <= FASTEST:
        raise ValueError(f"{metadata['fps']} frames per second")
    frames = len(next(iter(arrays.values())))
    groups = parse_json(metadata["anchors"])
    anchors = tuple(tuple(group) for group in groups)
    if anchors and ("points" not in arrays or len(anchors) != arrays["points"].shape[1]):
        raise ValueError(f"{len(anchors)} anchors for other keypoints")
    for group in anchors:
        if not group or not all(type(i) is int and 0 <= i < len(HEAD) for i in group):
            raise ValueError(f"anchor {group}")
    reference = parse_json(metadata["reference"])
    if reference is not None and (type(reference) is not int or not 0 <= reference < frames):
        raise ValueError(f"reference frame {reference}")
    starts = parse_json(metadata.get("starts", "[0]"))  # files of earlier versions know one shot
    known = isinstance(starts, list) and all(type(start) is int and start < frames for start in starts)
    if not known or starts != sorted(set(starts)) or starts[:1] != [0]:
        raise ValueError("shots that are none")
    good = [np.isfinite(values).reshape(frames, -1).all(1) for values in arrays.values()]
    if "scale" in arrays:
        good.append(arrays["scale"][:, 0] > 0)
    held = _last_good(np.logical_and.reduce(good))
    kept = _with_rotations({name: values[held] for name, values in arrays.items()})
    network = metadata.get("network", "")
    return Motion(kept, fps, anchors, metadata["weights"], reference, tuple(starts), network)


def _with_rotations(arrays: dict[str, Floats]) -> dict[str, Floats]:
    """The same; where there are rotations, with the nearest that are rotations indeed."""
    if "rotation" in arrays:
        u, _, vt = np.linalg.svd(arrays["rotation"].astype(np.float64))
        u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
        arrays["rotation"] = (u @ vt).astype(np.float32)
    return arrays


def _last_good(good: Flags) -> npt.NDArray[np.intp]:
    """For each frame the last good one up to it, or the first that there is."""
    if not good.any():
        raise ValueError("no frame has keypoints")
    held = np.maximum.accumulate(np.where(good, np.arange(len(good)), -1))
    return np.where(held < 0, np.argmax(good), held)
