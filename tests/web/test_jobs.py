"""Jobs from the first byte to the last: results, the queue, cancelling, what is left on the disk."""

import base64
import io
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from faceanim_cli.data.landmarks import PAPER_ANCHORS
from faceanim_cli.media import VideoReader, read_photo, write_photo
from faceanim_cli.motion.library import library_motion
from faceanim_cli.motion.motion_file import write_motion
from faceanim_cli.web import uploads
from faceanim_cli.web.queue import MOST_WAITING

from .conftest import WAIT_S, Person

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def folders(tmp: Path) -> list[Path]:
    """What servers of this process have on the disk."""
    return list(tmp.glob(f"faceanim-web-{os.getpid()}-*/*"))


@pytest.fixture
def leaves_nothing(person: Person) -> Callable[[], None]:
    """After each test its person's jobs are removed, and then there is nothing left."""
    yield  # type: ignore[misc]
    with person.news() as news:
        for job in next(news)["ids"]:
            person.ask("DELETE", f"/api/jobs/{job}")
    end = time.monotonic() + 20
    while left := folders(Path(tempfile.gettempdir())):
        assert time.monotonic() < end, left
        time.sleep(0.05)


def motion(path: Path, frames: int) -> Path:
    """A motion file: a driver that costs nothing to read."""
    nod = library_motion("nod", PAPER_ANCHORS)
    points = nod.arrays["points"]
    write_motion(path, replace(nod, arrays={"points": np.resize(points, (frames, *points.shape[1:]))}))
    return path


@pytest.fixture
def short(tmp_path: Path) -> Path:
    return motion(tmp_path / "short.motion", 2)


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    return motion(tmp_path / "endless.motion", 30_000)


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_result_has_the_drivers_frames(
    person: Person, photo: Path, make_driver: Callable[..., Path], tmp_path: Path
) -> None:
    driver = make_driver(frames=9)
    job = person.animate(photo, driver)
    ended = person.wait(job)
    assert (ended["state"], ended["frames"], ended["fps"]) == ("done", 9, 25.0)
    assert (ended["photo"], ended["driver"]) == ("photo.png", "driver.mp4")
    status, headers, content = person.ask("GET", f"/api/jobs/{job}/result.mp4")
    assert status == 200
    assert headers["Content-Disposition"] == 'attachment; filename="photo-driver.mp4"'
    video = VideoReader(saved(tmp_path / "result.mp4", content))
    assert (sum(1 for _ in video), video.fps, video.width) == (9, 25, 64)
    for kind in ("gif", "webp"):
        _, headers, content = person.ask("GET", f"/api/jobs/{job}/result.{kind}")
        picture = PillowImage.open(io.BytesIO(content))
        assert headers["Content-Type"] == f"image/{kind}"
        assert (picture.format, picture.n_frames, picture.size) == (kind.upper(), 9, (64, 64))
        assert b"AI-generated" in content
    assert person.error("GET", f"/api/jobs/{job}/result.exe")[0] == 404


def test_inputs_are_deleted_when_a_job_ends(
    person: Person, photo: Path, make_driver: Callable[..., Path], tmp_path: Path
) -> None:
    job = person.animate(photo, make_driver())
    assert person.wait(job)["state"] == "done"
    (own,) = folders(Path(tempfile.gettempdir()))
    end = time.monotonic() + 5
    while [file.name for file in own.iterdir()] != ["result.mp4"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert own.parent.stat().st_mode & 0o777 == 0o700


def test_motions_of_the_library_and_settings(person: Person, photo: Path, tmp_path: Path) -> None:
    job = person.animate(photo, paste_back=True, pose=0.5, smooth=1, face=1)
    ended = person.wait(job)
    assert (ended["state"], ended["frames"], ended["driver"]) == ("done", 75, "nod")
    content = person.ask("GET", f"/api/jobs/{job}/result.mp4")[2]
    video = VideoReader(saved(tmp_path / "result.mp4", content))
    assert (video.width, video.height) == (512, 512)  # the whole photo


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"pose": 3}, "Head 3: give 0 to 2"),
        ({"pose": float("nan")}, "Head nan: give 0 to 2"),
        ({"smooth": -1}, "Steadier -1: give 0 to 1"),
        ({"size": 10**9}, "Size 1e+09: give 16 to 8192"),
        ({"size": 5000}, "Size 5000: at most 4096"),
        ({"size": "256"}, "This page is of another version of faceanim: reload it"),
        ({"absolute": 1}, "This page is of another version of faceanim: reload it"),
        ({"audio": "/etc/passwd"}, "This page is of another version of faceanim: reload it"),
        ({"device": "cuda"}, "This page is of another version of faceanim: reload it"),
        ({"weights": "/etc/passwd"}, "This model is not on this computer any more: reload the page"),
        ({"weights": "user/repo"}, "This model is not on this computer any more: reload the page"),
    ],
)
def test_settings_that_cannot_be(person: Person, settings: dict[str, object], sentence: str) -> None:
    asked = {"photo": "a.png", "motion": "nod", "settings": settings}
    assert person.error("POST", "/api/jobs", json.dumps(asked)) == (422, sentence)


@pytest.mark.parametrize("body", ["", "[]", "{", '{"motion": "nod"}', '{"motion": "/etc/x", "settings": {}}'])
def test_requests_that_the_page_never_sends(person: Person, body: str) -> None:
    assert person.error("POST", "/api/jobs", body) == (
        422,
        "This page is of another version of faceanim: reload it",
    )


def test_cancelled_in_under_a_second(person: Person, photo: Path, short: Path, endless: Path) -> None:
    """While it is worked on, however long it would have taken; the next one's turn comes at once."""
    job = person.animate(photo, endless)
    person.wait(job, {"working"})
    begun = time.monotonic()
    person.json("POST", f"/api/jobs/{job}/cancel")
    assert person.wait(job)["state"] == "cancelled"
    assert time.monotonic() - begun < 1
    other = person.animate(photo, short)
    assert person.wait(other)["state"] == "done"
    assert person.error("GET", f"/api/jobs/{job}/result.mp4")[0] == 404


def test_the_queue_tells_each_person_the_place(
    person: Person, photo: Path, short: Path, endless: Path
) -> None:
    other = Person(person.address)
    first = person.animate(photo, endless)
    second = person.animate(photo, short)
    third = other.animate(photo, short)
    person.wait(first, {"working"})
    assert other.wait(third, {"waiting"})["place"] == 3
    with other.news() as news:
        assert next(news)["ids"] == [third]
        person.json("POST", f"/api/jobs/{second}/cancel")
        assert next(news)["changed"][0]["place"] == 2
        person.json("POST", f"/api/jobs/{first}/cancel")
    assert other.wait(third)["state"] == "done"
    other.json("DELETE", f"/api/jobs/{third}")


def test_progress_is_told(person: Person, photo: Path, endless: Path) -> None:
    job = person.animate(photo, endless)
    seen: list[dict[str, Any]] = []
    with person.news() as news:
        while not (seen and seen[-1]["rate"] and seen[-1]["done"] > 100):
            seen += [changed for changed in next(news)["changed"] if changed["id"] == job]
    person.json("POST", f"/api/jobs/{job}/cancel")
    last = seen[-1]
    assert {told["total"] for told in seen if told["done"]} == {30_000}
    assert [told["done"] for told in seen] == sorted(told["done"] for told in seen)
    assert last["left"] == pytest.approx((30_000 - last["done"]) / last["rate"])


def test_nobody_fills_the_queue_alone(person: Person) -> None:
    jobs = [person.create() for _ in range(MOST_WAITING)]
    asked = json.dumps({"photo": "a", "motion": "nod", "settings": {}})
    status, sentence = person.error("POST", "/api/jobs", asked)
    assert (status, sentence) == (422, "5 of your animations are waiting already; wait for one of them")
    assert Person(person.address).json("GET", "/api/choices")["motions"] == [
        "nod",
        "shake",
        "smile-and-blink",
    ]
    person.json("DELETE", f"/api/jobs/{jobs[0]}")
    person.create()


def test_a_photo_without_a_face(person: Person, tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    write_photo(plain, np.full((200, 300, 3), 120, np.uint8))
    seen = person.json("POST", "/api/faces?name=my%20plain.png", plain.read_bytes())
    assert seen["faces"] == []
    sentence = (
        "my plain.png: no face found in 300x200 pixels, upright or tilted by 25 degrees; take a photo that "
        "shows the whole face"
    )
    assert seen["message"] == sentence
    job = person.animate(plain)
    ended = person.wait(job)
    assert (ended["state"], ended["message"]) == ("failed", sentence.replace("my plain", "plain"))


def test_a_photo_shows_its_faces(person: Person, photo: Path, astronaut: np.ndarray, tmp_path: Path) -> None:
    seen = person.json("POST", "/api/faces?name=x.png", photo.read_bytes())
    assert (seen["width"], seen["height"], len(seen["faces"]), seen["largest"]) == (512, 512, 1, 1)
    x, y, w, h = seen["faces"][0]["crop"]
    assert x < 224 < x + w and y < 110 < y + h and w == h  # her nose
    begin, _, picture = seen["picture"].partition(",")
    assert begin == "data:image/jpeg;base64"
    shown = read_photo(saved(tmp_path / "seen.jpg", base64.b64decode(picture)))
    assert np.abs(shown.astype(int) - astronaut).mean() < 6


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "x.jpg is empty: choose another file"),
        (b"\x89PNG\r\n\x1a\n", "cannot read the photo x.jpg: "),
        (b"hello" * 100, "cannot read the photo x.jpg: it is a text and no photo; give a JPEG or a PNG"),
    ],
)
def test_what_is_no_photo(person: Person, content: bytes, sentence: str) -> None:
    status, told = person.error("POST", "/api/faces?name=..%2Fx.jpg", content)
    assert status == 422 and told.startswith(sentence) and "/" not in told


def test_a_driver_that_cannot_be_read_is_told_at_once(person: Person, photo: Path, tmp_path: Path) -> None:
    job = person.create(photo.name, None, "dance.mp4")
    person.json("PUT", f"/api/jobs/{job}/photo", photo.read_bytes())
    person.json("PUT", f"/api/jobs/{job}/driver", b"no video" * 100)
    status, sentence = person.error("POST", f"/api/jobs/{job}/start")
    assert status == 422 and "dance.mp4" in sentence and "/" not in sentence


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


def test_names_of_files_are_only_names() -> None:
    assert uploads.shown_name("..%2F..%2Fetc%2Fpasswd", "x") == "passwd"
    assert uploads.shown_name("C:\\photos\\me.jpg", "x") == "me.jpg"
    assert uploads.shown_name("a%00b%0a.png", "x") == "ab.png"
    assert uploads.shown_name("..", "photo") == "photo"
    assert len(uploads.shown_name("a" * 300 + ".png", "x")) == 100


def test_the_oldest_are_forgotten(
    person: Person, photo: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their files, too; and threads do not pile up."""
    monkeypatch.setattr("faceanim_cli.web.queue.MOST_KEPT", 3)
    first = person.animate(photo, short)
    person.wait(first)
    threads = threading.active_count()
    for _ in range(4):
        assert person.wait(person.animate(photo, short))["state"] == "done"
    assert threading.active_count() <= threads + 1
    with person.news() as news:
        ids = next(news)["ids"]
    assert len(ids) == 3 and first not in ids
    assert len(folders(Path(tempfile.gettempdir()))) == 3
