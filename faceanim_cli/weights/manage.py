"""Manages weights on this machine: list, describe, verify, add, remove."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.files import file_sha256
from faceanim_cli.weights.catalogue import CATALOGUE, CatalogueEntry
from faceanim_cli.weights.file_kind import file_kind
from faceanim_cli.weights.hub import cached_file, delete_cached, source_url
from faceanim_cli.weights.inspect import identify
from faceanim_cli.weights.records import (
    added_path,
    assets_folder,
    converted_path,
    forget_sha256,
    last_sha256,
    record_sha256,
    recorded_files,
)
from faceanim_cli.weights.resolve import local_files, parse_repository
from faceanim_cli.weights.several_files import add_folder, cached_files, file_sources

CACHED = re.compile(r"models--(?P<user>.+?)--(?P<repo>.+)")  # a repository's folder in the Hub's cache
UNSTATED_LICENCES = {  # what is known of files that do not say
    "first-order": "not stated; first-order-model's own checkpoints: CC BY-NC 4.0 on their page",
    "thin-plate-spline": "not stated, nor by the pages that offer such checkpoints; their code is MIT",
}


@dataclass(frozen=True)
class WeightsInfo:
    """What is known about weights by name or about a file; None for what is not known."""

    name: str
    state: str  # shipped, or missing from the installation; here, or not fetched
    path: Path | None
    network: str | None
    licence: str | None
    kind: str | None = None
    parts: str | None = None
    parameters: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    sources: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """As JSON values."""
        values = {key.name: getattr(self, key.name) for key in dataclasses.fields(self)}
        path = None if self.path is None else str(self.path)
        return {**values, "path": path, "settings": dict(self.settings)}


@dataclass(frozen=True)
class VerifiedFile:
    """Whether a file still is what it was."""

    name: str
    path: Path
    sha256: str
    fault: str | None  # None: it is


def list_weights() -> list[WeightsInfo]:
    """The catalogue, then what came from repositories on the Hub."""
    entries = [_from_catalogue(entry) for entry in CATALOGUE.values()]
    fetched = [
        WeightsInfo(name, "here", path, None, None, bytes=path.stat().st_size, sha256=digest)
        for name, path, digest in _fetched_repositories()
    ]
    return entries + fetched


def describe_weights(name_or_file: str) -> WeightsInfo:
    """All that can be said without building a network or asking the Hub.

    Args:
        name_or_file: what ``--weights`` takes.

    Raises:
        WeightsError: no such thing on this machine, or a file that is no weights file, named for what it is.
    """
    entry = CATALOGUE.get(name_or_file)
    if entry is not None:
        known = _from_catalogue(entry)
        return known if known.path is None else _with_content(known, known.path)
    path = find_local(name_or_file)
    return _with_content(WeightsInfo(name_or_file, "here", path, None, None), path)


def find_local(spec: str) -> Path:
    """The file that a name, a path or a repository means, if it is on this machine; not checked.

    Raises:
        WeightsError: it is not.
    """
    entry = CATALOGUE.get(spec)
    if entry is not None:
        path = next(local_files(entry), None)
        if path is None:
            raise WeightsError(f"{spec} is not on this machine: faceanim weights pull {spec}")
        return path
    path = Path(spec).expanduser()
    if path.exists():
        return path
    source = parse_repository(spec)
    found = None if source is None else cached_file(source)
    if found is None:
        raise WeightsError(f"{spec}: no such weights on this machine; names are {', '.join(CATALOGUE)}")
    return found


def verify_weights() -> Iterator[VerifiedFile]:
    """Hash every weights file that faceanim keeps on this machine anew, whatever was remembered about it."""
    seen = set()
    for entry in CATALOGUE.values():
        for path, expected in _files_of(entry):
            seen.add(path.resolve())
            digest = file_sha256(path)
            if expected is None:
                try:
                    file_kind(path)
                    fault = None
                except WeightsError as error:
                    fault = str(error).removeprefix(f"{path}: ")
            else:
                fault = None if digest == expected else f"its SHA-256 should be {expected}"
            yield VerifiedFile(entry.name, path, digest, fault)
    for name, path, expected in _fetched_repositories():
        if path.resolve() not in seen:
            digest = file_sha256(path)
            yield VerifiedFile(
                name, path, digest, None if digest == expected else f"its SHA-256 was {expected}"
            )


def add_weights(file: Path) -> tuple[CatalogueEntry | None, Path]:
    """Take in a file of the catalogue that a person fetched by hand, recognised by its SHA-256; it is copied.

    Args:
        file: or a folder with LivePortrait's, of which one file is made.

    Returns:
        The entry that it is, None for files of LivePortrait's that are no entry's; and where it lies now.

    Raises:
        WeightsError: not a file of the catalogue; says what it is instead.
        UsageError: the folder for it cannot be written.
    """
    from faceanim_cli.media.atomic_file import whole_file  # noqa: PLC0415 (media imports OpenCV)

    if file.is_dir():
        return add_folder(file)
    if not file.is_file():
        raise WeightsError(f"{file}: no such file")
    digest = file_sha256(file)
    entry = next((entry for entry in CATALOGUE.values() if entry.sha256 == digest), None)
    if entry is None:
        raise WeightsError(_not_in_catalogue(file, digest))
    target = added_path(entry)
    if not (target.exists() and target.samefile(file)):
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as partial, file.open("rb") as source, partial.open("wb") as copy:
            while chunk := source.read(1 << 22):
                copy.write(chunk)
    record_sha256(target, digest)
    return entry, target


def remove_weights(spec: str) -> int:
    """Delete what was fetched or added under a name or from a repository, and copies that were made of it.

    Returns:
        The number of bytes that it took.

    Raises:
        UsageError: shipped weights, which come and go with the package.
        WeightsError: nothing of that name is here.
    """
    entry = CATALOGUE.get(spec)
    if entry is not None and entry.shipped is not None:
        raise UsageError(f"{spec} ships in the package and cannot be removed on its own")
    if entry is not None:
        paths = [path for path, _ in _files_of(entry)]
    else:
        source = parse_repository(spec)
        found = None if source is None else cached_file(source)
        paths = [] if found is None else [found]
    if not paths:
        raise WeightsError(f"{spec}: nothing to remove; faceanim weights list shows what is here")
    copies = _converted_copies(paths)
    freed = sum({path.resolve(): path.stat().st_size for path in paths + copies}.values())
    for copy in copies:
        copy.unlink()
    for path in paths:
        forget_sha256(path)
        delete_cached(path)
    return freed


def _files_of(entry: CatalogueEntry) -> Iterator[tuple[Path, str | None]]:
    """An entry's files on this machine, and what they should hash to; None if that is not known."""
    for path in local_files(entry):
        yield path, entry.sha256 or (last_sha256(path) if entry.files else None)
    for file, path in cached_files(entry).items():
        yield path, file.sha256


def _converted_copies(paths: list[Path]) -> list[Path]:
    """The slim copies that loading other projects' checkpoints leaves."""
    if not assets_folder("converted").is_dir():
        return []
    return [copy for copy in map(converted_path, paths) if copy.is_file()]


def _from_catalogue(entry: CatalogueEntry) -> WeightsInfo:
    path = next(local_files(entry), None)
    there, absent = ("shipped", "missing") if entry.shipped is not None else ("here", "not fetched")
    return WeightsInfo(
        name=entry.name,
        state=absent if path is None else there,
        path=path,
        network=entry.network,
        licence=entry.licence,
        parts=entry.parts,
        bytes=path.stat().st_size if path is not None else (entry.megabytes or 0) * 1_000_000 or None,
        sha256=entry.sha256,
        sources=tuple(
            source_url(source)
            for source in ([s for file in entry.files for s in file_sources(entry, file)] or entry.sources)
        ),
    )


def _with_content(known: WeightsInfo, path: Path) -> WeightsInfo:
    content = identify(path)
    licence = content.licence or known.licence
    licence = licence or UNSTATED_LICENCES.get(content.network)
    return dataclasses.replace(
        known,
        kind=content.kind,
        network=content.network,
        parameters=content.parameters,
        bytes=content.bytes,
        sha256=content.sha256 or known.sha256,
        licence=licence,
        settings=content.settings,
    )


def _fetched_repositories() -> Iterator[tuple[str, Path, str]]:
    """What was checked and belongs to no entry: name, path and hash."""
    ours = {path.resolve() for entry in CATALOGUE.values() for path, _ in _files_of(entry)}
    for path, digest in recorded_files():
        folder = next(filter(None, map(CACHED.fullmatch, path.parts)), None)
        if path.resolve() not in ours:
            yield (str(path) if folder is None else f"{folder['user']}/{folder['repo']}"), path, digest


def _not_in_catalogue(file: Path, digest: str) -> str:
    try:
        file_kind(file)
    except WeightsError as error:
        return str(error)
    return (
        f"{file}: weights, but none of the catalogue's (SHA-256 {digest}); they need no adding: "
        "--weights takes the file itself"
    )
