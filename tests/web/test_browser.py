"""The page in a real browser: jobs from files to downloads, the queue, errors, keyboard, screens."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceanim_cli.media import VideoReader

from .browser import choose, chromium, expect, needs_chromium, visit
from .conftest import running
from .test_jobs import motion

__all__ = ["chromium", "visit"]  # fixtures
pytestmark = needs_chromium

PHONE = {"width": 360, "height": 740}


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    return motion(tmp_path / "endless.motion", 30_000)


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
    assert time.monotonic() - begun < 3  # on a quiet machine a quarter of it
    expect(second.locator(".job-state")).to_have_text("Done: 75 frames, 3 s")


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
