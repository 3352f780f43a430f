"""What comes before a job: its files, their names, and its start."""

import socket
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.web import uploads

from .conftest import WAIT_S, Person, folders

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def unstarted(person: Person, photo: Path, driver: Path) -> str:
    """A job whose files are there; the id."""
    job = person.create(photo.name, None, driver.name)
    person.json("PUT", f"/api/jobs/{job}/photo", photo.read_bytes())
    person.json("PUT", f"/api/jobs/{job}/driver", driver.read_bytes())
    return job


def test_too_large_is_refused_before_it_is_read(person: Person) -> None:
    """Eighty megabytes are a video's, no photo's."""
    job = person.create()
    status, sentence = person.error("PUT", f"/api/jobs/{job}/photo", bytes(80_000_000))
    assert (status, sentence) == (413, "photo.png is too large: at most 50 MB are taken")
    assert person.error("POST", f"/api/jobs/{job}/start")[0] == 404


def test_too_large_without_saying_so(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body in chunks tells no length."""
    monkeypatch.setattr("faceanim_cli.web.app.PHOTO_MB", 1)
    job = person.create()
    chunks = (bytes(100_000) for _ in range(15))
    try:
        status, sentence = person.error("PUT", f"/api/jobs/{job}/photo", chunks)
    except (BrokenPipeError, ConnectionResetError):
        return  # refused before all was sent
    assert (status, sentence) == (413, "photo.png is too large: at most 1 MB are taken")


@pytest.fixture
def upload(person: Person) -> Iterator[tuple[str, socket.socket]]:
    """A job, and a connection that has sent a part of its photo."""
    job = person.create()
    head = (
        f"PUT /api/jobs/{job}/photo HTTP/1.1\r\nHost: {person.host}\r\nOrigin: http://{person.host}\r\n"
        f"Cookie: {person.cookie}\r\nContent-Length: 10\r\n\r\nbegin"
    )
    with socket.create_connection(("127.0.0.1", person.address.port), timeout=WAIT_S) as connection:
        connection.sendall(head.encode())
        yield job, connection


def test_an_upload_that_ends_early_leaves_nothing(person: Person, upload: tuple[str, socket.socket]) -> None:
    job, connection = upload
    with person.news() as news:
        assert next(news)["ids"] == [job]
        connection.close()
        assert next(news)["ids"] == []


def test_an_upload_that_is_cancelled_leaves_nothing(
    person: Person, upload: tuple[str, socket.socket]
) -> None:
    job, connection = upload
    person.json("POST", f"/api/jobs/{job}/cancel")
    connection.sendall(b"ended")
    assert b"200 OK" in connection.recv(1000)
    (folder,) = folders(Path(tempfile.gettempdir()))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "asked",
    [
        "null",
        '{"settings": {}, "motion": ["nod"]}',
        '{"settings": {}, "motion": {}}',
        '{"settings": ' + "[" * 9000,
    ],
)
def test_what_the_page_never_asks(person: Person, asked: str) -> None:
    status, sentence = person.error("POST", "/api/jobs", asked)
    assert (status, sentence) == (422, "This page is of another version of faceanim: reload it")


def test_started_twice_at_once_is_done_once(
    person: Person, photo: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    monkeypatch.setattr(AnimationOptions, "check_inputs", lambda *_: both.wait(WAIT_S))
    job = unstarted(person, photo, short)
    with ThreadPoolExecutor() as pool:
        asked = list(pool.map(lambda _: person.ask("POST", f"/api/jobs/{job}/start")[0], range(2)))
    assert sorted(asked) == [200, 422]
    assert person.wait(job)["state"] == "done"
    monkeypatch.undo()
    assert person.wait(person.animate(photo, short))["state"] == "done"
    assert person.ask("GET", f"/api/jobs/{job}/result.mp4")[0] == 200  # still


def test_cancelled_while_its_files_are_looked_at(
    person: Person, photo: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = unstarted(person, photo, short)
    monkeypatch.setattr(
        AnimationOptions, "check_inputs", lambda *_: person.json("POST", f"/api/jobs/{job}/cancel")
    )
    assert person.error("POST", f"/api/jobs/{job}/start")[0] == 422
    assert person.wait(job)["state"] == "cancelled"


def test_names_of_files_are_only_names() -> None:
    assert uploads.shown_name("half a letter \ud800.png", "x") == "half a letter ?.png"
    assert uploads.shown_name("..%2F..%2Fetc%2Fpasswd", "x") == "passwd"
    assert uploads.shown_name("C:\\photos\\me.jpg", "x") == "me.jpg"
    assert uploads.shown_name("a%00b%0a.png", "x") == "ab.png"
    assert uploads.shown_name("..", "photo") == "photo"
    assert len(uploads.shown_name("a" * 300 + ".png", "x")) == 100
