"""Downloads with the Hub's own client, each in a process of its own, from a Hub on this machine."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceanim_cli.weights.catalogue import CatalogueEntry, HubSource
from tests.hub_server import COMMIT, Hub, Machine, run_hub

OTHER_COMMIT = "f" * 40
BODY = b"\x00 not weights, but the hash is right" * 500
FIRST = f"spaces/ann/faces/resolve/{COMMIT}/weights/x.pth.tar"
SECOND = f"spaces/bob/faces/resolve/{OTHER_COMMIT}/weights/x.pth.tar"
HTML = b"<!DOCTYPE html><html><body>Please sign in</body></html>"


def entry(body: bytes = BODY) -> CatalogueEntry:
    return CatalogueEntry(
        name="faces",
        network="first-order",
        parts="all of it",
        licence="MIT",
        sources=(
            HubSource("ann/faces", "weights/x.pth.tar", COMMIT, "space"),
            HubSource("bob/faces", "weights/x.pth.tar", OTHER_COMMIT, "space"),
        ),
        megabytes=1,
        sha256=hashlib.sha256(body).hexdigest(),
    )


def safetensors(value: int) -> bytes:
    """The smallest file of that kind."""
    header = json.dumps({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes([value])


@pytest.fixture
def hub() -> Iterator[Hub]:
    with run_hub() as hub:
        yield hub


@pytest.fixture
def machine(tmp_path: Path, hub: Hub) -> Machine:
    return Machine(tmp_path / "home", hub, [entry()])


def test_a_download_is_checked_pinned_and_then_local(machine: Machine, hub: Hub) -> None:
    hub.put(FIRST, BODY)
    code, out, err = machine.run("weights", "pull", "faces", HF_TOKEN="secret")
    path = Path(out.strip())
    assert (code, err) == (0, "")
    assert path.read_bytes() == BODY
    assert COMMIT in path.parts
    assert path.is_relative_to(machine.home)
    (download,) = hub.asked("GET")
    assert download.path.startswith("/content/")
    assert download.token is None  # never leaves the Hub's own host
    assert {request.token for request in hub.asked("HEAD")} == {"Bearer secret"}

    seen = len(hub.requests)
    again = [
        ("weights", "pull", "faces"),
        ("weights", "pull", "faces", "--offline"),
        ("weights", "path", "faces"),
    ]
    assert machine.run_together(*again) == [(0, out, "")] * 3
    assert machine.run("weights", "pull", "faces", HF_HUB_OFFLINE="1") == (0, out, "")
    assert len(hub.requests) == seen  # the network was not looked at again


def test_a_hash_that_was_checked_is_not_computed_again(machine: Machine, hub: Hub) -> None:
    hub.put(FIRST, BODY)
    path = Path(machine.run("weights", "pull", "faces")[1].strip())
    (record,) = (machine.home / "assets/faceanim/weights/checked").iterdir()
    known = json.loads(record.read_text(encoding="utf-8"))
    assert known["sha256"] == entry().sha256

    stat = path.stat()
    path.resolve().write_bytes(BODY[::-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if nothing had happened: only verify sees it
    assert machine.run("weights", "pull", "faces")[0] == 0
    assert len(hub.asked("GET")) == 1
    assert machine.run("weights", "verify")[0] == 4

    os.utime(path)  # now anyone would look; the file is fetched anew
    assert machine.run("weights", "pull", "faces")[0] == 0
    assert path.read_bytes() == BODY
    assert len(hub.asked("GET")) == 2


def test_a_cut_connection_is_taken_up_where_it_broke(tmp_path: Path, hub: Hub) -> None:
    body = os.urandom(24_000_000)  # the client writes 10 MiB at a time
    hub.put(FIRST, body, cut_after=15_000_000)
    machine = Machine(tmp_path / "home", hub, [entry(body)])
    code, out, _ = machine.run("weights", "pull", "faces")
    assert code == 0
    assert Path(out.strip()).read_bytes() == body
    assert [request.range for request in hub.asked("GET")] == [None, f"bytes={10 * 2**20}-"]


def test_a_wrong_file_is_refused_and_deleted(machine: Machine, hub: Hub) -> None:
    for path in (FIRST, SECOND):
        hub.put(path, b"x" * len(BODY), stated=BODY)  # the Hub states the right hash, the bytes are others
    code, out, err = machine.run("weights", "pull", "faces")
    assert (code, out) == (4, "")
    wrong = hashlib.sha256(b"x" * len(BODY)).hexdigest()
    assert err.count(f"its SHA-256 is {wrong} instead of {entry().sha256}") == 2
    assert machine.cached() == []
    assert machine.run("weights", "path", "faces")[0] == 4
    assert len(hub.asked("GET")) == 2  # a wrong file is not asked for again


def test_a_file_that_the_hub_says_is_another_is_not_even_fetched(machine: Machine, hub: Hub) -> None:
    hub.put(FIRST, b"another version")
    hub.put(SECOND, BODY)
    code, out, _ = machine.run("weights", "pull", "faces")
    assert code == 0
    assert Path(out.strip()).read_bytes() == BODY
    assert [request.path for request in hub.asked("GET")] == [f"/content/{SECOND}"]


def test_an_html_page_is_named_for_what_it_is(machine: Machine, hub: Hub) -> None:
    for path in (FIRST, SECOND):
        hub.put(path, HTML, stated=BODY)
    code, _, err = machine.run("weights", "pull", "faces")
    assert code == 4
    assert "an HTML page" in err
    assert machine.cached() == []


@pytest.mark.parametrize("status", [404, 401, 403, 500, 503])
def test_the_second_source_stands_in(machine: Machine, hub: Hub, status: int) -> None:
    hub.put(FIRST, BODY, status=status)
    hub.put(SECOND, BODY)
    code, out, err = machine.run("weights", "pull", "faces")
    assert (code, err) == (0, "")
    assert "spaces--bob--faces" in out


def test_every_source_says_why_it_failed(machine: Machine, hub: Hub) -> None:
    hub.put(FIRST, BODY, status=500)
    hub.put(SECOND, BODY, status=401)
    code, out, err = machine.run("weights", "pull", "faces")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert "ann/faces: the server answers 500" in err
    assert "bob/faces: 401: no such repository, or a private one that needs another HF_TOKEN" in err
    assert [request.path for request in hub.requests].count(f"/{SECOND}") == 1  # a 401 does not pass


def test_an_error_says_all_that_a_person_needs(machine: Machine, hub: Hub, tmp_path: Path) -> None:
    code, _, err = machine.run("weights", "pull", "faces")
    assert (code, err.count("\n")) == (4, 1)
    target = machine.home / "assets/faceanim/weights/added/faces/x.pth.tar"
    url, command = f"{hub.endpoint}/{FIRST}", "faceanim weights add x.pth.tar"
    assert all(part in err for part in (url, "1 MB", str(entry().sha256), command, str(target)))

    by_hand = tmp_path / "download of mine"
    by_hand.write_bytes(BODY)
    assert machine.run("weights", "add", by_hand)[:2] == (0, f"{target}\n")
    assert machine.run("weights", "pull", "faces", "--offline")[:2] == (0, f"{target}\n")
    target.write_bytes(b"damaged")
    code, _, err = machine.run("weights", "pull", "faces", "--offline")
    assert code == 4
    assert f"{target} was damaged and deleted" in err
    assert not target.exists()


def test_a_failure_that_passes_is_tried_again(machine: Machine, hub: Hub) -> None:
    hub.put(FIRST, BODY, status=503, failures=1)
    code, out, _ = machine.run("weights", "pull", "faces")
    assert code == 0
    assert "spaces--ann--faces" in out


@pytest.mark.parametrize("variables", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_offline_without_the_file(machine: Machine, hub: Hub, variables: dict[str, str]) -> None:
    options = () if variables else ("--offline",)
    specs = ("faces", "ann/faces")
    answers = machine.run_together(*(("weights", "pull", spec, *options) for spec in specs), **variables)
    for spec, (code, _, err) in zip(specs, answers, strict=True):
        assert code == 4
        assert f"faceanim weights pull {spec}" in err
    assert hub.requests == []


def test_without_a_network_it_says_so_soon(machine: Machine) -> None:
    code, _, err = machine.run("weights", "pull", "faces", HF_ENDPOINT="http://127.0.0.1:9")
    assert code == 4
    assert err.count("no connection") == 2


def test_two_processes_at_once(machine: Machine, hub: Hub) -> None:
    hub.put(FIRST, BODY)
    answers = machine.run_together(("weights", "pull", "faces"), ("weights", "pull", "faces"))
    assert answers[0] == answers[1]
    code, out, err = answers[0]
    assert (code, err) == (0, "")
    assert Path(out.strip()).read_bytes() == BODY
    assert len([path for path in machine.cached() if "blobs" in path.parts]) == 1


def test_a_repository_follows_its_branch_and_works_offline(machine: Machine, hub: Hub) -> None:
    at = "ann/mine/resolve/main/animation.safetensors"
    hub.put(at, safetensors(1))
    code, out, _ = machine.run("weights", "pull", "ann/mine")
    assert code == 0
    assert Path(out.strip()).read_bytes() == safetensors(1)

    hub.put(at, safetensors(2), commit=OTHER_COMMIT)
    assert machine.run("weights", "pull", "ann/mine", "--offline")[:2] == (0, out)
    code, newer, _ = machine.run("weights", "pull", "ann/mine")
    assert code == 0
    assert Path(newer.strip()).read_bytes() == safetensors(2)
    hub.down = True  # what is here is used, and soon
    assert machine.run("weights", "pull", "ann/mine")[:2] == (0, newer)


def test_a_repository_at_a_revision(machine: Machine, hub: Hub) -> None:
    hub.put(f"ann/mine/resolve/{OTHER_COMMIT}/old/best.safetensors", safetensors(1), commit=OTHER_COMMIT)
    code, out, _ = machine.run("weights", "pull", f"ann/mine@{OTHER_COMMIT}:old/best.safetensors")
    assert code == 0
    assert OTHER_COMMIT in out


@pytest.mark.parametrize(
    ("body", "stated", "said"),
    [(HTML, None, "HTML page"), (safetensors(1), safetensors(2), "its SHA-256 is")],
)
def test_what_a_repository_offers_is_looked_at(
    machine: Machine, hub: Hub, body: bytes, stated: bytes | None, said: str
) -> None:
    hub.put("ann/mine/resolve/main/animation.safetensors", body, stated=stated)
    code, _, err = machine.run("weights", "pull", "ann/mine")
    assert code == 4
    assert said in err
    assert f"{hub.endpoint}/ann/mine/resolve/main/animation.safetensors" in err
    assert machine.cached() == []


def test_terms_are_told_before_the_first_download(machine: Machine, hub: Hub, tmp_path: Path) -> None:
    hub.put(FIRST, BODY)
    with_terms = Machine(tmp_path / "home", hub, [dataclasses.replace(entry(), terms="Not for sale.")])
    code, _, err = with_terms.run("weights", "pull", "faces")
    assert code == 2
    assert "Not for sale." in err
    assert "--accept-license" in err
    assert hub.requests == []
    assert with_terms.run("weights", "pull", "faces", "--accept-license")[0] == 0
