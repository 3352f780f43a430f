"""Headless Chromium with a fake camera, driven by playwright, and what tests do in it.

Tests that ask for it are skipped where Chromium or playwright is missing. No request may leave this machine:
each test checks that.
"""

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from faceanim_cli.web.server import Address

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

expect = playwright.expect
WAIT_MS = 30_000


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Iterator[Any]:
    """The browser; its camera shows the astronaut, who drifts to the right and back."""
    camera = tmp_path_factory.mktemp("camera") / "face.mjpeg"
    with camera.open("wb") as file:
        for i in [*range(0, 40, 2), *range(40, 0, -2)]:
            frame = np.ascontiguousarray(astronaut[:240, 70 - i : 390 - i, ::-1])
            file.write(cv2.imencode(".jpg", frame)[1].tobytes())
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",  # as root, in a container
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={camera}",
            ],
        )
        with closing(browser):
            yield browser


@pytest.fixture
def visit(chromium: Any, page: Address) -> Iterator[Callable[..., Any]]:
    """Opens the page, as another person each time. What goes wrong in its script fails the test."""
    contexts, faults, asked = [], [], []

    def open_page(address: Address = page, **how: Any) -> Any:
        context = chromium.new_context(viewport={"width": 1200, "height": 800}, **how)
        contexts.append(context)
        view = context.new_page()
        view.set_default_timeout(WAIT_MS)
        view.on("pageerror", lambda error: faults.append(str(error)))
        view.on("console", lambda line: faults.append(line.text) if "Policy" in line.text else None)
        view.on("request", lambda request: asked.append(request.url))
        view.on("websocket", lambda socket: asked.append(socket.url))
        view.goto(address.url)
        expect(view.locator("#weights option")).to_have_text(["rigid.safetensors", "faceanim"])
        return view

    expect.set_options(timeout=WAIT_MS)
    yield open_page
    for context in contexts:
        for view in context.pages:
            for button in view.locator(".job .cancel:visible").all():
                button.click()
        context.close()
    assert faults == []
    hosts = {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {"127.0.0.1"}


def choose(view: Any, photo: Path, driver: Path | None = None) -> None:
    """Choose files and the smallest size, and wait for the photo's face."""
    view.select_option("#size", "256")
    view.set_input_files("#photo-file", photo)
    expect(view.locator("#crop")).to_be_visible()
    if driver is not None:
        view.set_input_files("#driver-file", driver)
        expect(view.locator("#motion-own")).to_be_checked()


def snapshot(canvas: Any) -> np.ndarray:
    """What a canvas shows: grey levels, float (H, W)."""
    address = canvas.evaluate("canvas => canvas.toDataURL()")
    png = np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8)
    return np.asarray(cv2.imdecode(png, cv2.IMREAD_GRAYSCALE), np.float64)
