"""The catalogue of named weights: contents, licences, sources, SHA-256.

A name is what ``--weights`` takes. Sources are pinned to a commit, so that a name means the same bytes for
ever; later ones are tried when earlier ones fail.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

RepoType: TypeAlias = Literal["model", "space"]

ANIMATION = "animation.safetensors"  # files that ship in the package
SUPER_RESOLUTION = "super_resolution.safetensors"
SQUEEZENET_FEATURES = "squeezenet1_1_features.safetensors"  # of a classifier: training sees with them


@dataclass(frozen=True)
class HubSource:
    """A file of a repository on the Hub."""

    repo_id: str  # user/repo
    filename: str  # path inside the repository
    revision: str = "main"  # a commit for what is pinned; a branch or a tag moves
    repo_type: RepoType = "model"

    @property
    def basename(self) -> str:
        """The file's name without the repository's folders."""
        return self.filename.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class EntryFile:
    """One of the files that some weights are published as."""

    filename: str  # in the source's folder
    bytes: int
    sha256: str


@dataclass(frozen=True)
class CatalogueEntry:
    """Weights by name: either shipped in the package or to be fetched from the Hub."""

    name: str
    network: str  # as checkpoints call it
    parts: str  # the networks inside, in words
    licence: str
    shipped: str | None = None  # a file of faceanim_models/weights; such an entry has no sources
    sources: tuple[HubSource, ...] = ()  # in the order in which they are tried
    megabytes: int | None = None  # as the source's page says; a shipped file is measured where it lies
    sha256: str | None = None  # None only for shipped files, which came with the code that reads them
    terms: str | None = None  # to be agreed to before the first download; None: nothing to agree to
    # What is published as several files, of which one is made: the sources' filenames are their folder, and
    # the hash of what is made is not known beforehand.
    files: tuple[EntryFile, ...] = ()
    mirrored: tuple[EntryFile, ...] = ()  # the same weights in other files, that a person may have


FIRST_ORDER_TERMS = (
    "The authors of first-order-model put their repository under the MIT licence in June 2023; the page that "
    "these weights come from still shows CC BY-NC 4.0, which forbids commercial use. They were trained on "
    "VoxCeleb, a dataset for research. Take them as non-commercial unless you have cleared it."
)

LIVEPORTRAIT_TERMS = (
    "The page of LivePortrait's weights and its code are under the MIT licence. Its paper says that they "
    "were trained on VoxCeleb, MEAD, RAVDESS and AAHQ, datasets for research, on 200 hours of portrait "
    "videos and on LightStage recordings; whether that allows commercial use is for you to clear. "
    "InsightFace's models, for research only, are not used here. Animate people who have agreed to it."
)

_ENTRIES = (
    CatalogueEntry(
        name="animation",
        network="animation",
        parts="keypoint detector, dense motion and generator, 256 x 256",
        licence="CC BY-NC 4.0",
        shipped=ANIMATION,
    ),
    CatalogueEntry(
        name="super-resolution",
        network="super-resolution",
        parts="face super-resolution, 256 to 512",
        licence="CC BY-NC 4.0",
        shipped=SUPER_RESOLUTION,
    ),
    CatalogueEntry(
        name="fomm-vox-adv",
        network="first-order",
        parts="first-order-model's keypoint detector and generator, VoxCeleb, adversarial, 256 x 256",
        licence="CC BY-NC 4.0 on its page; its code MIT since 2023",
        sources=(
            HubSource(
                "abhishek/first-order-motion-model",
                "weights/vox-adv-cpk.pth.tar",
                "331ab4cec82a51ee6aa9bfb0560b3c55988e048a",
                "space",
            ),
            HubSource(
                "islasher/first-order-motion-model",
                "weights/vox-adv-cpk.pth.tar",
                "d07f51e278b5d61ccafb3556f77bfa69025b0539",
                "space",
            ),
        ),
        megabytes=751,
        sha256="6792d6810d7f46e3c5c487a1cfec916b96fad8912c3c6cc81baa1fc300c820d3",
        terms=FIRST_ORDER_TERMS,
    ),
    CatalogueEntry(
        name="liveportrait",
        network="liveportrait",
        parts="LivePortrait's networks for people, 256 x 256 to 512 x 512",
        licence="MIT; trained on datasets for research",
        sources=(
            HubSource("KlingTeam/LivePortrait", "liveportrait", "82a4fa6735ca58432b6ce39301b4b9ee066dea47"),
        ),
        megabytes=522,
        terms=LIVEPORTRAIT_TERMS,
        files=(
            EntryFile(
                "base_models/appearance_feature_extractor.pth",
                3_387_959,
                "5279bb8654293dbdf327030b397f107237dd9212fb11dd75b83dfb635211ceb5",
            ),
            EntryFile(
                "base_models/motion_extractor.pth",
                112_545_506,
                "251e6a94ad667a1d0c69526d292677165110ef7f0cf0f6d199f0e414e8aa0ca5",
            ),
            EntryFile(
                "base_models/warping_module.pth",
                182_180_086,
                "2f61a6f265fe344f14132364859a78bdbbc2068577170693da57fb96d636e282",
            ),
            EntryFile(
                "base_models/spade_generator.pth",
                221_813_590,
                "4780afc7909a9f84e24c01d73b31a555ef651521a1fe3b2429bd04534d992aee",
            ),
            EntryFile(
                "retargeting_models/stitching_retargeting_module.pth",
                2_393_098,
                "3652d5a3f95099141a56986aaddec92fadf0a73c87a20fac9a2c07c32b28b611",
            ),
        ),
        mirrored=(  # Kijai/LivePortrait_safetensors, which declares no licence
            EntryFile(
                "appearance_feature_extractor.safetensors",
                3_361_936,
                "38bef5de50a92bf1fc66e8c511051a19dfacdf80c37f8713425ec15dc9ca7d34",
            ),
            EntryFile(
                "motion_extractor.safetensors",
                112_496_256,
                "3568cd410e29d046771acb55ecfdfe4c7c197d345bd8b7f95942ef63130b6c9e",
            ),
            EntryFile(
                "warping_module.safetensors",
                182_158_564,
                "f7b7834bd6039b4088f72e5161e60ad366f68a3763df8a3eac0bc0f9d46fdbbf",
            ),
            EntryFile(
                "spade_generator.safetensors",
                221_771_768,
                "ca04fbec765745e9eae836d2d7522c274647b277ce5f25104fa1705b75222212",
            ),
            EntryFile(
                "stitching_retargeting_module.safetensors",
                911_836,
                "60725cf3523ae413880da28ed583c9e84c5c25695a0cef1b77210ea31cc424ea",
            ),
        ),
    ),
)

CATALOGUE: Mapping[str, CatalogueEntry] = types.MappingProxyType({entry.name: entry for entry in _ENTRIES})

# What a repository in our format calls its file, by network: ``weights push`` writes it.
REPO_FILENAMES: Mapping[str, str] = types.MappingProxyType(
    {
        "animation": "animation.safetensors",
        "super-resolution": "super_resolution.safetensors",
        # These animate, too: --weights user/repo need not know which it is.
        "first-order": "animation.safetensors",
        "thin-plate-spline": "animation.safetensors",
        "liveportrait": "animation.safetensors",
        "discriminator": "discriminator.safetensors",
    }
)


def shipped_weights(name: str) -> Path:
    """Path of a file that ships in the package: nothing to download."""
    spec = find_spec("faceanim_models")  # finds the package without importing it, and torch with it
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "weights" / name
