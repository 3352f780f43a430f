"""Architecture of the shipped animation networks: keypoints, patches and sizes."""

import types
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from faceanim_cli.data.landmarks import (
    DENSE_ANCHORS,
    PAPER_ANCHORS,
    PUPILS,
    Anchors,
    anchored_keypoints,
)
from faceanim_cli.errors import UsageError
from faceanim_cli.motion.head_model import HEAD, bone_weights
from faceanim_cli.training.settings import EncoderName, KeypointsName
from faceanim_models import (
    AnimationModel,
    AnimationSettings,
    DenseMotionSettings,
    GeneratorSettings,
    KeypointDetectorSettings,
)
from faceanim_models.detail_refiner import DetailRefinerSettings
from faceanim_models.face_patches import PatchSettings
from faceanim_models.free_keypoints import FreeKeypointSettings
from faceanim_models.keypoint_refiner import KeypointRefinerSettings

PUPIL_ANCHORS: Anchors = tuple((pupil,) for pupil in PUPILS)
SHIPPED_ANCHORS: Anchors = (*DENSE_ANCHORS, *PUPIL_ANCHORS)
ANCHORS: Mapping[KeypointsName, Anchors] = types.MappingProxyType(
    {"dense": SHIPPED_ANCHORS, "paper": PAPER_ANCHORS, "free": ()}
)

# What lies in the patches, as anchors: of each eye from its outer side to the inner, and of the mouth.
EYE_CORNERS: tuple[Anchors, Anchors] = (((36,), (39,)), ((45,), (42,)))
LIDS: tuple[Anchors, Anchors] = (((37, 38), (40, 41)), ((43, 44), (46, 47)))
BROWS: tuple[Anchors, Anchors] = (((17, 18), (19,), (21,)), ((25, 26), (24,), (22,)))
MOUTH: Anchors = ((48,), (54,), (51,), (57,), (62,), (66,))
MOUTH_CENTRE: Anchors = MOUTH[:4]

# How the head model is framed: how far its outer eye corners are apart, and how high they lie, in [-1, 1].
FRAMED_EYES, FRAMED_HEIGHT = 0.584, -0.118


def shipped_architecture(
    size: int,
    anchors: Anchors = SHIPPED_ANCHORS,
    similarity: bool = True,
    segmenter: bool = True,
    encoder: EncoderName = "resnet18",
) -> AnimationSettings:
    """The settings of the shipped model, or of one like it with other keypoints, candidate motions or parts.

    With the shipped model's anchors eyes and mouth are found and painted on patches at full resolution, and
    the pupils are known to those alone. Without anchors there are as many keypoints, found freely.
    """
    count = len(moved(anchors)) or len(DENSE_ANCHORS)
    refiner = details = None
    if anchors == SHIPPED_ANCHORS:
        rigid = tuple(int(k) for k in bone_weights(anchors).nonzero()[0])
        refiner = KeypointRefinerSettings(_patches(brows=True), rigid)
        details = DetailRefinerSettings(_patches(brows=False), rigid)
    return AnimationSettings(
        KeypointDetectorSettings(len(anchors) or count, encoder, refiner=refiner),
        DenseMotionSettings(count, use_similarity=similarity, photo_channels=4 if segmenter else 0),
        GeneratorSettings(count),
        anchors,
        size,
        details,
    )


def moved(anchors: Anchors) -> Anchors:
    """Those of the keypoints that move the picture: all but the pupils."""
    return tuple(group for group in anchors if group not in PUPIL_ANCHORS)


def add_free_keypoints(model: AnimationModel) -> AnimationModel:
    """The model with free keypoints beside the anchored ones; as it is if it has them already.

    They start as motions to choose from with a small part of the share that anchored keypoints have near
    their own place: the picture hardly changes, and gradients reach them. What the network sees of them
    counts nothing at first.

    Raises:
        UsageError: all its keypoints are free, or there is no similarity, which those of the hair follow.
    """
    if model.settings.free_keypoints is not None:
        return model
    if not model.settings.anchors or not model.settings.motion.use_similarity:
        raise UsageError("--free-keypoints: for networks with anchored keypoints and the similarity")
    free, old = FreeKeypointSettings(), model.settings.motion
    count = len(free.homes)
    settings = replace(model.settings, motion=replace(old, free_keypoints=count), free_keypoints=free)
    grown, state = AnimationModel(settings), dict(model.state_dict())
    stem = state["dense_motion.unet.stem.conv.weight"]
    none = torch.zeros(len(stem), count, *stem.shape[2:])
    # Channels of views come by colour, and in each by candidate; after them the heatmaps.
    *views, heatmaps, rest = stem.split(
        [model.dense_motion.candidates] * 3 + [old.num_keypoints, 2 * old.photo_channels], dim=1
    )
    parts = [part for known in (*views, heatmaps) for part in (known, none)]
    state["dense_motion.unet.stem.conv.weight"] = torch.cat((*parts, rest), dim=1)
    first = model.dense_motion.candidates - old.num_keypoints  # of the keypoints' motions
    for name, above in (("weight", 0.0), ("bias", -2.0)):
        key = f"dense_motion.mixture.{name}"
        rows = state[key]
        fresh = rows[first:].mean(0, keepdim=True).expand(count, *rows.shape[1:]) + above
        state[key] = torch.cat((rows, fresh))
    locality = grown.dense_motion.locality.detach().clone()
    locality[: old.num_keypoints] = state["dense_motion.locality"]
    state["dense_motion.locality"] = locality
    grown.load_state_dict(grown.state_dict() | state)
    return grown


def add_large_details(model: AnimationModel) -> AnimationModel:
    """The model with a refiner of results larger than its frames; as it is if it has one.

    It starts by changing nothing.
    """
    details = model.settings.details
    if model.large_details is not None or details is None:
        return model
    patches = tuple(
        replace(kind, pixels=(2 * kind.pixels[0], 2 * kind.pixels[1])) for kind in details.patches
    )
    large = replace(details, patches=patches, fold=2 * details.fold)
    grown = AnimationModel(replace(model.settings, large_details=large))
    grown.load_state_dict(model.state_dict(), strict=False)
    assert grown.large_details is not None and model.details is not None
    grown.large_details.patches.load_state_dict(model.details.patches.state_dict())
    return grown


def set_mean_face(model: AnimationModel) -> None:
    """Tell a fresh model's patches how the keypoints of a mean face are framed; trained ones know it."""
    for part in (model.keypoint_detector.refiner, model.details, model.large_details):
        if part is not None:
            part.patches.mean_face.copy_(_framed_head(model.settings.anchors))


def _framed_head(anchors: Anchors) -> Tensor:
    points = anchored_keypoints(HEAD[:, :2], anchors) * FRAMED_EYES + (0, FRAMED_HEIGHT)
    return torch.from_numpy(points).float()


def _patches(brows: bool) -> tuple[PatchSettings, PatchSettings]:
    """Where eyes and mouth are seen: by the detector, together with the brows, or by the detail refiner.

    A patch is seen at the pixels that it has in a crop of 256: its width and height times 128.
    """

    def places(groups: Anchors) -> tuple[int, ...]:
        return tuple(SHIPPED_ANCHORS.index(group) for group in groups)

    eyes = tuple(
        places((*EYE_CORNERS[side], *LIDS[side], *(BROWS[side] if brows else ()), PUPIL_ANCHORS[side]))
        for side in (0, 1)
    )
    corners = tuple(map(places, EYE_CORNERS))
    mouth, centre = places(MOUTH), places(MOUTH_CENTRE)
    if brows:
        eye = PatchSettings(corners, eyes, (False, True), -0.05, 0.5, 0.5, (64, 64))
        return eye, PatchSettings((centre,), (mouth,), (False,), 0.0, 0.625, 0.5, (64, 80))
    eye = PatchSettings(corners, eyes, (False, True), 0.0, 0.5, 0.375, (48, 64))
    return eye, PatchSettings((centre,), (mouth,), (False,), 0.0, 0.75, 0.5, (64, 96))
