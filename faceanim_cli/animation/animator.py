"""The Python API: ``Animator``. A photo is set once, then any number of driving frames animate it."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, cached_property, partial
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from faceanim_cli.animation.driver import crop_driver
from faceanim_cli.animation.driver_search import Crop
from faceanim_cli.animation.face import Face, anchors_of
from faceanim_cli.animation.face_presence import held
from faceanim_cli.animation.framer import Framer
from faceanim_cli.animation.image_batches import check_image, detail_side, to_batch
from faceanim_cli.animation.inference import Inference
from faceanim_cli.animation.landmark_framer import LandmarkFramer
from faceanim_cli.animation.networks import Detected, Networks
from faceanim_cli.device import can_graph, choose_device, choose_precision, fitting_batch
from faceanim_cli.errors import UsageError
from faceanim_cli.faces import (
    Box,
    FaceDetector,
    Framing,
    choose_face,
    crop_image,
    find_faces,
    square_crop,
    tone_curve,
)
from faceanim_cli.files import file_sha256
from faceanim_cli.motion.head_transfer import check_steering
from faceanim_cli.motion.motion_batch import MotionBatch
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.pictures import Floats, Image, Mask
from faceanim_cli.provenance.watermark import Watermark
from faceanim_cli.weights.catalogue import ANIMATION, SUPER_RESOLUTION, shipped_weights
from faceanim_cli.weights.checkpoint import load_checkpoint, network_name
from faceanim_cli.weights.load import load_weights
from faceanim_models import FaceSuperResolver, LivePortraitModel

logger = logging.getLogger(__name__)

LIVEPORTRAIT_FRAME = 600 << 20  # bytes that a frame in work takes


class Animator:
    """Animates a face photo with the frames of a driver.

    Args:
        weights: a checkpoint of the animation networks, or one of another project's that ``load_weights``
            knows; None for the ones that ship.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: auto, fp32, bf16 or fp16; auto is the fastest that keeps the picture.
        relative: move the photo's keypoints as the driver's move from its reference frame on, which keeps the
            photo's face shape; False takes the driver's keypoints as they are, which suits the same person.
        adapt_scale: measure relative motion in face sizes rather than in frame sizes.
        sr: double the size with the super-resolution network; None does so for results larger than 256
            where the photo's own detail does not reach, and leaves the 512 of LivePortrait's networks.
        size: side of the result in pixels; None for what the networks give.
        batch: driving frames worked on at a time; None for what suits the device. Halved when its memory
            runs out.
        motion: how much of the driver's pose and expression the photo takes on; None for all of it.
        compiled: run whole batches as CUDA graphs made by torch.compile, which takes long; on CUDA only,
            elsewhere it costs more than it brings.
        mark: the number in the invisible watermark of all results, 0 to 65535; None for no watermark.

    A half precision that shows falls back to float32, see ``Inference``.

    Raises:
        WeightsError: weights that are missing or do not fit.
        UsageError: a device, precision or size that cannot be, or steering that the weights do not allow.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        relative: bool = True,
        adapt_scale: bool = True,
        sr: bool | None = None,
        size: int | None = None,
        batch: int | None = None,
        motion: MotionSettings | None = None,
        compiled: bool = False,
        mark: int | None = 0,
    ) -> None:
        if size is not None and not 16 <= size <= 4096:
            raise UsageError(f"size {size}: give 16 to 4096 pixels")
        self.watermark = None if mark is None else Watermark(mark)
        self.device = choose_device(device)
        dtype = choose_precision(precision, self.device)
        motion = motion or MotionSettings(relative=relative, adapt_scale=adapt_scale)
        self.motion = replace(
            motion, relative=relative and motion.relative, adapt_scale=adapt_scale and motion.adapt_scale
        )
        self.weights = Path(weights) if weights is not None else shipped_weights(ANIMATION)
        model = load_weights(self.weights)
        self.network = network_name(model) or ""
        check_steering(self.network, getattr(model.settings, "anchors", ()), self.motion)
        self.model_size = model.settings.image_size
        self.framer: Framer = Framer()
        scale = 1
        if isinstance(model, LivePortraitModel):
            self.framer = LandmarkFramer(self.device)
            scale, batch = LivePortraitModel.SCALE, batch or fitting_batch(self.device, LIVEPORTRAIT_FRAME)
        batch = batch or fitting_batch(self.device)
        self._shows_detail = scale == 1 and not sr
        if sr is None:  # which doubles; what is shrunk again afterwards gains nothing that shows
            sr = scale == 1 and (size is None or size > self.model_size)
        self.size = size or self.model_size * scale * (FaceSuperResolver.SCALE if sr else 1)
        resolver = cache(partial(load_checkpoint, shipped_weights(SUPER_RESOLUTION), "super-resolution"))
        load_resolver = cast(Callable[[], FaceSuperResolver], resolver) if sr else None
        graphed = batch if compiled and can_graph(self.device) else 0
        networks = Networks(model, load_resolver, self.device, dtype, graphed)
        self._inference = Inference(networks, self.weights, batch, self.size)
        self._face: Face | None = None
        self._framed = True
        self.prepared: tuple[object, object] | None = None  # what ``prepared_photo`` made last, and of what
        logger.info("%s on %s in %s, %d pixels a side", self.weights, self.device, dtype, self.size)

    def set_photo(
        self,
        image: Image,
        crop: Crop = "auto",
        name: str = "photo",
        *,
        face: Box | None = None,
    ) -> None:
        """Encode the photo to animate.

        Args:
            image: uint8 RGB (H, W, 3).
            crop: "auto" frames the largest face, and turns a photo that lies on its side; a ``Framing``
                frames it nearer, wider or beside; (x, y, w, h) in pixels is the frame itself, as a square
                around the same centre; None takes the photo whole, resized to a square: photo and driving
                frames are then already framed alike.
            name: what error messages call the photo.
            face: the face's box in the photo, where it is known; with "auto", that one is framed.

        Raises:
            NoFaceError: "auto", and no face in the photo.
            UsageError: a crop that does not touch the photo.
            ValueError: not uint8 (H, W, 3).
        """
        self._face = self.encode(image, crop, name, face=face)
        self._framed = crop is None

    def encode(
        self,
        image: Image,
        crop: Crop = "auto",
        name: str = "photo",
        *,
        face: Box | None = None,
        reach: Mask | None = None,
        whole_photo: bool = False,
    ) -> Face:
        """A face of a photo, to be animated by itself; the photo that was set stays.

        Args:
            image, crop, name, face: as ``set_photo``.
            reach: (S, S) in [0, 1], how much of the motion each place of the crop takes part in; None is all
                of it everywhere. Zeros at the border keep the frame's edge as it is in the photo.
            whole_photo: its frames are laid back into the photo, and are to be as large there.
        """
        check_image(image)
        found = crop == "auto" or isinstance(crop, Framing)
        if found and face is None:
            image, faces = find_faces(image, name)
            face = choose_face(faces, None, name)
        height, width = image.shape[:2]
        place: Box | None
        if found and face is not None:
            place = self.frame(image, face, crop if isinstance(crop, Framing) else Framing())
        else:
            place = square_crop(Box(*crop), (width, height)) if isinstance(crop, tuple) else None
        logger.info("%s: %d x %d, face %s, crop %s", name, width, height, face, place)
        inference = self._inference
        with inference.networks.inference():
            seen = crop_image(image, place, self.model_size)
            picture = to_batch([seen], inference.copies)
            shown = min(height, width) if place is None else int(place.w)
            side = detail_side(shown, None if whole_photo else self.size, self.model_size)
            large = None
            if self._shows_detail and side is not None:
                large = to_batch([crop_image(image, place, side)], inference.copies)
        shares = None if reach is None else torch.from_numpy(reach)[None, None].to(self.device)
        lips = None
        if self.motion.close_lips and isinstance(self.framer, LandmarkFramer):
            lips = self.framer.open_lips(image, place, face, name)
        return Face(inference, self.motion, place, picture, shares, tone_curve(seen), lips, large)

    def frame(self, image: Image, face: Box, framing: Framing) -> Box:
        """The square of a photo, whole pixels, in which these networks want to see a face.

        Raises:
            UsageError: it lies outside the photo, or is far larger.
        """
        return framing.around(self.framer.frame_photo(image, face), (image.shape[1], image.shape[0]))

    def animate(
        self,
        frames: Iterable[Image],
        crop: Crop | Box = "auto",
        reference: MotionBatch | None = None,
    ) -> Iterator[Image]:
        """Animate the photo, lazily, in batches; one frame out for each frame in.

        Where a frame shows no face, the last motion is held, as by ``faceanim animate``. How sure keypoints
        are of a face is told by the first batch, not by the whole driver: it should show one.

        Args:
            frames: driving frames, uint8 RGB (H, W, 3), all of one size.
            crop: "auto" finds the face in the first second and keeps that crop (None if the photo was set
                with ``crop=None``); (x, y, w, h) or a ``Box`` in pixels is the crop; None takes frames whole.
            reference: motion in the driver's frame whose pose and expression stand for the photo's, of
                ``detect`` with the same crop; None for its first. Only relative motion has one.

        Yields:
            uint8 RGB (size, size, 3).

        Raises:
            UsageError: no photo has been set. NoFaceError: "auto", and no face in the driver's first second.
        """
        face = self._face
        if face is None:
            raise UsageError("set_photo() comes before animate()")
        results = face.animate(held(self.detections(frames, crop)), reference)
        return results if self.watermark is None else map(self.watermark.embed, results)

    def detect(self, frames: Iterable[Image], crop: Crop | Box = "auto") -> Iterator[MotionBatch]:
        """The motion in driving frames, lazily, in batches; the arguments are those of ``animate``.

        Yields:
            Up to ``batch`` frames: points (B, K, 2), x and y in [-1, 1] of the crop; of LivePortrait's
            networks the head's motion.
        """
        return (found.motion for found in self.detections(frames, crop))

    def detections(self, frames: Iterable[Image], crop: Crop | Box = "auto") -> Iterator[Detected]:
        """As ``detect``, and how sure keypoints are."""
        if crop == "auto" and self._framed:  # photo and driver are framed alike
            crop = None
        place, remaining = None, iter(frames)
        if crop is not None:
            place, remaining = crop_driver(remaining, crop, self._detector, self.framer)
        while batch := list(islice(remaining, self.batch)):
            for frame in batch:
                check_image(frame)
            with self._inference.networks.inference():
                driving = self._to_batch(batch, place)
            yield from self._inference.detect(driving)

    def keypoints(self, frames: Iterable[Image]) -> Floats:
        """Keypoints of frames, taken whole, as the networks see them.

        Args:
            frames: uint8 RGB (H, W, 3), all of one size.

        Returns:
            (N, K, 2), x and y in [-1, 1] of the frame: -1 is the first pixel's centre, 1 the last's.
        """
        found = []
        remaining = iter(frames)
        while batch := list(islice(remaining, self.batch)):
            for frame in batch:
                check_image(frame)
            networks = self._inference.networks
            with networks.inference():
                found.append(networks.keypoints(self._to_batch(batch, None)).float().cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, 0, 2), np.float32)

    @property
    def photo_crop(self) -> Box | None:
        """Where the face that was set lies in its photo; None for a photo taken whole."""
        return None if self._face is None else self._face.crop

    @property
    def batch(self) -> int:
        """Driving frames worked on at a time."""
        return self._inference.batch

    @batch.setter
    def batch(self, frames: int) -> None:
        self._inference.batch = frames

    @property
    def anchors(self) -> tuple[tuple[int, ...], ...]:
        """Which facial landmarks (0-67) each keypoint is the mean of; empty for keypoints learned freely."""
        return anchors_of(self._inference.networks)

    @property
    def stages(self) -> dict[str, tuple[nn.Module, ...]]:
        """The networks by what they do: keypoints, motion, generator, and sr where there is one."""
        return self._inference.networks.stages

    @property
    def dtype(self) -> torch.dtype:
        """What convolutions run in."""
        return self._inference.networks.dtype

    @cached_property
    def _detector(self) -> FaceDetector:
        """Viola-Jones's cascades, loaded when a face is sought: frames taken whole need none."""
        return FaceDetector()

    @cached_property
    def weights_sha256(self) -> str:
        """Of the file of weights, in hex; worked out once, however many files are animated."""
        return file_sha256(self.weights)

    def _to_batch(self, images: list[Image], crop: Box | None) -> Tensor:
        return to_batch(
            [crop_image(image, crop, self.model_size) for image in images], self._inference.copies
        )
