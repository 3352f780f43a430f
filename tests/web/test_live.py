"""A photo that moves live, over a WebSocket."""

import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.web.live import decoded

from .conftest import WAIT_S, Person, folders

websockets = pytest.importorskip("websockets.sync.client", reason="the extra `web` is not installed")
refused = pytest.importorskip("websockets.exceptions").InvalidStatus


@contextmanager
def stage(person: Person, **headers: str) -> Iterator[Any]:
    own = {"Origin": f"http://{person.host}", "Cookie": person.cookie, **headers}
    origin = own.pop("Origin")
    with websockets.connect(
        f"ws://{person.host}/api/live", origin=origin, additional_headers=own, compression=None, proxy=None
    ) as socket:
        yield socket


def jpeg(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


def begin(socket: Any, photo: bytes, **settings: Any) -> dict[str, Any]:
    socket.send(json.dumps({"name": "me.png", "settings": settings}))
    socket.send(photo)
    return dict(json.loads(socket.recv(WAIT_S)))


def shown(answer: bytes) -> tuple[bool, np.ndarray]:
    """Whether there was a face, and the picture."""
    return answer[0] == 1, np.asarray(PillowImage.open(io.BytesIO(answer[1:])))


def test_a_picture_for_each_frame(person: Person, photo: Path, astronaut: np.ndarray) -> None:
    head, blank = np.ascontiguousarray(astronaut[:256, 96:352]), np.full((256, 256, 3), 90, np.uint8)
    with stage(person) as socket:
        assert begin(socket, photo.read_bytes(), pose=0.5) == {"ready": True}
        assert folders(Path(tempfile.gettempdir())) == []  # the photo is gone as soon as it is read
        socket.send(jpeg(blank))
        face, at_rest = shown(socket.recv(WAIT_S))
        assert not face and at_rest.shape == (64, 64, 3)
        for _ in range(3):
            socket.send(jpeg(head))
            socket.send(jpeg(head))
            for _ in range(2):
                face, picture = shown(socket.recv(WAIT_S))
                assert face and np.abs(picture.astype(int) - at_rest).mean() < 4  # no motion yet
        socket.send("recentre")
        socket.send(jpeg(head))
        assert shown(socket.recv(WAIT_S))[0]


def test_one_person_at_a_time(person: Person, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(person) as first:
        begin(first, photo.read_bytes())
        monkeypatch.setattr("faceanim_cli.web.live.PATIENCE_S", 0.1)
        with stage(Person(person.address)) as second:
            assert json.loads(second.recv(WAIT_S)) == {
                "error": "Somebody else is live just now. Try again in a while."
            }
    monkeypatch.undo()
    with stage(person) as again:
        assert begin(again, photo.read_bytes()) == {"ready": True}


@pytest.mark.parametrize(
    ("photo", "settings", "sentence"),
    [
        (
            b"nothing at all",
            {},
            "cannot read the photo me.png: it is a text and no photo; give a JPEG or a PNG",
        ),
        (None, {"pose": 9}, "Head 9: give 0 to 2"),
        (None, {"device": "cuda"}, "This page is of another version of faceanim: reload it"),
    ],
)
def test_errors_are_told(
    person: Person, astronaut: np.ndarray, photo: bytes | None, settings: dict[str, Any], sentence: str
) -> None:
    with stage(person) as socket:
        assert begin(socket, photo or jpeg(astronaut), **settings) == {"error": sentence}


@pytest.mark.parametrize("first", ["{", "[]", "{}", "[" * 100_000, b"x"])
def test_what_the_page_never_sends(person: Person, first: str | bytes) -> None:
    with stage(person) as socket:
        socket.send(first)
        socket.send(b"x")
        assert json.loads(socket.recv(WAIT_S))["error"].startswith("This page is of another version")


def test_a_frame_that_is_none(person: Person, photo: Path) -> None:
    with stage(person) as socket:
        begin(socket, photo.read_bytes())
        socket.send(b"no JPEG")
        assert json.loads(socket.recv(WAIT_S)) == {"error": "The camera's picture cannot be read"}


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Cookie": ""}, {"Host": "evil.example"}]
)
def test_other_pages_do_not_get_in(person: Person, headers: dict[str, str]) -> None:
    with pytest.raises(refused), stage(person, **headers):
        pass


@pytest.mark.parametrize("size", [(2000, 2000), (30_000, 70)])
def test_large_frames_are_not_decoded(size: tuple[int, int]) -> None:
    content = io.BytesIO()
    PillowImage.new("RGB", size).save(content, "JPEG")
    with pytest.raises(UnreadableInputError, match="too large"):
        decoded(content.getvalue())


def test_only_jpeg_is_decoded() -> None:
    content = io.BytesIO()
    PillowImage.new("RGB", (8, 8)).save(content, "PNG")
    with pytest.raises(UnreadableInputError, match="cannot be read"):
        decoded(content.getvalue())
