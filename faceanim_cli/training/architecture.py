"""Architecture of the shipped animation networks: keypoints, patches and sizes."""

import types
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
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
from faceanim_cli.motion.head_model import HEAD, anchor_means, bone_weights
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

# Where planes through the head lie that move as it turns in depth: from the mean of its bone, the outer eye
# corners being 1 apart. Ears, and hair at the sides and at the back. Of the sets of three tried they left the
# least of frames unexplained, on training people.
HEAD_DEPTHS = (-0.6, -1.2, -2.0)
EAR_DEPTH = -0.5  # keypoints there or deeper are at the ears

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


def add_head_planes(model: AnimationModel) -> AnimationModel:
    """The model with planes through the head among its motions; as it is if it has them already.

    They start where the keypoints on the ears move the picture, which lie at such a depth and until now carry
    the hair, with a small part of their share: the picture changes by less than a tenth of a decibel, and
    gradients reach them. The new views of the photo count nothing at first.

    Raises:
        UsageError: its keypoints are free, or there is no similarity, beside which the planes come.
    """
    if model.settings.motion.head_depths:
        return model
    if not model.settings.anchors or not model.settings.motion.use_similarity:
        raise UsageError("--head-planes: for networks with anchored keypoints and the similarity")
    old, depths = model.settings.motion, len(HEAD_DEPTHS)
    settings = replace(model.settings, motion=replace(old, head_depths=HEAD_DEPTHS))
    grown, state = AnimationModel(settings), dict(model.state_dict())
    first = model.dense_motion.candidates - old.num_keypoints  # of the keypoints' motions
    depth = anchor_means(HEAD, moved(model.settings.anchors))[:, 2]
    ears = first + np.flatnonzero(depth <= max(EAR_DEPTH, depth.min()))
    stem = state["dense_motion.unet.stem.conv.weight"]
    # The views' channels come by colour, and in each by candidate.
    views = stem[:, : 3 * model.dense_motion.candidates].unflatten(1, (3, -1))
    fresh = torch.zeros_like(views[:, :, :depths])
    views = torch.cat((views[:, :, :first], fresh, views[:, :, first:]), dim=2).flatten(1, 2)
    rest = stem[:, 3 * model.dense_motion.candidates :]
    state["dense_motion.unet.stem.conv.weight"] = torch.cat((views, rest), dim=1)
    for name, above in (("weight", 0.0), ("bias", -1.0)):
        key = f"dense_motion.mixture.{name}"
        rows = state[key]
        fresh = rows[ears].mean(0, keepdim=True).expand(depths, *rows.shape[1:]) + above
        state[key] = torch.cat((rows[:first], fresh, rows[first:]))
    state["dense_motion.planes.fit"] = torch.zeros(old.num_keypoints, 4)
    grown.load_state_dict(state)
    assert grown.dense_motion.planes is not None
    anchors = moved(model.settings.anchors)
    weights = bone_weights(anchors)
    head = torch.from_numpy(anchor_means(HEAD, anchors))
    grown.dense_motion.planes.lay_on(head, torch.from_numpy(weights / weights.sum()))
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
