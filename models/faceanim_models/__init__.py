"""The networks of faceanim: torch only, no files, no command line, no globals."""

from faceanim_models.animation_model import AnimationModel, AnimationSettings, Keypoints, PhotoCode
from faceanim_models.dense_motion import DenseMotion, DenseMotionNetwork, DenseMotionSettings
from faceanim_models.discriminator import PatchDiscriminator, PatchDiscriminatorSettings
from faceanim_models.first_order import FirstOrderModel, FirstOrderSettings
from faceanim_models.generator import Generated, Generator, GeneratorSettings
from faceanim_models.keypoint_detector import KeypointDetector, KeypointDetectorSettings
from faceanim_models.liveportrait.model import LivePortraitCode, LivePortraitModel, LivePortraitSettings
from faceanim_models.liveportrait.motion_extractor import HeadMotion
from faceanim_models.super_resolver import FaceSuperResolver, FaceSuperResolverSettings

__all__ = [
    "AnimationModel",
    "AnimationSettings",
    "DenseMotion",
    "DenseMotionNetwork",
    "DenseMotionSettings",
    "FaceSuperResolver",
    "FaceSuperResolverSettings",
    "FirstOrderModel",
    "FirstOrderSettings",
    "Generated",
    "Generator",
    "GeneratorSettings",
    "HeadMotion",
    "KeypointDetector",
    "KeypointDetectorSettings",
    "Keypoints",
    "LivePortraitCode",
    "LivePortraitModel",
    "LivePortraitSettings",
    "PatchDiscriminator",
    "PatchDiscriminatorSettings",
    "PhotoCode",
]
