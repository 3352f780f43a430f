"""Jobs from the first byte to the last: results, the queue, cancelling, what is left on the disk."""

import base64
import io
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from faceanim_cli.media import VideoReader, read_photo, write_photo
from faceanim_cli.web.queue import MOST_WAITING

from .conftest import Person, folders, motion

pytestmark = pytest.mark.usefixtures("leaves_nothing")


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
