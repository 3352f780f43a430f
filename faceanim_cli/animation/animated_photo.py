"""A photo with the faces in it that are animated, and what a result shows of it and beside it."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import tee
from pathlib import Path

import numpy as np

from faceanim_cli.animation.animator import Animator
from faceanim_cli.animation.driver_search import Crop
from faceanim_cli.animation.face import Face
from faceanim_cli.animation.result import RenderSettings
from faceanim_cli.errors import UsageError
from faceanim_cli.faces import (
    FRAME_SCALE,
    Box,
    FaceDetector,
    Framing,
    Patch,
    SearchedPhoto,
    choose_face,
    crop_image,
    edge_distance,
    find_faces,
    motion_reach,
    resized,
    square_crop,
    upright_faces,
)
from faceanim_cli.files import file_stamp
from faceanim_cli.media import Encoding, read_photo
from faceanim_cli.motion.motion_batch import MotionBatch
from faceanim_cli.pictures import Image

logger = logging.getLogger(__name__)

# Longest side of a whole photo as a video, unless --size says otherwise: what decoders in phones and
# televisions bear. Beside the photo and the driver, there is room for half.
LONGEST_SIDE, LONGEST_SIDE_OF_THREE = 2560, 1280
SMALLEST_SHARE, LARGEST_SHARE = 0.15, 0.9  # of a crop's width that a face may sensibly take


class AnimatedPhoto:
    """A photo with the faces in it that are animated, set up once for any number of drivers.

    Args:
        animator: whose networks animate them; the photo that was set in it stays.
        photo: uint8 RGB (H, W, 3).
        crop: of the face, as ``Animator.set_photo``.
        render: which faces, and what is shown.
        name: what messages call the photo.
        searched: the photo with the faces that were found in it before; None looks for them.

    Attributes:
        faces: those that are animated, left to right.

    Raises:
        NoFaceError: no face in the photo, and no crop.
        UsageError: there is no face of that number, or a crop, a number and all faces are asked for at once.
    """

    def __init__(
        self,
        animator: Animator,
        photo: Image,
        crop: Crop,
        render: RenderSettings,
        name: str = "photo",
        searched: SearchedPhoto | None = None,
    ) -> None:
        if (crop is None or isinstance(crop, tuple)) and (render.all_faces or render.face is not None):
            raise UsageError("a crop says already which face to animate: leave out the number or all faces")
        if crop is None and render.whole_photo:
            raise UsageError("a photo that is taken whole has nothing to be pasted back into")
        self._animator, self._render, self._photo = animator, render, photo
        if render.whole_photo:
            self._photo, scale = _fitted(photo, render, name)
            if isinstance(crop, tuple):  # meant in the photo's own pixels
                crop = (crop[0] * scale, crop[1] * scale, crop[2] * scale, crop[3] * scale)
        self._patches: list[Patch] = []
        if crop == "auto" or isinstance(crop, Framing):
            framing = crop if isinstance(crop, Framing) else Framing()
            if searched is None or searched.image is not self._photo:  # at another size, say
                self._photo, found = find_faces(self._photo, name)
            else:
                self._photo, found = upright_faces(searched, name)
            chosen = found if render.all_faces else [choose_face(found, render.face, name)]
            self.faces = []
            for box in chosen:
                place = animator.frame(self._photo, box, framing)
                self.faces.append(self._encode(place, box, [b for b in found if b is not box], name))
        else:
            given = None if crop is None else square_crop(Box(*crop), self._photo_size)
            if given is not None:
                warn_of_face_size(self._photo, given, name, "--crop", FaceDetector())
            self.faces = [self._encode(given, None, [], name)]

    def size(self, driver_size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of what ``compose`` gives, for driving frames of that (width, height)."""
        width, height = self._result_size
        return (2 * width + self._driver_width(driver_size) if self._render.side_by_side else width), height

    def closest_frames(self, candidates: MotionBatch) -> list[int]:
        """For each face, which of the candidates is closest in pose and expression."""
        return [face.closest_frame(candidates) for face in self.faces]

    def animate(
        self, motion: Iterable[MotionBatch], references: Sequence[MotionBatch | None], first_frame: int = 0
    ) -> Iterator[tuple[Image, ...]]:
        """For each frame of driving motion, in batches, the animated crop of each face.

        Args:
            motion: see ``Face.animate``.
            references: one for each face, see there.
            first_frame: number of the first frame, for messages.
        """
        copies = tee(motion, len(self.faces))
        streams = [
            face.animate(each, reference, first_frame)
            for face, each, reference in zip(self.faces, copies, references, strict=True)
        ]
        return zip(*streams, strict=True)

    def warm_up(self) -> None:
        """Animate each face once, as the photo shows it: what a first frame does besides is done then."""
        for face in self.faces:
            list(face.animate(self._animator.detect([self._photo], face.crop)))

    def compose(self, results: Sequence[Image], driver_panel: Image | None = None) -> Image:
        """One frame of the result, uint8 RGB, from the animated crops and what is shown of the driver."""
        picture = results[0]
        if self._patches:
            picture = self._photo.copy()
            for patch, result in zip(self._patches, results, strict=True):
                patch.paste(picture, result)
        if driver_panel is None:
            return picture
        return np.concatenate((self.photo_panel, driver_panel, picture), axis=1)

    @property
    def shows_whole_driver(self) -> bool:
        """Whether ``driver_panel`` needs all of a driving frame."""
        return self._render.side_by_side and bool(self._patches)

    def driver_panel(self, frame: Image, crop: Box | None) -> Image | None:
        """What is shown of a driving frame, if anything: beside a crop its crop, beside a whole photo all."""
        if not self._render.side_by_side:
            return None
        width = self._driver_width((frame.shape[1], frame.shape[0]))
        if self._patches:
            return resized(frame, (width, self._result_size[1]))
        return crop_image(frame, crop, width)

    def seen_by_networks(self, driving: Image) -> Image:
        """The crops of all faces and that of a driving frame in a row, as the networks see them."""
        side = self._animator.model_size
        crops = [crop_image(self._photo, face.crop, side) for face in self.faces]
        return np.concatenate([*crops, resized(driving, (side, side))], axis=1)

    @property
    def _result_size(self) -> tuple[int, int]:
        side = self._animator.size
        return self._photo_size if self._patches else (side, side)

    @property
    def _photo_size(self) -> tuple[int, int]:
        return self._photo.shape[1], self._photo.shape[0]

    @cached_property
    def photo_panel(self) -> Image:
        """The photo as results show it, at rest, at their size."""
        side = self._result_size[0]
        return self._photo if self._patches else crop_image(self._photo, self.faces[0].crop, side)

    def _driver_width(self, driver_size: tuple[int, int]) -> int:
        height = self._result_size[1]
        return max(1, round(driver_size[0] * height / driver_size[1])) if self._patches else height

    def _encode(self, place: Box | None, face: Box | None, others: Sequence[Box], name: str) -> Face:
        """Show the networks a crop of the photo, and prepare what is pasted there."""
        reach = None
        if self._render.whole_photo and place is not None:
            around = face or place.scaled(1 / FRAME_SCALE)
            distance = edge_distance(place, self._photo_size, around, others)
            self._patches.append(Patch(self._photo, place, distance))
            reach = motion_reach(distance)
        crop = None if place is None else (place.x, place.y, place.w, place.h)
        whole = self._render.whole_photo
        return self._animator.encode(self._photo, crop, name, face=face, reach=reach, whole_photo=whole)


def prepared_photo(
    animator: Animator,
    path: Path,
    crop: Crop,
    render: RenderSettings,
    searched: SearchedPhoto | None = None,
) -> AnimatedPhoto:
    """The photo of a file, set up for any driver; the same again if it was the last that was asked for.

    A batch animates a photo with many drivers: it is read, searched and encoded once; not even that if it
    was ``searched`` before.
    """
    stamp = file_stamp(path) if path.is_file() else None  # else reading it tells what is wrong
    wanted = (stamp, crop, replace(render, fps=None, audio="none", encoding=Encoding()))
    if animator.prepared is None or animator.prepared[0] != wanted:
        animator.prepared = None  # not both in memory
        image = read_photo(path) if searched is None else searched.image
        animator.prepared = wanted, AnimatedPhoto(animator, image, crop, render, str(path), searched)
    animated = animator.prepared[1]
    assert isinstance(animated, AnimatedPhoto)
    return animated


def warn_of_face_size(image: Image, crop: Box, name: str, option: str, detector: FaceDetector) -> None:
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


def _fitted(photo: Image, render: RenderSettings, name: str) -> tuple[Image, float]:
    """The photo at the size of the result, and how much larger it is than before."""
    longest = max(photo.shape[:2])
    usual = LONGEST_SIDE_OF_THREE if render.side_by_side else LONGEST_SIDE
    wanted = render.longest_side or min(longest, usual)
    if wanted == longest:
        return photo, 1.0
    scale = wanted / longest
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    if render.longest_side is None:
        logger.warning("%s: shrunk to %dx%d for the video; --size %d keeps all of it", name, *size, longest)
    return resized(photo, size), scale
