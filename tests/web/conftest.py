"""A server of the page in this process, on loopback, with tiny networks, and people who talk to it."""

import http.client
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra `web` is not installed")
pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.commands.web import models, page_options
from faceanim_cli.data.landmarks import PAPER_ANCHORS
from faceanim_cli.motion.library import library_motion
from faceanim_cli.motion.motion_file import write_motion
from faceanim_cli.web import server as web_server

WAIT_S = 60.0  # for what is done in a second on a quiet machine
ENDED = {"done", "failed", "cancelled"}


class Person:
    """Somebody with the page open: requests as a browser sends them, with the cookie that the page set."""

    def __init__(self, address: web_server.Address) -> None:
        self.address = address
        self.host = f"127.0.0.1:{address.port}"
        self.cookie: str | None = None
        token = f"?token={address.token}" if address.token else ""
        _, headers, _ = self.ask("GET", f"/{token}")
        self.cookie = headers["Set-Cookie"].split(";")[0]

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str | None] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body. A header that is None is left out."""
        own = {"Origin": None if method == "GET" else f"http://{self.host}", "Cookie": self.cookie}
        sent = {name: value for name, value in {**own, **(headers or {})}.items() if value is not None}
        connection = http.client.HTTPConnection("127.0.0.1", self.address.port, timeout=WAIT_S)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request that must succeed."""
        status, _, answer = self.ask(method, path, body)
        assert status == 200, answer
        return json.loads(answer)

    def error(self, method: str, path: str, body: Any = None, **headers: str | None) -> tuple[int, str]:
        """Status and sentence of a request that must fail."""
        status, _, answer = self.ask(method, path, body, dict(headers))
        assert status != 200
        return status, json.loads(answer)["error"]

    def create(
        self, photo: str = "photo.png", motion: str | None = "nod", driver: str = "", **settings: Any
    ) -> str:
        """Begin a job; the id."""
        asked = {"photo": photo, "motion": motion, "driver": driver, "settings": settings}
        job: str = self.json("POST", "/api/jobs", json.dumps(asked))["id"]
        return job

    def animate(self, photo: Path, driver: Path | None = None, **settings: Any) -> str:
        """Send everything and start; the id."""
        job = self.create(
            photo.name, "nod" if driver is None else None, driver.name if driver else "", **settings
        )
        self.json("PUT", f"/api/jobs/{job}/photo", photo.read_bytes())
        if driver is not None:
            self.json("PUT", f"/api/jobs/{job}/driver", driver.read_bytes())
        self.json("POST", f"/api/jobs/{job}/start")
        return job

    @contextmanager
    def news(self) -> Iterator[Iterator[dict[str, Any]]]:
        """What the page is told, as it is told."""
        connection = http.client.HTTPConnection("127.0.0.1", self.address.port, timeout=WAIT_S)
        connection.request("GET", "/api/events", headers={"Cookie": self.cookie or ""})
        answer = connection.getresponse()
        assert answer.status == 200
        try:
            yield (json.loads(line[6:]) for line in iter(answer.readline, b"") if line.startswith(b"data: "))
        finally:
            connection.close()

    def wait(self, job: str, states: set[str] = ENDED) -> dict[str, Any]:
        """What the page is told of a job once it is in one of these states."""
        with self.news() as news:
            for told in news:
                for changed in told["changed"]:
                    if changed["id"] == job and changed["state"] in states:
                        return dict(changed)
        raise AssertionError("the server has ended")


@contextmanager
def running(weights: Path, host: str | None = None) -> Iterator[web_server.Address]:
    """A server in a thread of its own."""
    options = AnimationOptions(weights=str(weights), device="cpu", precision="fp32", sr=False)
    told: list[Any] = []
    ready = threading.Event()

    def listen(address: web_server.Address, stop: Callable[[], None]) -> None:
        told.extend((address, stop))
        ready.set()

    thread = threading.Thread(
        target=lambda: web_server.serve(
            lambda values: page_options(options, values), list(models(options)), host, 0, listen
        )
    )
    thread.start()
    assert ready.wait(WAIT_S)
    try:
        yield told[0]
    finally:
        told[1]()
        thread.join(WAIT_S)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def page(rigid_weights_file: Path) -> Iterator[web_server.Address]:
    """One server for all tests of a file: what a test that fails leaves on the disk ends with it."""
    with running(rigid_weights_file) as address:
        yield address


@pytest.fixture
def person(page: web_server.Address) -> Person:
    return Person(page)


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
