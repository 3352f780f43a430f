"""Weights that are published as several files and kept as one: LivePortrait's five."""

from dataclasses import replace
from pathlib import Path

from faceanim_cli.errors import WeightsError
from faceanim_cli.files import file_sha256
from faceanim_cli.weights.catalogue import CATALOGUE, CatalogueEntry, EntryFile, HubSource
from faceanim_cli.weights.hub import cached_file, fetch
from faceanim_cli.weights.liveportrait_layout import complete_files
from faceanim_cli.weights.records import added_path, record_sha256


def file_sources(entry: CatalogueEntry, file: EntryFile) -> list[HubSource]:
    """Where one of an entry's files is, in the order in which sources are tried."""
    return [replace(source, filename=f"{source.filename}/{file.filename}") for source in entry.sources]


def cached_files(entry: CatalogueEntry) -> dict[EntryFile, Path]:
    """The entry's files in the Hub's cache; not checked."""
    found = {}
    for file in entry.files:
        there = [path for path in map(cached_file, file_sources(entry, file)) if path is not None]
        if there:
            found[file] = there[0]
    return found


def fetch_files(entry: CatalogueEntry, by_hand: str) -> list[Path]:
    """All of an entry's files, each checked by its hash; those in the Hub's cache are not fetched again.

    Raises:
        WeightsError: one cannot be had; the message ends with ``by_hand``.
    """
    return [
        fetch(f"{entry.name}, {file.filename}", file_sources(entry, file), file.sha256, by_hand)
        for file in entry.files
    ]


def merge_files(entry: CatalogueEntry, files: list[Path]) -> Path:
    """The entry's one file, made of its several.

    Raises:
        WeightsError: they are not what the entry says. UsageError: it cannot be written.
    """
    from faceanim_cli.weights.liveportrait import convert_liveportrait  # noqa: PLC0415 (imports torch)

    target = added_path(entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    revision = entry.sources[0].revision
    convert_liveportrait(files, target, {"licence": entry.licence, "revision": revision})
    record_sha256(target, file_sha256(target))
    return target


def add_folder(folder: Path) -> tuple[CatalogueEntry | None, Path]:
    """Take in LivePortrait's files from a folder: its five as published, or the same as safetensors.

    Returns:
        The catalogue's entry, or None where they are others than its; and the one file that was made of them.

    Raises:
        WeightsError: one is missing or damaged, or they are of two revisions.
    """
    from faceanim_cli.weights.liveportrait import converted_folder  # noqa: PLC0415 (imports torch)

    files = complete_files(folder)
    entry = CATALOGUE["liveportrait"]
    known = {file.sha256 for file in (*entry.files, *entry.mirrored)}
    others = [path.name for path in files.values() if file_sha256(path) not in known]
    if not others:
        return entry, merge_files(entry, list(files.values()))
    if len(others) < len(files):
        raise WeightsError(
            f"{folder}: files of two revisions: {', '.join(others)} differ from {entry.name} of the "
            "catalogue, the others do not; take all five from one revision"
        )
    return None, converted_folder(folder)
