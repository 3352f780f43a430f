"""Weights that have a name: what they are, whose they are, where they come from, and their SHA-256.

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
class CatalogueEntry:
    """Weights by name: either shipped in the package or to be fetched from the Hub."""

    name: str
    network: str  # animation, super-resolution or first-order
    parts: str  # the networks inside, in words
    licence: str
    shipped: str | None = None  # a file of faceanim_models/weights; such an entry has no sources
    sources: tuple[HubSource, ...] = ()  # in the order in which they are tried
    megabytes: int | None = None  # as the source's page says; a shipped file is measured where it lies
    sha256: str | None = None  # None only for shipped files, which came with the code that reads them
    terms: str | None = None  # to be agreed to before the first download; None: nothing to agree to


FIRST_ORDER_TERMS = (
    "The authors of first-order-model put their repository under the MIT licence in June 2023; the page that "
    "these weights come from still shows CC BY-NC 4.0, which forbids commercial use. They were trained on "
    "VoxCeleb, a dataset for research. Take them as non-commercial unless you have cleared it."
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
        "discriminator": "discriminator.safetensors",
    }
)


def shipped_weights(name: str) -> Path:
    """Path of a file that ships in the package: nothing to download."""
    spec = find_spec("faceanim_models")  # finds the package without importing it, and torch with it
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "weights" / name
