"""What a result shows: the animated crop, or the whole photo with it, and beside it what it is made of."""

import copy
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import tee
from typing import cast

import numpy as np
import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.driver_crop import Crop
from faceanim_cli.animation.networks import part_of
from faceanim_cli.animation.pictures import cut, scaled
from faceanim_cli.animation.rendering import Rendering
from faceanim_cli.errors import UsageError
from faceanim_cli.faces import (
    FRAME_SCALE,
    Box,
    FaceDetector,
    Patch,
    choose_face,
    crop_image,
    edge_distance,
    find_faces,
    frame_crop,
    motion_reach,
    square_crop,
)
from faceanim_cli.pictures import Image
from faceanim_models import Keypoints

logger = logging.getLogger(__name__)

# Longest side of a whole photo as a video, unless --size says otherwise: what decoders in phones and
# televisions bear. Beside the photo and the driver, there is room for half.
LONGEST_SIDE, LONGEST_SIDE_OF_THREE = 2560, 1280
SMALLEST_SHARE, LARGEST_SHARE = 0.15, 0.9  # of a crop's width that a face may sensibly take


class Scene:
    """A photo with the faces in it that are animated, set up once for a clip.

    Args:
        animator: its photo is set. For more faces than one its networks are shared by copies of it.
        photo: uint8 RGB (H, W, 3).
        crop: of the face, as ``Animator.set_photo``.
        rendering: which faces, and what is shown.
        name: what messages call the photo.

    Raises:
        NoFaceError: no face in the photo, and no crop.
        UsageError: there is no face of that number, or a crop, a number and all faces are asked for at once.
    """

    def __init__(
        self, animator: Animator, photo: Image, crop: Crop, rendering: Rendering, name: str = "photo"
    ) -> None:
        if crop != "auto" and (rendering.all_faces or rendering.face is not None):
            raise UsageError("a crop says already which face to animate: leave out the number or all faces")
        if crop is None and rendering.whole_photo:
            raise UsageError("a photo that is taken whole has nothing to be pasted back into")
        self._rendering, self._photo = rendering, photo
        if rendering.whole_photo:
            self._photo, scale = _fitted(photo, rendering, name)
            if isinstance(crop, tuple):
                crop = (crop[0] * scale, crop[1] * scale, crop[2] * scale, crop[3] * scale)
        self._patches: list[Patch] = []
        self._driver_size, self._driver_crop = (0, 0), cast(Box | None, None)
        if crop == "auto":
            faces = find_faces(self._photo, name)
            chosen = faces if rendering.all_faces else [choose_face(faces, rendering.face, name)]
            self._animators = [animator, *(copy.copy(animator) for _ in chosen[1:])]
            for each, face in zip(self._animators, chosen, strict=True):
                others = [other for other in faces if other is not face]
                self._set_photo(each, frame_crop(face, self._photo_size), face, others, name)
        else:
            self._animators = [animator]
            place = None if crop is None else square_crop(Box(*crop), self._photo_size)
            if place is not None:
                warn_of_share(self._photo, place, name, "--crop", FaceDetector())
            self._set_photo(animator, place, None, [], name)
        self._references: list[Keypoints | None] = [None for _ in self._animators]

    def frame_driver(self, size: tuple[int, int], crop: Box | None) -> None:
        """Say how large the driver's frames are, (width, height), and which part of them the networks see."""
        self._driver_size, self._driver_crop = size, crop

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of what ``compose`` gives; known after ``frame_driver``."""
        width, height = self._result_size
        return (2 * width + self._driver_width if self._rendering.side_by_side else width), height

    def detect(self, frames: Iterable[Image], faces: Iterable[Box] | None) -> Iterator[Keypoints]:
        """Keypoints of driving frames, in batches; arguments as ``Animator.detect``."""
        return self._animators[0].detect(frames, crop=self._driver_crop, faces=faces)

    def count_from(self, candidates: Iterable[Keypoints]) -> int | None:
        """Let each face's motion count from the candidate that is closest to it in pose and expression.

        Returns:
            The place of the first face's among the candidates; None if none has keypoints: then motion counts
            from the driver's first frame.
        """
        batches = list(candidates)
        if not batches:
            return None
        turns = [batch.jacobians for batch in batches if batch.jacobians is not None]
        together = Keypoints(torch.cat([b.points for b in batches]), torch.cat(turns) if turns else None)
        chosen = [animator.closest_frame(together) for animator in self._animators]
        self._references = [None if i is None else part_of(together, slice(i, i + 1)) for i in chosen]
        return chosen[0]

    def follow(self, motion: Iterable[Keypoints]) -> Iterator[tuple[Image, ...]]:
        """For each frame of known keypoints, in batches, the animated crop of each face."""
        copies = tee(motion, len(self._animators))
        streams = [
            animator.follow(each, reference)
            for animator, each, reference in zip(self._animators, copies, self._references, strict=True)
        ]
        return zip(*streams, strict=True)

    def animate(self, frames: Iterable[Image], faces: Iterable[Box] | None) -> Iterator[tuple[Image, ...]]:
        """For each driving frame, the animated crop of each face; arguments as ``Animator.animate``."""
        return self.follow(self.detect(frames, faces))

    def compose(self, results: Sequence[Image], driving: Image) -> Image:
        """One frame of the result, uint8 RGB, ``size``, from the animated crops and the driving frame."""
        picture = results[0]
        if self._patches:
            picture = self._photo.copy()
            for patch, result in zip(self._patches, results, strict=True):
                patch.paste(picture, result)
        if not self._rendering.side_by_side:
            return picture
        return np.concatenate((self._photo_panel, self._driver_panel(driving), picture), axis=1)

    def seen_by_networks(self, driving: Image) -> Image:
        """The crops of all faces and of a driving frame in a row, as the networks see them."""
        side = self._animators[0].model_size
        photos = (self._seen(animator, side) for animator in self._animators)
        return np.concatenate([*photos, cut(driving, self._driver_crop, side)], axis=1)

    @property
    def _result_size(self) -> tuple[int, int]:
        side = self._animators[0].size
        return self._photo_size if self._patches else (side, side)

    @property
    def _photo_size(self) -> tuple[int, int]:
        return self._photo.shape[1], self._photo.shape[0]

    @cached_property
    def _photo_panel(self) -> Image:
        return self._photo if self._patches else self._seen(self._animators[0], self._result_size[0])

    @property
    def _driver_width(self) -> int:
        height = self._result_size[1]
        if not self._patches:
            return height
        return max(1, round(self._driver_size[0] * height / self._driver_size[1]))

    def _driver_panel(self, frame: Image) -> Image:
        """Beside a crop, the driver's crop; beside a whole photo, its whole frame."""
        if self._patches:
            return scaled(frame, (self._driver_width, self._result_size[1]))
        return cut(frame, self._driver_crop, self._driver_width)

    def _set_photo(
        self, animator: Animator, place: Box | None, face: Box | None, others: Sequence[Box], name: str
    ) -> None:
        """Show an animator its crop of the photo, and prepare what is pasted there."""
        reach = None
        if self._rendering.whole_photo and place is not None:
            around = face or place.scaled(1 / FRAME_SCALE)
            distance = edge_distance(place, self._photo_size, around, others)
            self._patches.append(Patch(self._photo, place, distance))
            reach = motion_reach(distance)
        crop = None if place is None else (place.x, place.y, place.w, place.h)
        animator.set_photo(self._photo, crop, name, face=face, reach=reach)

    def _seen(self, animator: Animator, side: int) -> Image:
        return cut(self._photo, animator.photo_crop, side)


def warn_of_share(image: Image, crop: Box, name: str, option: str, detector: FaceDetector) -> None:
    """Say so when the face that a crop given by hand frames is far too small or too large in it."""
    wide = square_crop(crop.scaled(1.6), (image.shape[1], image.shape[0]))  # holds a face that fills the crop
    side = min(int(wide.w), 640)
    faces = detector.detect(crop_image(image, wide, side), thorough=True)
    if not faces:
        return
    share = faces[0].side * wide.w / side / crop.w
    if not SMALLEST_SHARE <= share <= LARGEST_SHARE:
        logger.warning(
            "%s: the face fills %.0f %% of the width of %s; the networks know about %.0f %%: give a %s crop",
            name,
            100 * share,
            option,
            100 / FRAME_SCALE,
            "smaller" if share < SMALLEST_SHARE else "larger",
        )


def _fitted(photo: Image, rendering: Rendering, name: str) -> tuple[Image, float]:
    """The photo at the size of the result, and how much larger it is than before."""
    longest = max(photo.shape[:2])
    usual = LONGEST_SIDE_OF_THREE if rendering.side_by_side else LONGEST_SIDE
    wanted = rendering.longest_side or min(longest, usual)
    if wanted == longest:
        return photo, 1.0
    scale = wanted / longest
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    if rendering.longest_side is None:
        logger.warning("%s: shrunk to %dx%d for the video; --size %d keeps all of it", name, *size, longest)
    return scaled(photo, size), scale
