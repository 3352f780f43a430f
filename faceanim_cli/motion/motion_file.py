"""Motion files: a driver's keypoint motion, a few hundred bytes a frame and nobody's face.

safetensors: ``points`` (N, K, 2), for first-order-model's weights ``jacobians`` (N, K, 2, 2), and metadata
with the frame rate, the landmarks that keypoints are anchored to, and the weights that found them.
"""

import json
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.media import whole_file
from faceanim_cli.motion.head_model import HEAD, Anchors
from faceanim_cli.motion.head_transfer import EYE_CORNERS
from faceanim_cli.pictures import Flags, Floats

MOTION_SUFFIX = ".motion"
FORMAT = "1"
LARGEST_FILE = 1 << 28  # bytes: five days at 25 frames per second is more, and somebody's mistake
FASTEST = 1000  # frames per second
MOST_KEYPOINTS = 1024


@dataclass(frozen=True)
class Motion:
    """The keypoints of a driver's frames.

    Attributes:
        points: (N, K, 2), x and y in [-1, 1] of the driver's crop, finite.
        fps: frames per second, exact.
        anchors: which landmarks (0-69) each keypoint is the mean of; empty for keypoints learned freely.
        jacobians: (N, K, 2, 2) of first-order-model's weights, or None.
        weights: SHA-256 of the weights that found the keypoints: free ones mean nothing to others.
        reference: the frame that stands for the photo's pose and expression, if that is known.
        starts: the first frame of each shot: shots are framed each by itself.
    """

    points: Floats
    fps: Fraction
    anchors: Anchors = ()
    jacobians: Floats | None = None
    weights: str = ""
    reference: int | None = None
    starts: tuple[int, ...] = (0,)

    def resampled(self, fps: Fraction) -> "Motion":
        """The same length at another rate, linear between frames."""
        if fps == self.fps:
            return self
        count = max(1, round(len(self.points) * fps / self.fps))
        at = np.minimum(np.arange(count) * float(self.fps / fps), len(self.points) - 1)
        before = np.floor(at).astype(int)
        after = np.minimum(before + 1, len(self.points) - 1)
        after = np.where(np.isin(after, self.starts), before, after)  # nothing lies between two shots
        share = at - before

        def between(values: Floats) -> Floats:
            part = share.reshape(-1, *[1] * (values.ndim - 1))
            return np.asarray(values[before] * (1 - part) + values[after] * part, np.float32)

        reference = None if self.reference is None else min(round(self.reference * fps / self.fps), count - 1)
        turns = None if self.jacobians is None else between(self.jacobians)
        starts = {int(np.searchsorted(at, start)) for start in self.starts}
        return replace(
            self,
            points=between(self.points),
            jacobians=turns,
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
        count = len(self.points) if duration is None else max(1, round(duration * self.fps))
        end = min(len(self.points), first + count)
        if first >= end:
            raise UsageError(f"{name}: a start of {start:g} s lies beyond its end")
        kept = self.reference is not None and first <= self.reference < end
        return replace(
            self,
            points=self.points[first:end],
            jacobians=None if self.jacobians is None else self.jacobians[first:end],
            reference=self.reference - first if kept and self.reference is not None else None,
            starts=(0, *(s - first for s in self.starts if first < s < end)),
        )

    def fitted(self, anchors: Anchors, weights: str, name: str) -> "Motion":
        """The same motion with the keypoints of weights, if it has them.

        Keypoints that the weights do not know are left out. Pupils that it lacks are put amidst the corners
        of their eyes: the gaze then stays as the photo's.

        Raises:
            UsageError: it lacks others, or keypoints without anchors were found by other weights.
        """
        if self.anchors == anchors and (anchors or self.weights == weights):
            return self
        columns = []
        for group in anchors:
            groups = (
                [(corner,) for corner in EYE_CORNERS.get(group[0], ())]
                if group not in self.anchors
                else [group]
            )
            columns.append([self.anchors.index(g) for g in groups if g in self.anchors])
        if self.jacobians is not None or not all(columns) or not anchors:
            raise UsageError(
                f"{name}: made with weights whose keypoints are others; give --weights the same ones, "
                "or make it anew with faceanim motion"
            )
        points = np.stack([self.points[:, column].mean(1) for column in columns], axis=1)
        return replace(self, points=points, anchors=anchors)


def write_motion(path: Path, motion: Motion) -> None:
    """Write a motion file, whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    arrays = {"points": np.ascontiguousarray(motion.points, np.float32)}
    if motion.jacobians is not None:
        arrays["jacobians"] = np.ascontiguousarray(motion.jacobians, np.float32)
    metadata = {
        "faceanim_motion": FORMAT,
        "fps": str(motion.fps),
        "anchors": json.dumps(motion.anchors),
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
            shape = tuple(file.get_slice("points").get_shape())
            points = _tensor(file, "points", (2,), shape[:2])
            has_turns = "jacobians" in file.keys()  # noqa: SIM118 (not a mapping)
            turns = _tensor(file, "jacobians", (2, 2), shape[:2]) if has_turns else None
        return _checked(points, turns, metadata)
    except OSError as error:
        raise UnreadableInputError(
            f"cannot read the motion {path}: {error.strerror or error}; check the path"
        ) from error
    except (SafetensorError, ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError) as error:
        raise UnreadableInputError(
            f"cannot read the motion {path}: {error}; make it with faceanim motion"
        ) from error


def _tensor(file: Any, name: str, tail: tuple[int, ...], frames: tuple[int, ...]) -> Floats:
    part = file.get_slice(name)
    shape = tuple(part.get_shape())
    if part.get_dtype() != "F32" or len(frames) != 2 or shape != (*frames, *tail):
        raise ValueError(f"{name} of type {part.get_dtype()} and shape {shape}")
    if frames[0] < 1 or not 1 <= frames[1] <= MOST_KEYPOINTS:
        raise ValueError(f"{frames[0]} frames of {frames[1]} keypoints")
    return np.asarray(file.get_tensor(name))


def _checked(points: Floats, jacobians: Floats | None, metadata: dict[str, str]) -> Motion:
    fps = Fraction(metadata["fps"])
    if not 0 < fps <= FASTEST:
        raise ValueError(f"{metadata['fps']} frames per second")
    groups = json.loads(metadata["anchors"])
    anchors = tuple(tuple(group) for group in groups)
    if anchors and len(anchors) != points.shape[1]:
        raise ValueError(f"{len(anchors)} anchors for {points.shape[1]} keypoints")
    for group in anchors:
        if not group or not all(type(i) is int and 0 <= i < len(HEAD) for i in group):
            raise ValueError(f"anchor {group}")
    reference = json.loads(metadata["reference"])
    if reference is not None and (type(reference) is not int or not 0 <= reference < len(points)):
        raise ValueError(f"reference frame {reference}")
    starts = json.loads(metadata.get("starts", "[0]"))  # files of earlier versions know one shot
    known = isinstance(starts, list) and all(type(start) is int and start < len(points) for start in starts)
    if not known or starts != sorted(set(starts)) or starts[:1] != [0]:
        raise ValueError("shots that are none")
    finite: Flags = np.asarray(np.isfinite(points).all((1, 2)))
    if jacobians is not None:
        finite = finite & np.isfinite(jacobians).all((1, 2, 3))
    held = _last_finite(finite)
    turns = None if jacobians is None else jacobians[held]
    return Motion(points[held], fps, anchors, turns, metadata["weights"], reference, tuple(starts))


def _last_finite(finite: Flags) -> npt.NDArray[np.intp]:
    """For each frame the last finite one up to it, or the first that there is."""
    if not finite.any():
        raise ValueError("no frame has keypoints")
    held = np.maximum.accumulate(np.where(finite, np.arange(len(finite)), -1))
    return np.where(held < 0, np.argmax(finite), held)
