"""Resolves ``--weights`` to a file on this machine: a catalogue name, a local file, or a repository."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.weights.catalogue import (
    CATALOGUE,
    REPO_FILENAMES,
    CatalogueEntry,
    HubSource,
    shipped_weights,
)
from faceanim_cli.weights.hub import cached_file, check, delete_cached, fetch, is_offline, source_url
from faceanim_cli.weights.records import accept_licence, added_path, last_sha256, licence_accepted
from faceanim_cli.weights.several_files import cached_files, fetch_files, merge_files

Confirm = Callable[[str], bool]

REPOSITORY = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[^\s:@]+))?(:(?P<filename>[^\s:]+))?"
)
# runs/best.pth is a file that is not there, no repository.
FILE_SUFFIXES = frozenset({".safetensors", ".pth", ".pt", ".tar", ".ckpt", ".bin"})


def resolve_weights(
    spec: str | Path,
    network: str = "animation",
    *,
    offline: bool = False,
    accept_license: bool = False,
    confirm: Confirm | None = None,
) -> Path:
    """The file that ``--weights`` means; fetched if need be, checked, and from then on there offline.

    Args:
        spec: a catalogue name (``fomm-vox-adv``), a local file, a folder with LivePortrait's five, or
            ``user/repo[@revision][:filename]``, a model repository on the Hub in our format. Names come
            first: ``./animation`` is a file.
        network: animation or super-resolution, which decides the default file name in a repository:
            ``animation.safetensors`` or ``super_resolution.safetensors``.
        offline: use only what is on this machine.
        accept_license: agree to terms that would be asked about.
        confirm: shown the terms before a first download, says whether a person agrees; None: nobody to ask.

    Raises:
        WeightsError: no such name or file, or it cannot be fetched, or is not what it should be.
        UsageError: terms that nobody has agreed to.
    """
    text = str(spec)
    if text in CATALOGUE:
        return pull(CATALOGUE[text], offline=offline, accept_license=accept_license, confirm=confirm)
    path = Path(spec).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        from faceanim_cli.weights.liveportrait import converted_folder  # noqa: PLC0415 (imports torch)

        return converted_folder(path)
    source = parse_repository(text, network)
    if source is None:
        names = ", ".join(CATALOGUE)
        raise WeightsError(f"{spec}: no such weights file, nor a name ({names}) or a repository (user/repo)")
    return _from_repository(text, source, offline)


def parse_repository(text: str, network: str = "animation") -> HubSource | None:
    """``user/repo[@revision][:filename]`` as a source; None if the text is not of that form."""
    match = REPOSITORY.fullmatch(text)
    if match is None or (match["filename"] is None and Path(match["repo"]).suffix in FILE_SUFFIXES):
        return None
    filename = match["filename"] or REPO_FILENAMES[network]
    if PurePosixPath(filename).is_absolute() or ".." in PurePosixPath(filename).parts or "\\" in filename:
        return None
    return HubSource(match["repo"], filename, match["revision"] or "main")


def pull(
    entry: CatalogueEntry,
    *,
    offline: bool = False,
    accept_license: bool = False,
    confirm: Confirm | None = None,
) -> Path:
    """An entry's file, fetched unless it is here already; arguments and errors as :func:`resolve_weights`."""
    if entry.shipped is not None:
        path = shipped_weights(entry.shipped)
        if not path.is_file():
            raise WeightsError(f"{path}: missing from the installation; reinstall faceanim-cli")
        return path
    absent = f"{entry.name} is not on this machine"
    for path in local_files(entry):
        try:
            check(path, entry.sha256 or last_sha256(path))
        except WeightsError as error:
            absent = f"{path} was damaged and deleted ({error})"
            delete_cached(path)  # fetched anew below
        else:
            return path
    several = len(entry.files) > 0 and len(cached_files(entry)) == len(entry.files)
    if is_offline(offline) and not several:
        raise WeightsError(
            f"{absent}, and --offline or HF_HUB_OFFLINE forbids fetching it: run "
            f"faceanim weights pull {entry.name} when there is a network; {by_hand(entry)}"
        )
    _agree(entry, accept_license, confirm)
    if entry.files:
        return merge_files(entry, fetch_files(entry, by_hand(entry)))
    return fetch(entry.name, entry.sources, entry.sha256, by_hand(entry))


def local_files(entry: CatalogueEntry) -> Iterator[Path]:
    """Where an entry's file lies on this machine, best first; nothing if it does not. Not checked."""
    if entry.shipped is not None:
        candidates = [shipped_weights(entry.shipped)]
    else:
        candidates = [added_path(entry)]
        if not entry.files:
            candidates += filter(None, map(cached_file, entry.sources))
    yield from (path for path in candidates if path.is_file())


def by_hand(entry: CatalogueEntry) -> str:
    """How a person gets an entry's file where this machine cannot: the end of an error message."""
    source = entry.sources[0]
    if entry.files:
        names = ", ".join(file.filename for file in entry.files)
        return (
            f"by hand: download {names} from {source.repo_id} ({source.filename} at {source.revision[:12]}, "
            f"{entry.megabytes} MB) and run faceanim weights add FOLDER"
        )
    return (
        f"by hand: download {source_url(source)} ({entry.megabytes} MB, SHA-256 {entry.sha256}) and run "
        f"faceanim weights add {source.basename} (it goes to {added_path(entry)})"
    )


def _agree(entry: CatalogueEntry, accept_license: bool, confirm: Confirm | None) -> None:
    if entry.terms is None or licence_accepted(entry):
        return
    if not accept_license:
        if confirm is None:
            raise UsageError(
                f"{entry.name} has terms to agree to. {entry.terms} If you agree, add --accept-license, once"
            )
        if not confirm(f"{entry.name}: {entry.terms}"):
            raise UsageError(f"{entry.name} was not fetched: its terms were not agreed to")
    accept_licence(entry)


def _from_repository(text: str, source: HubSource, offline: bool) -> Path:
    if is_offline(offline):
        found = cached_file(source)
        if found is None:
            raise WeightsError(
                f"{text} is not on this machine, and --offline or HF_HUB_OFFLINE forbids fetching it: run "
                f"faceanim weights pull {text} when there is a network"
            )
        check(found, None)
        return found
    by_hand = f"by hand: download {source_url(source)} and give the file itself: --weights {source.basename}"
    return fetch(text, [source], None, by_hand)
