"""Settings of each training stage, as dataclasses that are written beside the results."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from faceanim_cli.errors import UsageError
from faceanim_models import FaceSuperResolverSettings, PatchDiscriminatorSettings

OptimizerName: TypeAlias = Literal["adam", "swats"]
Precision: TypeAlias = Literal["32", "bf16", "16"]
KeypointsName: TypeAlias = Literal["dense", "paper", "free"]
EncoderName: TypeAlias = Literal["resnet18", "resnet34", "resnet50"]

SHIPPED_SUPER_RESOLVER = FaceSuperResolverSettings()
SHIPPED_DISCRIMINATOR = PatchDiscriminatorSettings((32, 64, 128, 256))  # takes 5 % of a step


@dataclass(frozen=True)
class RunSettings:
    """Settings of any stage."""

    data: Path  # a folder with manifest.csv, see faceanim_cli.data.clips and .portraits
    out: Path  # checkpoints, settings and curves go here
    init: Path | None = None  # start from these weights
    perceptual: str = "squeezenet"  # or vgg19, none, a safetensors file; see training.perceptual
    batch: int = 8  # pairs that a process sees at once
    accumulate: int = 1  # batches whose gradients make one step
    optimizer: OptimizerName = "adam"
    # How close SWATS's estimate of SGD's rate must come to its average, as a share of it, before it switches.
    swats_tolerance: float = 1e-3
    learning_rate: float = 2e-4
    warm_up: int = 200  # steps; fewer where they are more than a twentieth of the run
    clip_gradients: float = 5.0  # norm
    ema: float = 0.999
    max_steps: int = 100_000
    max_minutes: float | None = None
    decay_over: Literal["steps", "minutes"] = "steps"  # which end the learning rate falls towards
    validate_minutes: float = 10.0  # checkpoints are written as often
    keep: int = 3  # numbered checkpoints besides best and last
    seed: int = 0
    workers: int = 1  # loader processes of each process; 0: load in the training process itself
    precision: Precision = "bf16"  # what convolutions are computed in: torch.autocast's type
    devices: str = "auto"  # how many on each node, or which ("0,2"); torchrun decides for itself
    nodes: int = 1
    offline: bool = False  # fetch nothing
    notes: str = ""  # kept in the checkpoints, about the data and its licence

    def __post_init__(self) -> None:
        if self.decay_over == "minutes" and not self.max_minutes:
            raise UsageError("--decay-over minutes needs --max-minutes")
        if self.swats_tolerance <= 0:
            raise UsageError(f"--swats-tolerance {self.swats_tolerance:g}: must be above 0")

    @property
    def pretrained(self) -> Mapping[str, str]:
        """The classifiers whose ImageNet weights the run needs, and the option that takes a file of them."""
        return {"vgg19": "--perceptual"} if self.perceptual == "vgg19" else {}

    def as_json(self) -> dict[str, Any]:
        """All settings in JSON's own types."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


@dataclass(frozen=True)
class ClipSettings(RunSettings):
    """Settings of a stage that learns from clips."""

    cache: Path | None = None  # decoded clips; None: out / "cache"
    size: int = 256  # pixels


@dataclass(frozen=True)
class PairSettings(ClipSettings):
    """Settings of a stage that learns from pairs of frames of a clip."""

    discriminator: PatchDiscriminatorSettings = SHIPPED_DISCRIMINATOR
    discriminator_side: int = 128  # pixels of the window on the face that it sees


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term; 0 switches it off."""

    perceptual: float = 1.0  # Eq. 3, on the result I_t
    perceptual_warped: float = 0.5  # the same on E: the warp is to do as much as it can
    pixels: float = 6.0  # L1 on I_t
    pixels_warped: float = 4.0  # L1 on E
    keypoints: float = 20.0  # L1 to the landmarks they are anchored to, in [-1, 1] units
    equivariance: float = (
        0.0  # L1 between keypoints of a deformed frame and the deformed keypoints (FOMM: 10)
    )
    still: float = 2.0  # motion where the two frames agree: the background is to stay
    pixels_repainted: float = 2.0  # L1 on R: painted well everywhere, it is taken where it beats the warp
    # Occlusion regularisation, the mean of the mask M. Even a little shuts M for good while R is still poor.
    repaint: float = 0.0
    expression: float = 6.0  # how much more a pixel counts at eyes and mouth
    hidden: float = 3.0  # how much more it counts where the photo's head was and is no more
    patch_pixels: float = 4.0  # L1 on the patches around eyes and mouth, of networks that paint them again
    patch_perceptual: float = 0.6  # Eq. 3 on those patches, at twice their size
    patch_keypoints: float = 1.5  # where a trained detector sees eyes and mouth in result and driving frame
    adversarial: float = 0.0  # Eq. 5, on I_t; 0: there is no discriminator at all
    feature_matching: float = 10.0  # of the discriminator's features, times the weight above (FOMM's ratio)
    teacher: float = 4.0  # L1 between I_t and what init's generator made of it, of one that was pruned
    # Of networks with free keypoints: L1 to optical flow, where it is to be trusted, in [-1, 1] units.
    flow: float = 10.0  # of F
    flow_keypoints: float = 5.0  # of the free keypoints
    landmark_motion: float = 0.1  # share of the pairs that move by the landmarks, which jitter, themselves

    @property
    def from_flow(self) -> bool:
        """Whether optical flow is learned from."""
        return bool(self.flow or self.flow_keypoints)


@dataclass(frozen=True)
class MotionTrainingSettings(PairSettings):
    """Settings of a run of the animation networks."""

    # Anchored to 31 places, the paper's 10, or free; None: those of init, else dense.
    keypoints: KeypointsName | None = None
    # The motions to choose from include the head's as a whole; None: as init's, else yes.
    similarity: bool | None = None
    segmenter: bool | None = None  # maps of the photo's head help the dense motion network; None as above
    # Shoulders, hair and background have keypoints of their own, in fresh networks and in those of init;
    # None: as init's, else beside the 31 anchored ones with the similarity.
    free_keypoints: bool | None = None
    # Channels of the generator at 1/2, 1/4, ... of the image: of fresh networks, or what those of init are
    # pruned to; None: as they are.
    generator_widths: tuple[int, ...] | None = None
    encoder: EncoderName | None = None  # the keypoint detector's; None: that of init, else resnet18
    encoder_weights: str = "none"  # that it starts from: imagenet, a file of torchvision's, or none
    losses: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 32 or self.size % 16:  # the networks halve it four times
            raise UsageError(f"--size {self.size}: give a multiple of 16, at least 32")
        if self.init is not None and self.encoder_weights != "none":
            raise UsageError(
                f"--encoder-weights {self.encoder_weights}: --init {self.init} brings weights of its own; "
                "leave one of them away"
            )

    @property
    def pretrained(self) -> Mapping[str, str]:
        """See :class:`RunSettings`."""
        needed = dict(super().pretrained)
        if self.encoder_weights == "imagenet":
            needed[self.encoder or "resnet18"] = "--encoder-weights"
        return needed


@dataclass(frozen=True)
class FirstOrderLossWeights:
    """Weight of each term; 0 switches it off. The defaults are those of vox-256."""

    perceptual: float = 10.0  # on an image pyramid; of the sum over VGG-19's layers
    equivariance: float = 10.0  # L1 between keypoints of a deformed frame and the deformed keypoints
    equivariance_jacobian: float = 10.0  # the same of their Jacobians
    adversarial: float = 0.0  # least squares; 0: no discriminator at all. vox-adv-256 has 1
    feature_matching: float = 10.0  # of the discriminator's features, times the weight above


@dataclass(frozen=True)
class FirstOrderTrainingSettings(PairSettings):
    """Settings of a run of first-order-model's networks; ``init`` says which."""

    perceptual: str = "vgg19"  # as the original
    losses: FirstOrderLossWeights = field(default_factory=FirstOrderLossWeights)

    def __post_init__(self) -> None:
        super().__post_init__()
        seen = self.perceptual != "none" and self.losses.perceptual
        if not seen and not self.losses.adversarial:
            raise UsageError(
                "without the perceptual loss nothing teaches first-order-model's generator: "
                "give it a weight, or --loss adversarial=1"
            )


@dataclass(frozen=True)
class KeypointLossWeights:
    """Weight of each term; 0 switches it off."""

    points: float = 20.0  # L1 between keypoints and landmarks, in [-1, 1] units
    openings: float = 40.0  # the same of the differences of two: lids, lips, brows over the eyes
    expression: float = 2.0  # how much more a keypoint counts at eyes and mouth, and at pupils


@dataclass(frozen=True)
class KeypointTrainingSettings(ClipSettings):
    """Settings of a run of the keypoint detector alone; ``init`` holds it, and the networks that stay."""

    perceptual: str = "none"  # there are no pictures to compare
    batch: int = 32
    learning_rate: float = 8e-4
    warm_up: int = 100
    ema: float = 0.998
    losses: KeypointLossWeights = field(default_factory=KeypointLossWeights)


@dataclass(frozen=True)
class DetailLossWeights:
    """Weight of each term, on the patches around eyes and mouth; 0 switches it off."""

    patch_pixels: float = 2.0  # L1: what is uncertain is blurred by it
    patch_perceptual: float = 0.8  # Eq. 3
    patch_contrast: float = 1.0  # how much those features vary around each place
    patch_sharpness: float = 8.0  # how large the Laplacian is there
    patch_keypoints: float = 1.0  # where the detector sees eyes and mouth in result and driving frame


@dataclass(frozen=True)
class DetailTrainingSettings(ClipSettings):
    """Settings of a run of the refiner of larger results; ``init`` holds it or gets it, the rest stays."""

    batch: int = 16
    learning_rate: float = 1e-3
    warm_up: int = 50
    losses: DetailLossWeights = field(default_factory=DetailLossWeights)


@dataclass(frozen=True)
class SuperResolutionSettings(RunSettings):
    """Settings of a run of super-resolution."""

    learning_rate: float = 1e-3
    warm_up: int = 100
    clip_gradients: float = 1.0
    ema: float = 0.998
    validate_minutes: float = 5.0
    architecture: FaceSuperResolverSettings = SHIPPED_SUPER_RESOLVER  # without init
    perceptual_weight: float = 0.02  # against 1 for the L1 of Eq. 7: about as strong; 0: Eq. 7 alone
    perceptual_share: float = 0.4  # of a batch has its features compared, which costs more than all the rest
    size: int = 64  # pixels of a low-resolution crop; many small ones teach more than few large

    @property
    def pretrained(self) -> Mapping[str, str]:
        """See :class:`RunSettings`."""
        return super().pretrained if self.perceptual_weight else {}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
