"""The page in a real browser: headless Chromium with a fake camera, driven by playwright.

Skipped where Chromium or playwright is missing. No request may leave this machine: each test checks that.
"""

import base64
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from faceanim_cli.faces import Framing, crop_image, find_faces, frame_crop
from faceanim_cli.media import VideoReader, write_photo
from faceanim_cli.web.server import Address

from .conftest import running
from .test_jobs import motion

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

expect = playwright.expect
WAIT_MS = 30_000
PHONE = {"width": 360, "height": 740}


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


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    return motion(tmp_path / "endless.motion", 30_000)


def choose(view: Any, photo: Path, driver: Path | None = None) -> None:
    """Choose files and the smallest size, and wait for the photo's face."""
    view.select_option("#size", "256")
    view.set_input_files("#photo-file", photo)
    expect(view.locator("#crop")).to_be_visible()
    if driver is not None:
        view.set_input_files("#driver-file", driver)
        expect(view.locator("#motion-own")).to_be_checked()


def test_from_two_files_to_a_download(
    visit: Callable[..., Any], photo: Path, make_driver: Callable[..., Path], tmp_path: Path
) -> None:
    view, driver = visit(), make_driver(frames=30)
    choose(view, photo, driver)
    expect(view.locator("#photo-status")).to_have_text("One face found.")
    view.click("#animate")
    job = view.locator(".job")
    expect(job.locator("h3")).to_have_text("photo.png, driver.mp4")
    expect(job.locator(".job-state")).to_have_text("Done: 30 frames, 1.2 s")
    result = job.locator(".of-result video")
    expect(result).to_be_visible()
    expect(job.locator(".of-photo img")).to_be_visible()
    expect(job.locator(".of-driver video")).to_be_visible()
    end = time.monotonic() + 20
    while not result.evaluate("video => video.currentTime > 0 && video.videoWidth === 256"):
        assert time.monotonic() < end, "the result does not play"
    assert result.evaluate("video => video.duration") == pytest.approx(1.2, abs=0.05)
    with view.expect_download() as download:
        job.get_by_role("button", name="Save as MP4: photo.png, driver.mp4").click()
    assert download.value.suggested_filename == "photo-driver.mp4"
    saved = tmp_path / "saved.mp4"
    download.value.save_as(saved)
    assert sum(1 for _ in VideoReader(saved)) == 30
    view.reload()  # the result is still there; what was sent is not
    expect(view.locator(".job .of-result video")).to_be_visible()
    expect(view.locator(".job .of-photo")).to_be_hidden()
    view.locator(".job .remove").click()
    expect(view.locator(".job")).to_have_count(0)


def test_a_photo_and_a_video_from_the_camera(visit: Callable[..., Any]) -> None:
    view = visit()
    view.click("#photo-camera")
    expect(view.locator("#camera-take")).to_be_enabled()
    view.click("#camera-take")
    expect(view.locator("#photo-status")).to_have_text("One face found.")
    view.click("#driver-camera")
    expect(view.locator("#camera-take")).to_be_enabled()
    view.click("#camera-take")
    expect(view.locator("#camera-status")).to_have_text("Recording, 1 s")
    view.click("#camera-take")
    expect(view.locator("#driver-status")).to_have_text("camera.webm")
    view.select_option("#size", "256")
    view.click("#animate")
    expect(view.locator(".job-state")).to_contain_text("Done: ")
    expect(view.locator(".of-result video")).to_be_visible()


def test_live_before_the_camera(visit: Callable[..., Any], photo: Path) -> None:
    """The face moves as the camera's does, which goes to one side and back."""
    view = visit()
    choose(view, photo)
    view.select_option("#weights", "faceanim")
    view.check("#motion-live")
    view.click("#animate")
    expect(view.locator("#live-pace")).to_contain_text("pictures a second")
    expect(view.locator("#live-status")).to_have_text("")
    shown = view.locator("#live-picture")
    assert shown.evaluate("canvas => [canvas.width, canvas.height]") == [256, 256]
    begin, apart = snapshot(shown), 0.0
    end = time.monotonic() + 20
    while apart < 4:
        assert time.monotonic() < end, f"it does not move: {apart}"
        (x, _), _ = cv2.phaseCorrelate(begin, snapshot(shown))
        apart = max(apart, abs(x))
    view.get_by_role("button", name="This is my resting face").click()
    mirror = view.get_by_role("button", name="Mirror")
    expect(mirror).to_have_attribute("aria-pressed", "true")
    mirror.click()
    expect(mirror).to_have_attribute("aria-pressed", "false")
    view.get_by_role("button", name="Stop").click()
    expect(view.locator("#live")).to_be_hidden()
    assert view.locator("#live-camera").evaluate("video => video.srcObject") is None


def snapshot(canvas: Any) -> np.ndarray:
    """What a canvas shows: grey levels, float (H, W)."""
    address = canvas.evaluate("canvas => canvas.toDataURL()")
    png = np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8)
    return np.asarray(cv2.imdecode(png, cv2.IMREAD_GRAYSCALE), np.float64)


def test_the_camera_can_be_closed(visit: Callable[..., Any]) -> None:
    view = visit()
    view.click("#photo-camera")
    expect(view.locator("#camera-take")).to_be_enabled()
    view.keyboard.press("Escape")
    expect(view.locator("#camera")).to_be_hidden()
    assert view.locator("#camera-video").evaluate("video => video.srcObject") is None
    expect(view.locator("#photo-view")).to_be_hidden()


def test_two_people_and_one_queue(visit: Callable[..., Any], photo: Path, endless: Path) -> None:
    first, second = visit(), visit()
    choose(first, photo, endless)
    first.click("#animate")
    expect(first.locator(".job-state")).to_contain_text("frames a second")
    expect(first.locator(".job progress")).to_have_attribute("max", "30000")
    choose(second, photo)
    second.click("#animate")
    expect(second.locator(".job-state")).to_have_text("Number 2 in the queue")
    assert first.locator(".job").count() == second.locator(".job").count() == 1
    begun = time.monotonic()
    first.locator(".job .cancel").click()
    expect(first.locator(".job-state")).to_have_text("Cancelled")
    assert time.monotonic() - begun < 1
    expect(second.locator(".job-state")).to_have_text("Done: 75 frames, 3 s")


def test_which_face_by_clicking_it(visit: Callable[..., Any], astronaut: np.ndarray, tmp_path: Path) -> None:
    head = astronaut[:256, 96:352]
    left, right = cv2.convertScaleAbs(head, alpha=0.8), head[:, ::-1]
    write_photo(tmp_path / "two.png", np.ascontiguousarray(np.hstack((left, right))))
    view = visit()
    choose(view, tmp_path / "two.png")
    expect(view.locator("#photo-status")).to_have_text("2 faces: choose the one that moves.")
    faces = view.locator("#faces button")
    crops = []
    for number in (1, 2):
        view.get_by_role("button", name=f"Face {number} of 2").click()
        expect(faces.nth(number - 1)).to_have_attribute("aria-pressed", "true")
        expect(faces.nth(2 - number)).to_have_attribute("aria-pressed", "false")
        crops.append(view.locator("#crop").evaluate("canvas => canvas.toDataURL()"))
    assert crops[0] != crops[1]
    with view.expect_request("**/api/jobs") as asked:
        view.click("#animate")
    numbers = [asked.value.post_data_json["settings"].get("face")]
    faces.nth(0).click()
    with view.expect_request("**/api/jobs") as asked:
        view.click("#animate")
    numbers.append(asked.value.post_data_json["settings"].get("face"))
    assert sorted(numbers, key=str) in ([1, None], [2, None])  # the largest needs no number
    expect(view.locator(".job-state").first).to_contain_text("Done")
    expect(view.locator(".job-state").last).to_contain_text("Done")


@pytest.mark.parametrize(("zoom", "x", "y"), [(2, 0.1, -0.05), (0.5, -0.2, 0.1)])
def test_another_part_of_the_photo(
    visit: Callable[..., Any], photo: Path, astronaut: np.ndarray, zoom: float, x: float, y: float
) -> None:
    """The preview shows what the networks will see, also beyond the photo's edge; and that is asked for."""
    view = visit()
    choose(view, photo)
    view.get_by_text("Another part").click()
    for name, value in [("zoom", zoom), ("shift-x", x), ("shift-y", y)]:
        view.fill(f"#{name}", str(value))
    face = frame_crop(find_faces(astronaut, "")[1][0], (512, 512))
    usual, wanted = (
        crop_image(astronaut, how.around(face, (512, 512)), 160).astype(int)
        for how in (Framing(), Framing(zoom, (x, y)))
    )
    found = view.evaluate("() => document.getElementById('crop').toDataURL()")
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(found.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(shown[..., ::-1] - wanted).mean() < min(8, 0.2 * np.abs(usual - wanted).mean())
    with view.expect_request("**/api/jobs") as asked:
        view.click("#animate")
    settings = asked.value.post_data_json["settings"]
    assert (settings["zoom"], settings["shift"]) == (zoom, f"{x},{y}")
    expect(view.locator(".job-state")).to_contain_text("Done")
    view.click("#crop-reset")
    with view.expect_request("**/api/jobs") as asked:
        view.click("#animate")
    assert not {"zoom", "shift"} & asked.value.post_data_json["settings"].keys()


def test_the_part_is_dragged(visit: Callable[..., Any], photo: Path) -> None:
    view = visit()
    choose(view, photo)
    box = view.locator("#crop").bounding_box()
    view.mouse.move(box["x"] + 40, box["y"] + 40)
    view.mouse.down()
    view.mouse.move(box["x"] + 40 - box["width"] / 4, box["y"] + 40 + box["width"] / 8)
    view.mouse.up()
    moved = [float(view.input_value(f"#shift-{axis}")) for axis in "xy"]
    assert moved == pytest.approx([0.25, -0.125], abs=0.02)
    view.get_by_text("Another part").click()
    expect(view.locator("output[for=shift-x]")).to_have_text(f"{round(100 * moved[0])} %")


def test_a_photo_without_a_face(visit: Callable[..., Any], tmp_path: Path) -> None:
    plain = tmp_path / "wall.png"
    write_photo(plain, np.full((200, 300, 3), 120, np.uint8))
    view = visit()
    view.set_input_files("#photo-file", plain)
    expect(view.locator("#photo-status")).to_contain_text("wall.png: no face found in 300x200 pixels")
    expect(view.locator("#photo-picture")).to_be_visible()
    view.click("#animate")
    expect(view.locator("#go-status")).to_have_text("Choose a photo first.")
    expect(view.locator("#photo-file")).to_be_focused()


def test_eighty_megabytes(visit: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    """Too much for a photo, which is said at once; a video may be as large, and is looked at."""
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(80_000_000)
    view = visit()
    view.set_input_files("#photo-file", large)
    expect(view.locator("#photo-status")).to_have_text("large.mp4 is too large: at most 50 MB are taken")
    choose(view, photo, large)
    view.click("#animate")
    expect(view.locator("#go-status")).to_contain_text("cannot read the video large.mp4")
    expect(view.locator(".job")).to_have_count(0)


def test_the_server_is_stopped_midway(
    visit: Callable[..., Any], photo: Path, endless: Path, rigid_weights_file: Path
) -> None:
    with running(rigid_weights_file) as address:
        view = visit(address)
        choose(view, photo, endless)
        view.click("#animate")
        expect(view.locator(".job-state")).to_contain_text("frames a second")
    expect(view.locator("#offline")).to_have_text("faceanim does not answer. Is it still running?")
    view.locator(".job .cancel").click()
    expect(view.locator(".job-state")).to_have_text("faceanim does not answer. Is it still running?")
    view.close()


def test_with_the_keyboard_alone(visit: Callable[..., Any], photo: Path) -> None:
    view = visit()
    view.keyboard.press("Tab")
    expect(view.get_by_text("Skip to the Animate button")).to_be_focused()
    seen = []
    for _ in range(11):
        view.keyboard.press("Tab")
        seen.append(view.evaluate("() => document.activeElement.id || document.activeElement.tagName"))
    order = ["photo-file", "photo-camera", "INPUT", "driver-file", "driver-camera", "size", "paste_back"]
    assert [name for name in seen if name in order] == order
    assert seen.index("animate") > seen.index("absolute")
    choose(view, photo)
    view.locator("#animate").focus()
    view.keyboard.press("Enter")
    expect(view.locator(".job-state")).to_contain_text("Done")
    expect(view.locator("#news")).to_have_text("photo.png, a nod: Done: 75 frames, 3 s")


def test_every_control_has_a_name(visit: Callable[..., Any], photo: Path) -> None:
    """What a screen reader says of it."""
    view = visit()
    choose(view, photo)
    view.click("#animate")
    expect(view.locator(".job .of-result video")).to_be_visible()
    for summary in view.locator("summary").all():
        summary.click()
    nameless = view.evaluate(
        """() => [...document.querySelectorAll("button, input, select, progress, video, img, canvas")]
            .filter((e) => e.checkVisibility())
            .filter((e) => !(e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim()
                             || e.hasAttribute("alt") || e.id === "driver-video"))
            .map((e) => e.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_by_day_and_by_night(visit: Callable[..., Any], photo: Path, scheme: str) -> None:
    view = visit(color_scheme=scheme)
    view.set_viewport_size(PHONE)
    choose(view, photo)
    view.click("#animate")
    expect(view.locator(".job .of-result video")).to_be_visible()
    assert view.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    small = view.evaluate(
        """() => [...document.querySelectorAll("button, select, .button")].filter((e) => e.checkVisibility())
            .map((e) => e.getBoundingClientRect()).filter((box) => box.height < 44).length"""
    )
    assert small == 0  # all are large enough for a finger
    colours = view.evaluate(
        """() => [".small", ".primary", ".job-state", "figcaption"].map((name) => {
            const shown = getComputedStyle(document.querySelector(name));
            const card = getComputedStyle(document.querySelector(".card")).backgroundColor;
            return [shown.color, name === ".primary" ? shown.backgroundColor : card];
        })"""
    )
    ratios = [contrast(*map(rgb, pair)) for pair in colours]
    assert min(ratios) >= 4.5, ratios  # WCAG 2.2, 1.4.3
    assert (rgb(colours[0][1])[0] < 128) == (scheme == "dark")


def rgb(text: str) -> list[float]:
    return [float(number) for number in text[text.index("(") + 1 : -1].split(",")[:3]]


def contrast(one: list[float], other: list[float]) -> float:
    """The contrast ratio of two colours, 1 to 21, as WCAG 2 defines it."""

    def luminance(colour: list[float]) -> float:
        linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
