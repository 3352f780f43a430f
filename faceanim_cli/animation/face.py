"""One face of a photo, encoded once and animated as often as you like."""

import logging
import time
from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from faceanim_cli.animation.image_batches import Download
from faceanim_cli.animation.inference import Inference, mean_difference
from faceanim_cli.animation.networks import Code, Networks, PhotoDetail, motion_of
from faceanim_cli.faces import Box, ToneCurve, toned
from faceanim_cli.motion.best_frame import closest_frame
from faceanim_cli.motion.motion_batch import MotionBatch, part_of
from faceanim_cli.motion.retargeting import Retargeting
from faceanim_cli.motion.settings import MotionSettings
from faceanim_cli.pictures import Image
from faceanim_cli.weights.load import PublishedModel
from faceanim_models import Keypoints, LivePortraitModel, PhotoCode

logger = logging.getLogger(__name__)


class Face:
    """A crop of a photo as the networks know it. The faces of a group share one ``Inference``.

    Args:
        inference: the networks at work.
        motion: how much of the driver's motion it takes on.
        crop: where it lies in its photo; None is the whole of it.
        picture: the crop, (1, 3, S, S) in [0, 1].
        reach: (1, 1, h, w), as ``PhotoCode``'s; or None.
        tones: the only colours that it may have; None for any.
        lip_opening: of LivePortrait's photos whose lips are to be closed first; None for others.
        large: the crop at the size of the frames, (1, 3, S, S), whose detail they show; None leaves
            their size to ``Inference`` and the detail to super-resolution.
    """

    def __init__(
        self,
        inference: Inference,
        motion: MotionSettings,
        crop: Box | None,
        picture: Tensor,
        reach: Tensor | None,
        tones: ToneCurve | None = None,
        lip_opening: float | None = None,
        large: Tensor | None = None,
    ) -> None:
        self.crop, self._tones, self._lip_opening = crop, tones, lip_opening
        self._inference, self._motion = inference, motion
        self._picture, self._reach = picture, reach
        self._networks, self._code = inference.networks, self._encoded(inference.networks)
        self._detail: PhotoDetail | None = None
        if large is not None and isinstance(self._code, PhotoCode):
            with inference.networks.inference():
                self._detail = inference.networks.photo_detail(large, self._code)

    def animate(
        self, motion: Iterable[MotionBatch], reference: MotionBatch | None = None, first_frame: int = 0
    ) -> Iterator[Image]:
        """Animate the face with known motion, lazily; one frame for each frame of it.

        Args:
            motion: of the driver, in batches, in order.
            reference: see ``Retargeting``.
            first_frame: number of the first frame, for messages.

        Yields:
            uint8 RGB (size, size, 3).
        """
        frames = self._inference.copies.arrived(self._batches(motion, reference, first_frame))
        tones = self._tones
        return frames if tones is None else (toned(frame, tones) for frame in frames)

    def retargeting(self, reference: MotionBatch | None = None, first_frame: int = 0) -> Retargeting:
        """Turns a driver's motion, in order, into this face's keypoints; arguments as of ``animate``."""
        return self._retargeting(self._inference.networks, reference, first_frame)

    def paint(self, keypoints: Keypoints) -> Image:
        """One frame, as ``animate`` gives it, of keypoints of ``retargeting``; in any thread.

        Half precision is not compared with float32 any more: ``animate`` comes first, once.
        """
        networks = self._inference.networks
        (result,) = self._inference.paint(networks, self._code_of(networks), keypoints, self._detail)
        frame: Image = result.array()[0]
        return frame if self._tones is None else toned(frame, self._tones)

    def seconds_per_frame(self) -> float:
        """How long LivePortrait's take for a frame, by one that shows the photo as it is."""
        networks = self._inference.networks
        code = self._code_of(networks)
        start = time.perf_counter()
        self._inference.detect(self._picture)
        self._inference.paint(networks, code, Keypoints(code.keypoints))
        return time.perf_counter() - start

    def closest_frame(self, candidates: MotionBatch) -> int:
        """Best-frame search: which driving frame's pose and expression are closest to this face's.

        Returns:
            The frame's place among the candidates.
        """
        networks = self._inference.networks
        return closest_frame(motion_of(self._code_of(networks)), candidates, anchors_of(networks))

    def _batches(
        self, motion: Iterable[MotionBatch], reference: MotionBatch | None, first_frame: int
    ) -> Iterator[list[Download]]:
        inference = self._inference
        retargeting = None
        for driving in motion:
            # Detecting the first batch may have changed the networks: the photo is asked for after it.
            networks = inference.networks
            code = self._code_of(networks)
            if retargeting is None:
                retargeting = self._retargeting(networks, reference, first_frame)
            keypoints = moved(retargeting, driving)
            results = inference.paint(networks, code, keypoints, self._detail)
            if inference.must_compare("pictures"):
                exact = inference.exact()
                anew = self._retargeting(exact, reference, first_frame)
                keypoints = moved(anew, driving)
                last = part_of(keypoints, slice(-1, None))
                (wanted,) = inference.paint(exact, self._code_of(exact), last, self._detail)
                if not inference.keeps(
                    "pictures", mean_difference(results[-1].array()[-1], wanted.array()[-1])
                ):
                    inference.networks, retargeting = exact, anew
                    results = inference.paint(exact, self._code_of(exact), keypoints, self._detail)
            yield results
        if retargeting is not None:
            warn_of_beyond(retargeting)

    def _retargeting(
        self, networks: Networks, reference: MotionBatch | None, first_frame: int
    ) -> Retargeting:
        code, model = self._code_of(networks), networks.model
        mend = None
        if isinstance(model, LivePortraitModel):
            stitching, opening = self._motion.stitching, self._lip_opening
            mend = partial(model.mended, code.keypoints, stitching=stitching, lip_opening=opening)
        source = motion_of(code)
        if self._reach is not None and isinstance(source, Keypoints):
            source = source._replace(free=None)  # shoulders stay as the photo around them does
        return Retargeting(
            source,
            anchors_of(networks),
            self._motion,
            isinstance(model, PublishedModel),
            reference,
            first_frame,
            mend,
        )

    def _code_of(self, networks: Networks) -> Code:
        """Encoded once, and anew when other networks are in use."""
        if networks is not self._networks:
            self._networks, self._code = networks, self._encoded(networks)
        return self._code

    def _encoded(self, networks: Networks) -> Code:
        with networks.inference():
            return networks.encode(self._picture, self._reach)


def anchors_of(networks: Networks) -> tuple[tuple[int, ...], ...]:
    """Which facial landmarks (0-67) each keypoint is the mean of; empty for keypoints learned freely."""
    return getattr(networks.model.settings, "anchors", ())


def warn_of_beyond(retargeting: Retargeting) -> None:
    """Say which frames went beyond what the weights were trained for, if any did."""
    if beyond := str(retargeting.beyond):
        logger.warning("driver frames %s go farther than the photo can follow; it is held back there", beyond)


def moved(retargeting: Retargeting, driving: MotionBatch) -> Keypoints:
    """The photo's keypoints for the next frames of a driver, outside of autocast."""
    # In half precision a point would be off by a quarter of a pixel, another in each frame.
    with torch.inference_mode():
        return Keypoints(*retargeting(driving))
