"""The catalogue: what it promises about each entry, and what ``--weights`` makes of a text."""

import dataclasses
import re
from pathlib import Path

import pytest

from faceanim_cli.errors import UsageError, WeightsError
from faceanim_cli.files import file_sha256
from faceanim_cli.weights import records, resolve
from faceanim_cli.weights.catalogue import CATALOGUE, REPO_FILENAMES, CatalogueEntry, HubSource
from faceanim_cli.weights.resolve import parse_repository, resolve_weights

TERMS = CatalogueEntry(
    "with-terms", "first-order", "x", "x", sources=(HubSource("a/b", "x.pth"),), terms="Be kind."
)


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(records, "assets_folder", lambda *parts: tmp_path.joinpath("assets", *parts))
    return tmp_path / "assets"


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_an_entry_is_either_shipped_or_pinned(entry: CatalogueEntry) -> None:
    assert bool(entry.shipped) != bool(entry.sources)
    assert entry.parts and entry.licence and entry.network in REPO_FILENAMES
    if entry.sources:
        hashes = [file.sha256 for file in (*entry.files, *entry.mirrored)] or [entry.sha256]
        assert all(digest is not None and re.fullmatch("[0-9a-f]{64}", digest) for digest in hashes)
        assert entry.megabytes
        assert all(re.fullmatch("[0-9a-f]{40}", source.revision) for source in entry.sources)
    # Names come before files and repositories; one that looked like either would hide it.
    assert re.fullmatch("[a-z0-9-]+", entry.name)


def test_the_first_order_entry_has_two_sources_and_terms() -> None:
    entry = CATALOGUE["fomm-vox-adv"]
    assert [source.repo_type for source in entry.sources] == ["space", "space"]
    assert len({source.repo_id for source in entry.sources}) == 2
    assert entry.terms is not None
    assert "MIT" in entry.terms
    assert "CC BY-NC 4.0" in entry.terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann/faces", HubSource("ann/faces", "animation.safetensors", "main")),
        ("ann/faces@v1.0", HubSource("ann/faces", "animation.safetensors", "v1.0")),
        (
            "ann/faces@refs/pr/3:old/best.safetensors",
            HubSource("ann/faces", "old/best.safetensors", "refs/pr/3"),
        ),
        ("ann/faces:x.pth.tar", HubSource("ann/faces", "x.pth.tar", "main")),
        ("runs/best.safetensors", None),
        ("runs/vox-cpk.pth.tar", None),
        ("best.safetensors", None),
        ("a/b/c", None),
        ("/a/b", None),
        ("../b", None),
        ("ann/faces:../../x", None),
        ("ann/faces:/etc/passwd", None),
        ("ann/faces:a\\b", None),
        ("ann/faces@", None),
        ("C:/weights", None),
        ("", None),
    ],
)
def test_what_is_a_repository(text: str, expected: HubSource | None) -> None:
    assert parse_repository(text) == expected


def test_super_resolution_has_a_file_name_of_its_own() -> None:
    source = parse_repository("ann/faces", "super-resolution")
    assert source is not None
    assert source.filename == "super_resolution.safetensors"


def test_a_file_is_itself_and_a_name_comes_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = tmp_path / "shipped.safetensors"
    monkeypatch.setattr(resolve, "shipped_weights", lambda name: shipped)
    with pytest.raises(WeightsError, match="reinstall"):
        resolve_weights("animation")
    for name in ("shipped.safetensors", "animation", "best.pth.tar"):
        Path(name).touch()
    assert resolve_weights("best.pth.tar") == Path("best.pth.tar")
    assert resolve_weights(Path("best.pth.tar")) == Path("best.pth.tar")
    assert resolve_weights("./animation") == Path("animation")
    assert resolve_weights("animation", offline=True).samefile(shipped)


@pytest.mark.parametrize(
    ("spec", "said"),
    [("runs/best.pth", "no such weights file"), ("nothing", "fomm-vox-adv"), (".", "folder")],
)
def test_what_is_nothing_says_so(spec: str, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        resolve_weights(spec)


def test_terms_are_asked_once(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "CATALOGUE", {"with-terms": TERMS})
    monkeypatch.setattr(resolve, "is_offline", lambda asked: False)
    monkeypatch.setattr(resolve, "cached_file", lambda source: None)
    monkeypatch.setattr(resolve, "fetch", lambda *arguments: Path("fetched"))
    with pytest.raises(UsageError, match=r"Be kind\..*--accept-license"):
        resolve_weights("with-terms")
    with pytest.raises(UsageError, match="not agreed"):
        resolve_weights("with-terms", confirm=lambda terms: False)
    asked: list[str] = []
    assert resolve_weights("with-terms", confirm=lambda terms: not asked.append(terms)) == Path("fetched")
    assert asked == ["with-terms: Be kind."]
    assert resolve_weights("with-terms") == Path("fetched")  # remembered

    other = dataclasses.replace(TERMS, terms="Be kinder.")
    monkeypatch.setattr(resolve, "CATALOGUE", {"with-terms": other})
    with pytest.raises(UsageError, match="Be kinder"):
        resolve_weights("with-terms")
    assert resolve_weights("with-terms", accept_license=True) == Path("fetched")


def test_a_hash_is_remembered_until_the_file_changes(assets: Path, tmp_path: Path) -> None:
    file = tmp_path / "poids-caf\udce9"  # no text in UTF-8: a disk's from Latin-1 days
    file.write_bytes(b"one")
    assert records.recorded_sha256(file) is None
    records.record_sha256(file, file_sha256(file))
    assert records.recorded_sha256(file) == file_sha256(file)
    assert list(records.recorded_files()) == [(file, file_sha256(file))]
    file.write_bytes(b"other")
    assert records.recorded_sha256(file) is None
    (record,) = (assets / "checked").iterdir()
    record.write_text("{", encoding="utf-8")  # cut short by a power cut
    assert records.recorded_sha256(file) is None
    assert list(records.recorded_files()) == []
