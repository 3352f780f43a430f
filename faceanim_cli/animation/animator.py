"""The Python API: ``Animator``. A photo is set once, then any number of driving frames animate it."""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from faceanim_cli.animation.driver_crop import Crop, crop_driver
from faceanim_cli.animation.networks import EncodedPhoto, Networks, part_of
from faceanim_cli.animation.pictures import check_image, cut, to_batch, to_frames
from faceanim_cli.animation.precision_check import PrecisionCheck, keypoint_difference, picture_difference
from faceanim_cli.animation.transfer import Download, Transfer
from faceanim_cli.device import can_graph, choose_device, choose_precision, fitting_batch, in_parts
from faceanim_cli.errors import UsageError
from faceanim_cli.faces import Box, FaceDetector, face_in_crop, frame_crop, square_crop
from faceanim_cli.motion.best_frame import closest_frame
from faceanim_cli.motion.follow import Follower
from faceanim_cli.motion.head_transfer import check_steering
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.pictures import Floats, Image
from faceanim_cli.weights.catalogue import ANIMATION, SUPER_RESOLUTION, shipped_weights
from faceanim_cli.weights.checkpoint import load_checkpoint
from faceanim_cli.weights.load import load_weights
from faceanim_models import FaceSuperResolver, FirstOrderModel, Keypoints, PhotoCode

logger = logging.getLogger(__name__)


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
        batch: driving frames worked on at a time; None for what suits the device. Halved when its memory
            runs out.
        motion: how much of the driver's pose and expression the photo takes on; None for all of it.
        compiled: run whole batches as CUDA graphs made by torch.compile, which takes long; on CUDA only,
            elsewhere it costs more than it brings.

    The first batch in half precision is compared with float32. Where they differ visibly, float32 it is from
    then on, and a warning says so.

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
        batch: int | None = None,
        motion: MotionSettings | None = None,
        compiled: bool = False,
    ) -> None:
        if size is not None and not 16 <= size <= 4096:
            raise UsageError(f"size {size}: give 16 to 4096 pixels")
        self.device = choose_device(device)
        dtype = choose_precision(precision, self.device)
        self._transfer = Transfer(self.device)
        self.relative, self.adapt_scale = relative, adapt_scale
        self.batch = batch or fitting_batch(self.device)
        self.motion = motion or MotionSettings()
        self.weights = Path(weights) if weights is not None else shipped_weights(ANIMATION)
        model = load_weights(self.weights)
        check_steering(getattr(model.settings, "anchors", ()), self.motion)
        resolver = load_checkpoint(shipped_weights(SUPER_RESOLUTION), "super-resolution") if sr else None
        graphed = self.batch if compiled and can_graph(self.device) else 0
        self._networks = Networks(
            model, cast(FaceSuperResolver | None, resolver), self.device, dtype, graphed
        )
        self._check = PrecisionCheck.of(self.weights, dtype)
        self.model_size = model.settings.image_size
        self.size = size or self.model_size * (FaceSuperResolver.SCALE if sr else 1)
        self._photo: EncodedPhoto | None = None
        self._framed = True
        self._detector = FaceDetector()
        self.photo_crop: Box | None = None
        logger.info("%s on %s in %s, %d pixels a side", self.weights, self.device, dtype, self.size)

    def set_photo(
        self,
        image: Image,
        crop: Crop = "auto",
        name: str = "photo",
        *,
        face: Box | None = None,
        reach: Floats | None = None,
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
        check_image(image)
        height, width = image.shape[:2]
        if crop == "auto":
            face = face or self._detector.largest_face(image, name)
            self.photo_crop = frame_crop(face, (width, height))
        else:
            self.photo_crop = None if crop is None else square_crop(Box(*crop), (width, height))
        logger.info("%s: %d x %d, face %s, crop %s", name, width, height, face, self.photo_crop)
        self._framed = crop is None
        with self._networks.inference():
            photo = self._to_batch([image], self.photo_crop)
            boxes = None if face is None or self.photo_crop is None else self._boxes([face], self.photo_crop)
        shares = None if reach is None else torch.from_numpy(reach)[None, None].to(self.device)
        self._photo = EncodedPhoto(photo, boxes, shares, self._networks)

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
        if self._photo is None:
            raise UsageError("set_photo() comes before animate()")
        return self._transfer.arrived(self._follow(self._photo, motion, reference))

    def closest_frame(self, candidates: Keypoints) -> int | None:
        """Best-frame search: which frame's pose and expression are closest to the photo's.

        Args:
            candidates: of a driver's frames, points (N, K, 2), as ``detect`` gives them.

        Returns:
            The frame's place among them; None if no frame has finite keypoints.

        Raises:
            UsageError: no photo has been set.
        """
        if self._photo is None:
            raise UsageError("set_photo() comes before closest_frame()")
        points = candidates.points.float().cpu().numpy()
        return closest_frame(
            self._photo.code(self._networks).keypoints[0].float().cpu().numpy(), points, self.anchors
        )

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
            with self._networks.inference():
                pictures = self._to_batch(batch, None)
                found.append(self._networks.detect(pictures).points.float().cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, 0, 2), np.float32)

    @property
    def anchors(self) -> tuple[tuple[int, ...], ...]:
        """Which facial landmarks (0-67) each keypoint is the mean of; empty for keypoints learned freely."""
        return getattr(self._networks.model.settings, "anchors", ())

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The networks by what they do: keypoints, motion, generator, and sr where there is one."""
        return self._networks.stages

    @property
    def dtype(self) -> torch.dtype:
        """What convolutions run in."""
        return self._networks.dtype

    def _detect(
        self, frames: Iterator[Image], crop: Crop | Box, faces: Iterator[Box] | None
    ) -> Iterator[Keypoints]:
        if crop == "auto" and self._framed:  # photo and driver are framed alike
            crop = None
        driver_crop, frames = crop_driver(frames, crop, self._detector)
        while batch := list(islice(frames, self.batch)):
            for frame in batch:
                check_image(frame)
            known = list(islice(faces, len(batch))) if faces is not None else []
            with self._networks.inference():
                driving = self._to_batch(batch, driver_crop)
                whole = Box(0, 0, batch[0].shape[1], batch[0].shape[0])
                boxes = self._boxes(known, driver_crop or whole) if len(known) == len(batch) else None
            yield from self._found(driving, boxes)

    def _found(self, driving: Tensor, boxes: Tensor | None) -> list[Keypoints]:
        """Keypoints of a batch, in as many pieces as memory asks for."""

        def detect(part: slice) -> list[Keypoints]:
            with self._networks.inference():
                return [self._networks.detect(driving[part], None if boxes is None else boxes[part])]

        frames = slice(0, len(driving))
        found = in_parts(detect, frames, self.device, self._use_batch)
        if "keypoints" not in self._check.due:
            return found
        exact = self._networks.exact()
        with exact.inference():
            wanted = exact.detect(driving[-1:], None if boxes is None else boxes[-1:])
        pixels = keypoint_difference(found[-1].points[-1:], wanted.points, self.model_size)
        stays, self._check = self._check.compared("keypoints", pixels)
        if stays:
            return found
        self._networks = exact
        return in_parts(detect, frames, self.device, self._use_batch)

    def _follow(
        self, photo: EncodedPhoto, motion: Iterable[Keypoints], reference: Keypoints | None
    ) -> Iterator[list[Download]]:
        follower = None
        for driving in motion:
            # Detecting the first batch may have changed the networks: the photo is asked for after it.
            if follower is None:
                networks, code = self._networks, photo.code(self._networks)
                follower = self._follower(code, reference)
            keypoints = self._followed(follower, driving)
            results = self._painted(networks, code, keypoints)
            if "pictures" in self._check.due and networks.dtype != torch.float32:
                exact = networks.exact()
                exact_code = photo.code(exact)
                anew = self._follower(exact_code, reference)
                keypoints = self._followed(anew, driving)
                (wanted,) = self._painted(exact, exact_code, part_of(keypoints, slice(-1, None)))
                levels = picture_difference(results[-1].array()[-1], wanted.array()[-1])
                stays, self._check = self._check.compared("pictures", levels)
                if not stays:
                    self._networks = networks = exact
                    code, follower = exact_code, anew
                    results = self._painted(networks, code, keypoints)
            yield results
        if follower is not None and (beyond := str(follower.beyond)):
            logger.warning("driver frames %s: beyond what the weights were trained for; held back", beyond)

    def _follower(self, code: PhotoCode, reference: Keypoints | None) -> Follower:
        return Follower(
            Keypoints(code.keypoints, code.jacobians),
            self.anchors,
            self.motion,
            isinstance(self._networks.model, FirstOrderModel),
            self.relative,
            self.adapt_scale,
            reference,
        )

    @staticmethod
    def _followed(follower: Follower, driving: Keypoints) -> Keypoints:
        # In half precision a point would be off by a quarter of a pixel, another in each frame.
        with torch.inference_mode():
            return Keypoints(*follower(driving))

    def _painted(self, networks: Networks, code: PhotoCode, keypoints: Keypoints) -> list[Download]:
        def paint(part: slice) -> list[Download]:
            with networks.inference():
                pictures = networks.paint(code, part_of(keypoints, part))
                return [to_frames(pictures, self.size, self._transfer)]

        return in_parts(paint, slice(0, len(keypoints.points)), self.device, self._use_batch)

    def _use_batch(self, frames: int) -> None:
        self.batch = min(self.batch, frames)

    def _boxes(self, faces: list[Box], crop: Box) -> Tensor:
        boxes = torch.tensor([face_in_crop(face, crop, self.model_size) for face in faces])
        return self._transfer.upload(boxes)

    def _to_batch(self, images: list[Image], crop: Box | None) -> Tensor:
        return to_batch([cut(image, crop, self.model_size) for image in images], self._transfer)
