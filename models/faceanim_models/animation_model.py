"""The three networks that animate a photo, as one module with one file of weights."""

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from faceanim_models.dense_motion import DenseMotion, DenseMotionNetwork, DenseMotionSettings
from faceanim_models.detail_refiner import DetailRefiner, DetailRefinerSettings, PatchCode
from faceanim_models.free_keypoints import FreeKeypointDetector, FreeKeypointSettings
from faceanim_models.generator import Generated, Generator, GeneratorSettings
from faceanim_models.geometry import limit_grid, resize
from faceanim_models.keypoint_detector import KeypointDetector, KeypointDetectorSettings


@dataclass(frozen=True)
class AnimationSettings:
    """What rebuilds an :class:`AnimationModel`: the settings of its networks, and what its keypoints are.

    Dense motion network and generator may know fewer keypoints than the detector finds: its first ones. The
    others, pupils, are the detail refiner's.
    ``anchors[k]`` lists the landmarks (0-67, the usual 68-point order; 68 and 69 are the pupils) whose mean
    keypoint k was trained to be; empty for keypoints learned freely.
    """

    keypoints: KeypointDetectorSettings = field(default_factory=KeypointDetectorSettings)
    motion: DenseMotionSettings = field(default_factory=DenseMotionSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    anchors: tuple[tuple[int, ...], ...] = ()
    image_size: int = 256  # pixels: the size that the weights were trained for
    details: DetailRefinerSettings | None = None  # eyes and mouth painted again at full resolution
    large_details: DetailRefinerSettings | None = (
        None  # the same in larger results, which show the photo's detail
    )
    free_keypoints: FreeKeypointSettings | None = None  # shoulders, hair and what else has no landmarks


class Keypoints(NamedTuple):
    """Keypoints of a batch of frames, in [-1, 1]."""

    points: Tensor  # (B, K, 2)
    jacobians: Tensor | None = None  # (B, K, 2, 2): first-order-model's local motions; our networks need none
    free: Tensor | None = None  # (B, F, 2): of a FreeKeypointDetector, beside ``points``


class PhotoCode(NamedTuple):
    """A photo encoded once, for any number of driving frames."""

    photo: Tensor  # (B, 3, H, W)
    thumbnail: Tensor  # (B, 3, size, size): what the dense motion network sees
    keypoints: Tensor  # (B, K, 2), all that the detector of landmarks finds
    features: list[Tensor]
    jacobians: Tensor | None = None  # (B, K, 2, 2), of first-order-model's keypoints
    maps: Tensor | None = None  # (B, C, 2 size, 2 size): the dense motion network's HeadSegmenter's
    details: list[PatchCode] | None = None  # the detail refiner's
    reach: Tensor | None = None  # (B, 1, h, w) in [0, 1]: how much of the motion each place takes part in
    free: Tensor | None = None  # (B, F, 2), free keypoints

    def expand(self, batch: int) -> "PhotoCode":
        """The code of one photo seen as a batch of ``batch``, without copying."""

        def repeated(t: Tensor) -> Tensor:
            return t.expand(batch, *t.shape[1:])

        return PhotoCode(
            repeated(self.photo),
            repeated(self.thumbnail),
            repeated(self.keypoints),
            [repeated(feature) for feature in self.features],
            None if self.jacobians is None else repeated(self.jacobians),
            None if self.maps is None else repeated(self.maps),
            None if self.details is None else [code.expand(batch) for code in self.details],
            None if self.reach is None else repeated(self.reach),
            None if self.free is None else repeated(self.free),
        )


class AnimationModel(nn.Module):
    """Keypoint detector, dense motion network and generator."""

    def __init__(self, settings: AnimationSettings) -> None:
        super().__init__()
        found, moved = settings.keypoints.num_keypoints, settings.motion.num_keypoints
        painted, anchored = settings.generator.num_keypoints, len(settings.anchors)
        fits = anchored == found or (anchored == 0 and moved == found)
        if not fits or moved != painted or moved > found:
            raise ValueError(
                f"detector, motion, generator and anchors disagree on the keypoints: {found} found, "
                f"{moved} moved, {painted} painted, {anchored} anchored"
            )
        free = settings.free_keypoints
        count = 0 if free is None else len(free.homes)
        if settings.motion.free_keypoints != count:
            raise ValueError(f"{count} free keypoints found, {settings.motion.free_keypoints} moved")
        self.settings = settings
        self.keypoint_detector = KeypointDetector(settings.keypoints)
        self.dense_motion = DenseMotionNetwork(settings.motion)
        self.generator = Generator(settings.generator)
        self.free_keypoints = None if free is None else FreeKeypointDetector(free)
        self.details = None if settings.details is None else DetailRefiner(settings.details, found)
        # Not of ``forward``: it paints in what ``photo_detail`` has made of a frame.
        large = settings.large_details
        self.large_details = None if large is None else DetailRefiner(large, found)

    def detect(self, images: Tensor, kept: list[Tensor] | None = None) -> Keypoints:
        """Keypoints of images (B, 3, H, W); ``kept`` gets the logits of their heatmaps."""
        free = None if self.free_keypoints is None else self.free_keypoints(images)
        return Keypoints(self.keypoint_detector(images, kept), free=free)

    def encode_photo(self, photo: Tensor, keypoints: Tensor | Keypoints | None = None) -> PhotoCode:
        """All that depends on the photo (B, 3, H, W) alone; keypoints are detected unless given."""
        if keypoints is None:
            keypoints = self.detect(photo)
        free = None
        if isinstance(keypoints, Keypoints):
            keypoints, _, free = keypoints
        if free is None and self.free_keypoints is not None:
            free = self.free_keypoints(photo)
        size = self.settings.motion.size
        return PhotoCode(
            photo,
            resize(photo, size, size),
            keypoints,
            self.generator.encode(photo),
            maps=self.dense_motion.encode(photo, self._moving(keypoints)),
            details=None if self.details is None else self.details.encode(photo, keypoints),
            free=free,
        )

    def forward(self, code: PhotoCode, keypoints: Tensor | Keypoints) -> tuple[Generated, DenseMotion]:
        """Frames that show the photo's person with the driving ``keypoints`` (B, K, 2).

        Free ones that are missing go along with the head as far as they mostly do.
        """
        free = None
        if isinstance(keypoints, Keypoints):
            keypoints, _, free = keypoints
        source, driving = self._moving(code.keypoints), self._moving(keypoints)
        motion = self.dense_motion(code.thumbnail, source, driving, code.maps, code.free, free)
        motion = motion._replace(grid=limit_grid(motion.grid, code.reach))
        generated: Generated = self.generator(code.photo, code.features, motion)
        if self.details is not None and code.details is not None:
            generated = generated._replace(image=self.details(generated.image, keypoints, code.details))
        return generated, motion

    def _moving(self, keypoints: Tensor) -> Tensor:
        """Those that dense motion network and generator know."""
        return keypoints[:, : self.settings.motion.num_keypoints]
