"""The page in a real browser: a photo, its faces and its crop; the camera, and a photo that moves live."""

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from faceanim_cli.faces import Framing, crop_image, find_faces, frame_crop
from faceanim_cli.media import write_photo

from .browser import choose, chromium, expect, needs_chromium, snapshot, visit

__all__ = ["chromium", "visit"]  # fixtures
pytestmark = needs_chromium


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


def test_the_camera_can_be_closed(visit: Callable[..., Any]) -> None:
    view = visit()
    view.click("#photo-camera")
    expect(view.locator("#camera-take")).to_be_enabled()
    view.keyboard.press("Escape")
    expect(view.locator("#camera")).to_be_hidden()
    assert view.locator("#camera-video").evaluate("video => video.srcObject") is None
    expect(view.locator("#photo-view")).to_be_hidden()


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
