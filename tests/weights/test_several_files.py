"""Weights of five files: fetched with the Hub's client from a Hub on this machine, or from a folder."""

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file

from faceanim_cli.errors import WeightsError
from faceanim_cli.weights import manage, resolve, several_files
from faceanim_cli.weights.catalogue import CATALOGUE, CatalogueEntry, EntryFile, HubSource
from faceanim_cli.weights.file_kind import read_metadata
from faceanim_cli.weights.inspect import describe
from faceanim_cli.weights.load import load_weights
from faceanim_cli.weights.manage import add_weights
from faceanim_models import LivePortraitModel
from tests.hub_server import COMMIT, Hub, Machine, run_hub
from tests.liveportrait import TINY, published, save_published, tiny_liveportrait

Run = Callable[..., tuple[int, str, str]]
NAMES = [file.filename for file in CATALOGUE["liveportrait"].files]
REFERENCE = Path(__file__).parents[2].parent / "shared" / "liveportrait"


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The five, by the names that they are published under; in the last an optimizer of 24 MB."""
    folder = tmp_path_factory.mktemp("published")
    contents = published(tiny_liveportrait())
    contents["stitching"]["optimizer_lip"] = {"state": {0: {"exp_avg": torch.rand(6_000_000)}}}
    for name, content in zip(NAMES, contents.values(), strict=True):
        torch.save(content, folder / Path(name).name)
    return {name: (folder / Path(name).name).read_bytes() for name in NAMES}


def entry_of(bodies: dict[str, bytes]) -> CatalogueEntry:
    files = tuple(
        EntryFile(name, len(body), hashlib.sha256(body).hexdigest()) for name, body in bodies.items()
    )
    source = HubSource("ann/LivePortrait", "liveportrait", COMMIT)
    return dataclasses.replace(
        CATALOGUE["liveportrait"], sources=(source,), files=files, terms="Be kind.", mirrored=()
    )


@pytest.fixture
def hub(bodies: dict[str, bytes]) -> Iterator[Hub]:
    with run_hub() as hub:
        for name, body in bodies.items():
            hub.put(url(name), body)
        yield hub


@pytest.fixture
def machine(tmp_path: Path, hub: Hub, bodies: dict[str, bytes]) -> Machine:
    return Machine(tmp_path / "home", hub, [entry_of(bodies)])


@pytest.fixture
def here(machine: Machine, bodies: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, faceanim: Run) -> Run:
    """The machine's command line in this process, where torch is loaded; the network is not to be asked."""
    for folder, name in (("HF_ASSETS_CACHE", "assets"), ("HF_HUB_CACHE", "hub")):
        monkeypatch.setattr(huggingface_hub.constants, folder, str(machine.home / name))
    for module in (manage, resolve, several_files):
        monkeypatch.setattr(module, "CATALOGUE", {"liveportrait": entry_of(bodies)})
    return faceanim


def url(name: str) -> str:
    return f"ann/LivePortrait/resolve/{COMMIT}/liveportrait/{name}"


PULL = ("weights", "pull", "liveportrait")


def test_five_are_fetched_one_is_made_and_then_nothing_is_asked(
    machine: Machine, hub: Hub, here: Run
) -> None:
    hub.files[url(NAMES[4])].cut_after = 15_000_000
    code, _, err = machine.run(*PULL)
    assert (code, "Be kind." in err, hub.asked("GET")) == (2, True, [])
    code, out, _ = machine.run(*PULL, "--accept-license")
    assert code == 0
    slim = Path(out.strip())
    assert read_metadata(slim)["revision"] == COMMIT
    assert slim.stat().st_size < 3_000_000  # without the optimizer
    assert load_weights(slim).settings == TINY
    assert [request.range for request in hub.asked("GET", NAMES[4])] == [None, f"bytes={10 * 2**20}-"]
    assert len(hub.asked("GET")) == 6

    seen = len(hub.requests)
    assert here(*PULL, "--offline") == (0, out, "")
    slim.write_bytes(slim.read_bytes()[:-100])  # damaged: made anew of what was fetched
    assert here("weights", "verify")[0] == 4
    assert here(*PULL, "--offline") == (0, out, "")
    assert load_weights(slim).settings == TINY
    assert len(hub.requests) == seen
    assert here("weights", "remove", "liveportrait")[0] == 0
    assert machine.cached() == []
    assert not slim.exists()


def test_one_that_is_corrupt_and_one_that_is_missing_are_named(
    machine: Machine, hub: Hub, bodies: dict[str, bytes]
) -> None:
    right = bodies[NAMES[1]]
    hub.put(url(NAMES[1]), b"x" * len(right), stated=right)  # the Hub states the right hash
    code, _, err = machine.run(*PULL, "--accept-license")
    assert code == 4
    assert f"cannot fetch liveportrait, {NAMES[1]}: " in err
    assert "its SHA-256 is" in err
    assert "weights add FOLDER" in err
    hub.put(url(NAMES[1]), right)
    lost = hub.files.pop(url(NAMES[3]))
    code, _, err = machine.run(*PULL)
    assert code == 4
    assert f"cannot fetch liveportrait, {NAMES[3]}: ann/LivePortrait: 404" in err
    hub.files[url(NAMES[3])] = lost
    code, _, _ = machine.run(*PULL)
    assert code == 0
    assert len(hub.asked("GET", NAMES[0])) == 1  # what was right is not fetched again


def test_offline_it_is_said_how_to_get_them(machine: Machine, hub: Hub) -> None:
    code, _, err = machine.run(*PULL, "--offline")
    assert code == 4
    assert err.count("\n") == 1
    assert all(name in err for name in NAMES)
    assert hub.requests == []


class TestFolders:
    @pytest.fixture(autouse=True)
    def assets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))

    @pytest.fixture
    def folder(self, tmp_path: Path, bodies: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
        """As a person downloads them; they are the catalogue's."""
        for name, body in bodies.items():
            (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mine" / name).write_bytes(body)
        monkeypatch.setattr(several_files, "CATALOGUE", {"liveportrait": entry_of(bodies)})
        return tmp_path / "mine"

    def test_the_catalogues_files_are_its_entry(self, folder: Path) -> None:
        entry, path = add_weights(folder)
        assert entry is not None
        assert path.name == "liveportrait.safetensors"
        assert load_weights(path).settings == TINY

    def test_other_files_are_taken_too_but_have_no_name(self, tmp_path: Path) -> None:
        save_published(tiny_liveportrait(), tmp_path / "own")
        entry, path = add_weights(tmp_path / "own")
        assert entry is None
        assert load_weights(path).settings == TINY

    def test_files_of_two_revisions(self, folder: Path, bodies: dict[str, bytes]) -> None:
        content: OrderedDict = torch.load(folder / NAMES[2], weights_only=True)
        torch.save(OrderedDict((key, value + 1) for key, value in content.items()), folder / NAMES[2])
        with pytest.raises(WeightsError, match=r"files of two revisions: warping_module\.pth differ"):
            add_weights(folder)

    def test_a_file_that_is_not_there(self, folder: Path) -> None:
        (folder / NAMES[3]).unlink()
        for way_in in (add_weights, describe):
            with pytest.raises(WeightsError, match=r"mine: .*missing: spade_generator \("):
                way_in(folder)

    def test_a_folder_is_described(self, folder: Path) -> None:
        seen = describe(folder)
        parameters = sum(p.numel() for p in LivePortraitModel(TINY).parameters())
        assert (seen.kind, seen.network, seen.parameters) == (
            "LivePortrait's five files", "liveportrait", parameters,
        )  # fmt: skip

    @pytest.mark.parametrize("mirror", [False, True])
    def test_one_alone_is_named_for_what_it_is(self, folder: Path, tmp_path: Path, mirror: bool) -> None:
        path = folder / NAMES[0]
        if mirror:
            path = tmp_path / "appearance.safetensors"
            save_file(dict(torch.load(folder / NAMES[0], weights_only=True)), path)
        assert describe(path).kind == "LivePortrait's appearance_feature_extractor, one of five files"
        with pytest.raises(WeightsError, match="one of five files; give --weights the folder"):
            load_weights(path)


def test_the_catalogue_lists_the_published_files() -> None:
    """The sizes of tensors, which the list of keys gives, and no more than a little around them."""
    keys = REFERENCE / "keys.txt"
    if not keys.is_file():
        pytest.skip("the list of published keys is not here")
    sizes = {
        line.split()[1].rstrip(":"): int(line.split()[-2])
        for line in keys.read_text().splitlines()
        if line.startswith("# ") and line.endswith(" bytes")
    }
    files = {Path(file.filename).name: file.bytes for file in CATALOGUE["liveportrait"].files}
    assert sizes.keys() == set(list(files)[:4])
    for name, size in sizes.items():
        assert 0 < files[name] - size < 1000 * 110  # of up to 212 tensors' names and entries
    assert sum(files.values()) == pytest.approx(1e6 * (CATALOGUE["liveportrait"].megabytes or 0), rel=1e-3)
    specification = (REFERENCE / "spec.md").read_text()
    for file in (*CATALOGUE["liveportrait"].files, *CATALOGUE["liveportrait"].mirrored):
        assert file.sha256 in specification
        assert f"{file.bytes:,}".replace(",", " ") in specification
