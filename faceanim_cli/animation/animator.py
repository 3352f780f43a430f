"""The Python API: ``Animator``. A photo is set once, then any number of driving frames animate it."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceanim_cli.animation.device import choose_device, choose_precision
from faceanim_cli.errors import UsageError
from faceanim_cli.faces import (
    Box,
    FaceDetector,
    crop_image,
    face_in_crop,
    frame_crop,
    square_crop,
    track_face,
)
from faceanim_cli.motion.follow import Follower
from faceanim_cli.motion.head_transfer import check_steering
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.weights.checkpoint import load_checkpoint
from faceanim_cli.weights.load import load_weights
from faceanim_cli.weights.shipped import ANIMATION, SUPER_RESOLUTION, shipped_weights
from faceanim_models import FaceSuperResolver, FirstOrderModel, Keypoints, PhotoCode
from faceanim_models.blocks import cast_convolutions, fold_batch_norms

Image: TypeAlias = npt.NDArray[np.uint8]
Crop: TypeAlias = Literal["auto"] | tuple[float, float, float, float] | None

Network = TypeVar("Network", bound=nn.Module)

logger = logging.getLogger(__name__)

LOOK_AHEAD = 25  # frames that animate() waits for to frame a driver whose crop it is not told
LOOK_EVERY = 6  # of these, every 6th is searched for a face


class Animator:
    """Animates a face photo with the frames of a driver.

    Args:
        weights: a checkpoint of the animation networks, or one of first-order-model's; None for the ones that
            ship.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: auto, fp32, bf16 or fp16; auto is the fastest that keeps the picture.
        relative: move the photo's keypoints as the driver's move from its reference frame on, which keeps the
            photo's face shape; False takes the driver's keypoints as they are, which suits the same person.
        adapt_scale: measure relative motion in face sizes rather than in frame sizes.
        sr: double the size with the super-resolution network.
        size: side of the result in pixels; None for what the networks give (256, or 512 with ``sr``).
        batch: driving frames worked on at a time.
        motion: how much of the driver's pose and expression the photo takes on; None for all of it.

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
        sr: bool = True,
        size: int | None = None,
        batch: int = 8,
        motion: MotionSettings | None = None,
    ) -> None:
        if size is not None and not 16 <= size <= 4096:
            raise UsageError(f"size {size}: give 16 to 4096 pixels")
        self.device = choose_device(device)
        self.dtype = choose_precision(precision, self.device)
        self.relative, self.adapt_scale, self.batch = relative, adapt_scale, batch
        self.motion = motion or MotionSettings()
        self.weights = Path(weights) if weights is not None else shipped_weights(ANIMATION)
        self._model = self._ready(load_weights(self.weights))
        check_steering(self.anchors, self.motion)
        self._resolver = None
        if sr:
            resolver = load_checkpoint(shipped_weights(SUPER_RESOLUTION), "super-resolution")
            self._resolver = self._ready(cast(FaceSuperResolver, resolver))
        self.model_size = self._model.settings.image_size
        self.size = size or self.model_size * (FaceSuperResolver.SCALE if sr else 1)
        self._code: PhotoCode | None = None
        self._framed = True
        self._detector = FaceDetector()
        self.photo_crop: Box | None = None
        logger.info("%s on %s in %s, %d pixels a side", self.weights, self.device, self.dtype, self.size)

    def set_photo(
        self,
        image: Image,
        crop: Crop = "auto",
        name: str = "photo",
        *,
        face: Box | None = None,
        reach: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Encode the photo to animate.

        Args:
            image: uint8 RGB (H, W, 3).
            crop: "auto" frames the largest face; (x, y, w, h) in pixels is the frame itself, as a square
                around the same centre; None takes the photo whole, resized to a square: photo and driving
                frames are then already framed alike.
            name: what error messages call the photo.
            face: the face's box in the photo, where it is known; with "auto", that one is framed.
            reach: (S, S) in [0, 1], how much of the motion each place of the crop takes part in; None is all
                of it everywhere. Zeros at the border keep the frame's edge as it is in the photo.

        Raises:
            NoFaceError: "auto", and no face in the photo.
            UsageError: a crop that does not touch the photo.
            ValueError: not uint8 (H, W, 3).
        """
        _check_image(image)
        height, width = image.shape[:2]
        if crop == "auto":
            face = face or self._detector.largest_face(image, name)
            self.photo_crop = frame_crop(face, (width, height))
        else:
            self.photo_crop = None if crop is None else square_crop(Box(*crop), (width, height))
        logger.info("%s: %d x %d, face %s, crop %s", name, width, height, face, self.photo_crop)
        self._framed = crop is None
        with self._inference():
            photo = self._to_batch([self._cut(image, self.photo_crop)])
            boxes = None if face is None or self.photo_crop is None else self._boxes([face], self.photo_crop)
            self._code = self._model.encode_photo(photo, boxes=boxes)
        if reach is not None:
            self._code = self._code._replace(reach=torch.from_numpy(reach)[None, None].to(self.device))

    def animate(
        self,
        frames: Iterable[Image],
        crop: Crop | Box = "auto",
        faces: Iterable[Box] | None = None,
        reference: Keypoints | None = None,
    ) -> Iterator[Image]:
        """Animate the photo, lazily, in batches; one frame out for each frame in.

        Args:
            frames: driving frames, uint8 RGB (H, W, 3), all of one size.
            crop: "auto" finds the face in the first second and keeps that crop (None if the photo was set
                with ``crop=None``); (x, y, w, h) or a ``Box`` in pixels is the crop; None takes frames whole.
            faces: the face's box in each frame, in pixels, where it is known: a hint to the keypoints.
            reference: keypoints of the driver's frame whose pose and expression stand for the photo's, of
                ``detect`` with the same crop; None for its first. Only relative motion has one.

        Yields:
            uint8 RGB (size, size, 3).

        Raises:
            UsageError: no photo has been set. NoFaceError: "auto", and no face in the driver's first second.
        """
        return self.follow(self.detect(frames, crop, faces), reference)

    def detect(
        self, frames: Iterable[Image], crop: Crop | Box = "auto", faces: Iterable[Box] | None = None
    ) -> Iterator[Keypoints]:
        """The keypoints of driving frames, lazily, in batches; the arguments are those of ``animate``.

        Yields:
            Up to ``batch`` frames: points (B, K, 2), x and y in [-1, 1] of the crop.
        """
        return self._detect(iter(frames), crop, None if faces is None else iter(faces))

    def follow(self, motion: Iterable[Keypoints], reference: Keypoints | None = None) -> Iterator[Image]:
        """Animate the photo with keypoints that are known, lazily; one frame for each frame of keypoints.

        Args:
            motion: batches of driving keypoints, as ``detect`` gives them, in order.
            reference: see ``animate``.

        Yields:
            uint8 RGB (size, size, 3).

        Raises:
            UsageError: no photo has been set.
        """
        if self._code is None:
            raise UsageError("set_photo() comes before animate()")
        return self._follow(self._code, motion, reference)

    def keypoints(self, frames: Iterable[Image]) -> npt.NDArray[np.float32]:
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
                _check_image(frame)
            with self._inference():
                pictures = self._to_batch([self._cut(frame, None) for frame in batch])
                found.append(self._model.detect(pictures).points.float().cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, 0, 2), np.float32)

    @property
    def anchors(self) -> tuple[tuple[int, ...], ...]:
        """Which facial landmarks (0-67) each keypoint is the mean of; empty for keypoints learned freely."""
        return getattr(self._model.settings, "anchors", ())

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The networks by what they do: keypoints, motion, generator, and sr where there is one."""
        model = self._model
        stages: dict[str, nn.Module]
        if isinstance(model, FirstOrderModel):
            stages = {"keypoints": model.kp_detector, "motion": model.generator.dense_motion_network}
        else:
            stages = {"keypoints": model.keypoint_detector, "motion": model.dense_motion}
        stages["generator"] = model.generator
        return stages if self._resolver is None else {**stages, "sr": self._resolver}

    def _detect(
        self, frames: Iterator[Image], crop: Crop | Box, faces: Iterator[Box] | None
    ) -> Iterator[Keypoints]:
        ahead: list[Image] = []
        if crop == "auto" and not self._framed:
            ahead = list(islice(frames, LOOK_AHEAD))
        driver_crop = self._driver_crop(ahead, crop)
        frames = chain(ahead, frames)
        while batch := list(islice(frames, self.batch)):
            for frame in batch:
                _check_image(frame)
            known = list(islice(faces, len(batch))) if faces is not None else []
            with self._inference():
                driving = self._to_batch([self._cut(frame, driver_crop) for frame in batch])
                whole = Box(0, 0, batch[0].shape[1], batch[0].shape[0])
                boxes = self._boxes(known, driver_crop or whole) if len(known) == len(batch) else None
                keypoints = self._model.detect(driving, boxes)
            yield keypoints

    def _follow(
        self, code: PhotoCode, motion: Iterable[Keypoints], reference: Keypoints | None
    ) -> Iterator[Image]:
        follower = Follower(
            Keypoints(code.keypoints, code.jacobians),
            self.anchors,
            self.motion,
            isinstance(self._model, FirstOrderModel),
            self.relative,
            self.adapt_scale,
            reference,
        )
        for driving in motion:
            with self._inference():
                # In half precision a point would be off by a quarter of a pixel, another in each frame.
                with torch.autocast(self.device.type, enabled=False):
                    keypoints = follower(driving)
                generated, _ = self._model(code.expand(len(keypoints.points)), keypoints)
                pictures = generated.image if self._resolver is None else self._resolver(generated.image)
                results = self._to_frames(pictures)
            yield from results
        if beyond := str(follower.beyond):
            logger.warning("driver frames %s: beyond what the weights were trained for; held back", beyond)

    def _driver_crop(self, ahead: list[Image], crop: Crop | Box) -> Box | None:
        if isinstance(crop, Box):
            return crop
        if crop is None or (crop == "auto" and (self._framed or not ahead)):
            return None
        size = (ahead[0].shape[1], ahead[0].shape[0]) if ahead else (2**31, 2**31)
        if crop != "auto":
            return square_crop(Box(*crop), size)
        samples = ((index, ahead[index]) for index in range(0, len(ahead), LOOK_EVERY))
        return track_face(samples, self._detector).clip_crop(size)

    def _cut(self, image: Image, crop: Box | None) -> Image:
        if crop is not None:
            return crop_image(image, crop, self.model_size)
        size = (self.model_size, self.model_size)
        shrinks = max(image.shape[:2]) > self.model_size
        return np.asarray(
            cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        )

    def _boxes(self, faces: list[Box], crop: Box) -> Tensor:
        return torch.tensor([face_in_crop(face, crop, self.model_size) for face in faces], device=self.device)

    def _to_batch(self, images: list[Image]) -> Tensor:
        """uint8 frames to (B, 3, S, S) in [0, 1]; channels_last comes for free, as pixels lie that way."""
        return torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float() / 255

    def _to_frames(self, pictures: Tensor) -> list[Image]:
        if pictures.shape[-1] != self.size:
            shrinks = self.size < pictures.shape[-1]
            pictures = F.interpolate(pictures, (self.size, self.size), mode="bicubic", antialias=shrinks)
        levels = (pictures.clamp(0, 1) * 255).round().to(torch.uint8)
        return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())

    def _ready(self, network: Network) -> Network:
        ready: Network = fold_batch_norms(network).to(self.device).to(memory_format=torch.channels_last)
        cast_convolutions(ready, self.dtype)
        return ready

    @contextmanager
    def _inference(self) -> Iterator[None]:
        cast = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
        with torch.inference_mode(), cast:
            yield


def _check_image(image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
