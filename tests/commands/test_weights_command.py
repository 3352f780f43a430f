"""``faceanim weights``: what it prints for people and for programs, and what it leaves on the machine."""

import base64
import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from faceanim_cli.commands.options import confirm_on_terminal
from faceanim_cli.weights import inspect, manage, resolve
from faceanim_cli.weights.catalogue import CatalogueEntry, HubSource
from faceanim_models import FirstOrderModel, FirstOrderSettings
from tests.hub_server import COMMIT, Hub, run_hub

Run = Callable[..., tuple[int, str, str]]
BODY = b"bytes of a checkpoint"
ENTRY = CatalogueEntry(
    name="faces",
    network="first-order",
    parts="all of it",
    licence="MIT",
    sources=(HubSource("ann/faces", "weights/x.pth.tar", COMMIT, "space"),),
    megabytes=751,
    sha256=hashlib.sha256(BODY).hexdigest(),
    terms="Not for sale.",
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faceanim: Run) -> Run:
    """The command line with one entry and a home of its own; nothing here may ask the network."""
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for module in (manage, resolve):
        monkeypatch.setattr(module, "CATALOGUE", {ENTRY.name: ENTRY})

    return partial(faceanim, "weights")


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    path = tmp_path / "by hand.tar"
    path.write_bytes(BODY)
    return path


def test_list_before_and_after(run: Run, by_hand: Path) -> None:
    code, out, _ = run("list")
    assert (code, out) == (0, "faces\tnot fetched\t751 MB\tMIT\tall of it\n")
    run("add", by_hand)
    (item,) = json.loads(run("list", "--json")[1])
    assert item["state"] == "here"
    assert item["bytes"] == len(BODY)
    assert item["sha256"] == ENTRY.sha256
    assert item["sources"][0].endswith(f"spaces/ann/faces/resolve/{COMMIT}/weights/x.pth.tar")


def test_list_is_a_table_on_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")  # no colours
    _, out, _ = run("list")
    assert out.splitlines()[0].split() == ["name", "state", "size", "licence", "what"]


def test_what_is_added_is_found_checked_and_removed(run: Run, by_hand: Path) -> None:
    assert run("path", "faces")[0] == 4
    code, out, err = run("add", by_hand)
    path = Path(out.strip())
    assert code == 0
    assert "Not for sale." in err  # told here too, though nothing was fetched
    assert path.read_bytes() == BODY
    assert by_hand.exists()
    assert run("path", "faces")[:2] == (0, out)
    assert run("pull", "faces")[:2] == (0, out)
    assert run("add", path)[0] == 0  # where it already is
    assert path.read_bytes() == BODY

    assert run("verify")[:2] == (0, f"faces\tok\t{path}\n")
    path.write_bytes(b"damaged")
    code, out, err = run("verify", "--json")
    assert code == 4
    assert "faces" in err
    (verdict,) = json.loads(out)
    assert (verdict["ok"], verdict["sha256"]) == (False, hashlib.sha256(b"damaged").hexdigest())

    assert run("remove", "faces")[:2] == (0, "")
    assert not path.exists()
    assert run("remove", "faces")[0] == 4


def test_converted_copies_go_too(run: Run, by_hand: Path) -> None:
    from faceanim_cli.weights.records import converted_path

    copy = converted_path(Path(run("add", by_hand)[1].strip()))
    copy.parent.mkdir()
    copy.write_bytes(b"slim")
    assert run("remove", "faces")[0] == 0
    assert not copy.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>Too many downloads</html>", "HTML page"),
        (None, "no such file"),
        (b"hello", "text, not weights"),
    ],
)
def test_what_is_no_weights_is_not_added(run: Run, tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "x.pth.tar"
    if content is not None:
        file.write_bytes(content)
    code, out, err = run("add", file)
    assert (code, out) == (4, "")
    assert said in err


def test_other_weights_need_no_adding(run: Run, rigid_weights_file: Path) -> None:
    code, _, err = run("add", rigid_weights_file)
    assert code == 4
    assert hashlib.sha256(rigid_weights_file.read_bytes()).hexdigest() in err
    assert "--weights" in err


def test_info(run: Run, rigid_weights_file: Path) -> None:
    known = json.loads(run("info", rigid_weights_file, "--json")[1])
    assert known["network"] == "animation"
    assert known["parameters"] > 1000
    assert known["settings"]["image_size"] == 64
    assert known["sha256"] == hashlib.sha256(rigid_weights_file.read_bytes()).hexdigest()

    code, out, _ = run("info", "faces")
    facts = dict(line.split("\t", 1) for line in out.splitlines())
    assert code == 0
    assert (facts["state"], facts["size"], facts["licence"]) == ("not fetched", "751 MB", "MIT")

    code, _, err = run("info", "nothing")
    assert code == 4
    assert "faces" in err


def test_info_on_first_order_models_files_tells_their_licence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = FirstOrderSettings(4, 4, (4, 6), (5, 6), generator_widths=(4, 6), residual_blocks=1)
    network = FirstOrderModel(settings)
    path = tmp_path / "vox-cpk.pth.tar"
    torch.save({part: getattr(network, part).state_dict() for part in ("generator", "kp_detector")}, path)
    known = json.loads(run("info", path, "--json")[1])
    assert known["settings"]["num_keypoints"] == 4
    assert known["licence"].startswith("not stated")
    assert "CC BY-NC 4.0" in known["licence"]
    # One of the catalogue under another name is told by its hash.
    entry = dataclasses.replace(ENTRY, sha256=known["sha256"])
    monkeypatch.setattr(inspect, "CATALOGUE", {entry.name: entry})
    assert json.loads(run("info", path, "--json")[1])["licence"] == "MIT"


def test_shipped_weights_stay(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = CatalogueEntry("animation", "animation", "x", "x", shipped="animation.safetensors")
    monkeypatch.setattr(manage, "CATALOGUE", {"animation": entry})
    assert run("remove", "animation")[0] == 2


def test_terms_are_asked_of_a_person_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert confirm_on_terminal() is None
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ask = confirm_on_terminal()
    assert ask is not None
    for answer in (True, False):
        monkeypatch.setattr(
            "typer.confirm", lambda text, err, answer=answer: answer and err and "kind" in text
        )
        assert ask("Be kind.") == answer


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with run_hub() as hub:  # one for all: some versions of the client keep the first endpoint that they see
        yield hub


@pytest.fixture
def hub(run: Run, server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    """A Hub that ``run`` talks to, in this process: pushing imports torch, which takes long in another."""
    server.files.clear()
    server.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)  # older clients know no Xet
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
    template = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_TOKEN", "secret")
    return server


def commits(hub: Hub) -> list[dict[str, bytes]]:
    """What was committed: content by path."""
    return [
        {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in map(json.loads, request.body.splitlines())
            if line["key"] == "file"
        }
        for request in hub.asked("POST", "/commit/")
    ]


def test_push_writes_a_card(run: Run, hub: Hub, rigid_weights_file: Path) -> None:
    code, out, err = run("push", rigid_weights_file, "ann/faces", "--license", "CC BY-NC 4.0", "--private")
    assert (code, out) == (0, f"{hub.endpoint}/ann/faces\n")
    assert f"--weights ann/faces@{COMMIT}" in err
    (creation,) = hub.asked("POST", "/repos/create")
    assert creation.token == "Bearer secret"
    assert json.loads(creation.body)["name"] == "faces"
    assert "private" in creation.body.decode()
    (files,) = commits(hub)
    assert files["animation.safetensors"] == rigid_weights_file.read_bytes()
    card = files["README.md"].decode()
    assert card.startswith("---\n")
    assert "license: cc-by-nc-4.0\n" in card.split("---")[1]
    assert "library_name: faceanim\n" in card.split("---")[1]
    assert "--weights ann/faces\n" in card
    assert '"image_size": 64' in card
    assert hashlib.sha256(rigid_weights_file.read_bytes()).hexdigest() in card


def test_push_says_what_it_needs(
    run: Run, hub: Hub, rigid_weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run("push", rigid_weights_file, "ann/faces")
    assert code == 2
    assert "--license" in err
    assert run("push", rigid_weights_file, "faces", "--license", "mit")[0] == 2
    monkeypatch.setenv("HF_TOKEN", "")
    code, _, err = run("push", rigid_weights_file, "ann/faces", "--license", "mit")
    assert code == 2
    assert "HF_TOKEN" in err
    assert hub.requests == []


def test_push_leaves_a_card_of_ones_own(run: Run, hub: Hub, rigid_weights_file: Path) -> None:
    hub.put("ann/faces/resolve/main/README.md", b"# My own words\n")
    code, out, _ = run("push", rigid_weights_file, "ann/faces", "--license", "mit", "--json")
    assert code == 0
    assert json.loads(out)["weights"] == f"ann/faces@{COMMIT}"
    assert [sorted(files) for files in commits(hub)] == [["animation.safetensors"]]


def test_push_says_what_the_hub_says(
    run: Run, hub: Hub, rigid_weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "read-only")
    code, out, err = run("push", rigid_weights_file, "ann/faces", "--license", "mit")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert "403" in err


def test_scores_and_notes_are_in_the_card(rigid_weights_file: Path) -> None:
    from faceanim_cli.weights.inspect import describe
    from faceanim_cli.weights.push import model_card

    content = dataclasses.replace(describe(rigid_weights_file), licence="own terms")
    notes = {"scores": '{"PSNR": 23.5}', "trained": "step 9 | of 10"}
    card = model_card(content, notes, repo_id="a/b", filename="x", licence="own terms", sha256="0" * 64)
    assert "license: other\n" in card
    assert "license_name: own terms\n" in card
    assert "| PSNR | 23.5 |" in card
    assert "| trained | step 9 \\| of 10 |" in card
    assert "good" in model_card(
        content, {"scores": "good"}, repo_id="a/b", filename="x", licence="mit", sha256=""
    )
