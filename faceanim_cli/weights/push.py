"""Uploads weights to the Hub with a model card."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.files import file_sha256, parse_json
from faceanim_cli.weights.catalogue import REPO_FILENAMES
from faceanim_cli.weights.file_kind import read_metadata
from faceanim_cli.weights.hub import is_offline
from faceanim_cli.weights.inspect import WeightsDescription, describe
from faceanim_cli.weights.resolve import parse_repository

GENERATED = (
    "<!-- Written by faceanim weights push. Without this line the next push leaves your text alone. -->"
)
# Metadata that has a place of its own in a card; the rest are notes.
NO_NOTES = frozenset({"faceanim", "network", "settings", "licence", "scores", "format"})
# What the Hub calls the licences that our metadata is likely to name; its search filters by these.
HUB_LICENCES: Mapping[str, str] = {
    "cc by-nc 4.0": "cc-by-nc-4.0",
    "cc by 4.0": "cc-by-4.0",
    "cc by-sa 4.0": "cc-by-sa-4.0",
    "apache 2.0": "apache-2.0",
    "mit license": "mit",
}


@dataclass(frozen=True)
class UploadedWeights:
    """Where weights were uploaded to."""

    url: str
    spec: str  # what --weights takes, pinned to this upload


def push_weights(
    file: Path, repo_id: str, *, private: bool = False, licence: str | None = None, message: str | None = None
) -> UploadedWeights:
    """Upload weights with a card; the repository is created if there is none. A card of one's own stays.

    Args:
        file: weights in our format.
        repo_id: ``user/repo``.
        private: whether a repository that is created is private; an existing one stays as it is.
        licence: under which the weights are shared, such as ``cc-by-nc-4.0``; None takes what the file says.
        message: the commit's title.

    Raises:
        UsageError: no token, no licence, a name that is none, or no network allowed.
        WeightsError: not weights in our format, or the Hub refused.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token  # noqa: PLC0415

    target = parse_repository(repo_id)
    if target is None or target.repo_id != repo_id:
        raise UsageError(f"{repo_id}: name the repository as user/repo")
    metadata, content = read_metadata(file), describe(file)
    licence = licence or content.licence or metadata.get("licence")
    if not licence:
        raise UsageError(f"{file} does not say its licence: add --license, such as --license cc-by-nc-4.0")
    if is_offline():
        raise UsageError("HF_HUB_OFFLINE is set: unset it to push")
    if get_token() is None:
        raise UsageError("pushing needs a token with write access: run hf auth login, or set HF_TOKEN")
    filename = REPO_FILENAMES[content.network]
    digest = file_sha256(file)
    card = model_card(content, metadata, repo_id=repo_id, filename=filename, licence=licence, sha256=digest)
    api = HfApi(library_name="faceanim")
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        operations = [CommitOperationAdd(filename, file)]
        if not _has_card_of_its_own(repo_id):
            operations.append(CommitOperationAdd("README.md", card.encode()))
        title = message or f"Upload {filename} with faceanim"
        commit = api.create_commit(repo_id, operations, commit_message=title)
    except Exception as error:  # those of whatever the client is built on: requests, httpx or hf-xet
        first_line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise WeightsError(f"{file}: not uploaded to {repo_id}: {first_line}") from error
    return UploadedWeights(f"{api.endpoint}/{repo_id}", f"{repo_id}@{commit.oid}")


def model_card(
    content: WeightsDescription,
    metadata: Mapping[str, str],
    *,
    repo_id: str,
    filename: str,
    licence: str,
    sha256: str,
) -> str:
    """The README.md of a repository of weights: YAML front matter for the Hub, then what a person asks.

    Scores come from the file's ``scores`` note (JSON of names and numbers, or text); other notes are quoted.
    """
    from huggingface_hub import ModelCardData  # noqa: PLC0415

    hub_licence = HUB_LICENCES.get(licence.lower(), licence.lower())
    known = " " not in hub_licence
    front = ModelCardData(
        library_name="faceanim",
        license=hub_licence if known else "other",
        license_name=None if known else licence,
        pipeline_tag="image-to-video" if content.network != "super-resolution" else "image-to-image",
        tags=["faceanim", "face-animation", content.network],
    ).to_yaml()
    notes = {key: value for key, value in metadata.items() if key not in NO_NOTES}
    facts = {
        "Network": content.network,
        "Parameters": f"{content.parameters:,}",
        "File": f"`{filename}`, {content.bytes:,} bytes",
        "SHA-256": f"`{sha256}`",
        "Licence": licence,
    }
    title = f"---\n{front}\n---\n{GENERATED}\n\n# {repo_id.split('/')[1]}"
    sections = [title, _use(content.network, repo_id)]
    sections.append("## What it is\n\n" + _table("", "", facts))
    sections.append("## Scores\n\n" + _scores(metadata.get("scores")))
    if notes:
        sections.append("## Notes of the training\n\n" + _table("Note", "", notes))
    settings = json.dumps(content.settings, indent=2, default=str)
    sections.append(f"## Settings\n\n```json\n{settings}\n```")
    sections.append("## Use with care\n\nAnimate people who agreed to it, and say that a video is generated.")
    return "\n\n".join(sections) + "\n"


def _has_card_of_its_own(repo_id: str) -> bool:
    from huggingface_hub import HfApi  # noqa: PLC0415

    if not HfApi().file_exists(repo_id, "README.md"):
        return False
    card = Path(HfApi().hf_hub_download(repo_id, "README.md"))
    return GENERATED not in card.read_text(encoding="utf-8")


def _use(network: str, repo_id: str) -> str:
    weights = f"Weights ({network}) for faceanim, which animates a face photo with the motion of a video."
    if REPO_FILENAMES[network] != REPO_FILENAMES["animation"]:
        return weights
    command = f"faceanim animate photo.jpg driver.mp4 -o out.mp4 --weights {repo_id}"
    return f"{weights}\n\n```sh\npip install faceanim-cli\n{command}\n```"


def _scores(text: str | None) -> str:
    if not text:
        return "None were measured for this file."
    try:
        scores = parse_json(text)
    except ValueError:
        return text
    return _table("Measure", "Score", scores) if isinstance(scores, dict) else text


def _table(first: str, second: str, rows: Mapping[str, object]) -> str:
    lines = [f"| {first} | {second} |", "|---|---|"]
    return "\n".join(lines + [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items()])


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())
