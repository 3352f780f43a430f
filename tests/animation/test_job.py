"""From files to a file: what of the driver is kept, and what a failure leaves behind."""

import math
import threading
import time
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from faceanim_cli import Animator
from faceanim_cli.animation.driver_search import Excerpt
from faceanim_cli.animation.image_batches import Download
from faceanim_cli.animation.inference import Inference
from faceanim_cli.animation.job import animate_file
from faceanim_cli.animation.result import RenderSettings
from faceanim_cli.errors import NoFaceError, UnreadableInputError, UsageError
from faceanim_cli.media import VideoReader, VideoWriter, open_video, write_photo
from faceanim_cli.media.ffmpeg import run

MakeDriver = Callable[..., Path]


@pytest.fixture
def beep(tmp_path: Path) -> Path:
    path = tmp_path / "beep.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        tone = 8000 * np.sin(np.arange(16000) * 440 * 2 * np.pi / 16000)
        file.writeframes(tone.astype("<i2").tobytes())
    return path


@pytest.mark.parametrize(("frames", "fps"), [(1, Fraction(25)), (9, Fraction(30000, 1001))])
def test_every_frame_and_the_exact_rate_are_kept(
    animator: Animator, photo: Path, make_driver: MakeDriver, tmp_path: Path, frames: int, fps: Fraction
) -> None:
    told: list[tuple[int, int | None]] = []
    out = tmp_path / "out.mp4"
    result = animate_file(
        animator, photo, make_driver(frames=frames, fps=fps), out, progress=lambda *seen: told.append(seen)
    )
    video = VideoReader(out)
    assert sum(1 for _ in video) == result.frames == frames
    assert video.fps == fps
    assert (video.width, video.height) == (64, 64)
    assert not video.has_audio
    assert [done for done, _ in told] == list(range(1, frames + 1))


def test_the_drivers_sound_is_kept(
    animator: Animator, photo: Path, make_driver: MakeDriver, beep: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    animate_file(animator, photo, make_driver(frames=25, audio=beep), out)
    video = VideoReader(out)
    assert video.has_audio
    assert video.duration == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize(("audio", "heard"), [("none", False), ("driver", True), ("file", True)])
def test_whose_sound_is_chosen(
    animator: Animator,
    photo: Path,
    make_driver: MakeDriver,
    beep: Path,
    tmp_path: Path,
    audio: str,
    heard: bool,
) -> None:
    driver = make_driver(frames=5, audio=None if audio == "file" else beep)
    render = RenderSettings(audio=beep if audio == "file" else audio)
    animate_file(animator, photo, driver, tmp_path / "out.mp4", render=render)
    assert VideoReader(tmp_path / "out.mp4").has_audio == heard


@pytest.mark.parametrize("name", ["out.webm", "out.gif", "out.webp", "frames"])
def test_the_name_says_what_is_written(
    animator: Animator, photo: Path, make_driver: MakeDriver, beep: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / name
    result = animate_file(animator, photo, make_driver(frames=5, audio=beep), out)
    assert result.frames == 5
    assert np.array(list(open_video(out))).shape == (5, 64, 64, 3)


@pytest.mark.parametrize(("fps", "frames"), [(Fraction(10), 4), (Fraction(30000, 1001), 12)])
def test_another_rate_lasts_as_long(
    animator: Animator, photo: Path, make_driver: MakeDriver, tmp_path: Path, fps: Fraction, frames: int
) -> None:
    out = tmp_path / "out.mp4"
    result = animate_file(animator, photo, make_driver(frames=10), out, render=RenderSettings(fps=fps))
    video = VideoReader(out)
    assert (video.fps, sum(1 for _ in video)) == (fps, result.frames) == (fps, frames)


def test_a_driver_too_fast_for_a_gif_is_slowed_down_not_stretched(
    animator: Animator,
    photo: Path,
    make_driver: MakeDriver,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver = make_driver(frames=24, fps=Fraction(120))
    result = animate_file(animator, photo, driver, tmp_path / "out.gif")
    assert (result.fps, result.frames) == (40, 8)
    assert "it gets 40" in caplog.text


def test_the_file_says_that_it_is_generated_and_by_what(
    animator: Animator, photo: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    animate_file(animator, photo, make_driver(frames=2), out)
    _, _, banner = run(["-i", str(out)])
    comment = next(line for line in banner.splitlines() if "comment" in line)
    assert "AI-generated" in comment
    assert "faceanim" in comment
    assert "rigid.safetensors" in comment


def test_an_excerpt_is_what_the_whole_shows_in_that_time(
    animator: Animator, photo: Path, make_driver: MakeDriver, beep: Path, tmp_path: Path
) -> None:
    driver, shown = make_driver(frames=20, audio=beep), RenderSettings(side_by_side=True)
    options = {"driver_crop": (0, 0, 256, 256), "render": shown}
    excerpt = Excerpt.between(0.2, 0.6)
    animate_file(animator, photo, driver, tmp_path / "all", start_frame=7, **options)
    animate_file(animator, photo, driver, tmp_path / "part", start_frame=2, excerpt=excerpt, **options)
    whole, part = (np.array(list(open_video(tmp_path / name))).astype(int) for name in ("all", "part"))
    assert len(part) == 10
    assert np.abs(whole[5:15] - part).max() <= 1
    assert np.abs(whole[4:14] - part).max() > 10
    animate_file(animator, photo, driver, tmp_path / "part.mp4", excerpt=excerpt)
    video = VideoReader(tmp_path / "part.mp4")
    assert video.has_audio
    assert video.duration == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    "times",
    [(-1, None, None), (0, None, 0), (2, 1, None), (0, 1, 1), (math.nan, None, None), (0, math.inf, None)],
)
def test_excerpts_that_hold_nothing_are_refused(times: tuple[float | None, ...]) -> None:
    with pytest.raises(UsageError, match="give"):
        Excerpt.between(*times)


def test_a_photo_is_set_up_once_for_many_drivers(
    animator: Animator,
    photo: Path,
    make_driver: MakeDriver,
    tmp_path: Path,
    astronaut: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[str] = []
    right = Animator.encode
    monkeypatch.setattr(
        Animator,
        "encode",
        lambda self, image, crop, name, **rest: (
            encoded.append(name) or right(self, image, crop, name, **rest)
        ),
    )
    driver = make_driver(frames=2)
    for out in ("a.mp4", "b.mp4"):
        animate_file(animator, photo, driver, tmp_path / out)
    assert len(encoded) == 1
    animate_file(animator, photo, driver, tmp_path / "a.mp4", render=RenderSettings(paste_back=True))
    assert len(encoded) == 2
    write_photo(photo, np.ascontiguousarray(astronaut[:400]))  # another photo of that name
    animate_file(animator, photo, driver, tmp_path / "a.mp4", render=RenderSettings(paste_back=True))
    assert len(encoded) == 3


def test_a_photo_in_black_and_white_stays_so(
    animator: Animator,
    astronaut: np.ndarray,
    make_driver: MakeDriver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grey, colour = tmp_path / "grey.png", tmp_path / "colour.png"
    write_photo(colour, astronaut)
    write_photo(grey, np.repeat(astronaut.mean(2, keepdims=True).astype(np.uint8), 3, 2))
    right = Inference.paint
    tint = np.uint8([9, 0, 0])  # what networks that were trained on colours add
    monkeypatch.setattr(
        Inference,
        "paint",
        lambda self, *rest: [Download(d._here + torch.from_numpy(tint), None) for d in right(self, *rest)],
    )
    frames = {}
    for photo in (grey, colour):
        animate_file(animator, photo, make_driver(frames=2), tmp_path / "frames")
        frames[photo] = np.array(list(open_video(tmp_path / "frames"))).astype(int)
    assert np.ptp(frames[grey], axis=-1).max() == 0
    assert np.ptp(frames[colour], axis=-1).max() > 50


def test_one_animator_serves_many_jobs(
    animator: Animator, photo: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    for name in ("a.mp4", "b.mp4"):
        animate_file(animator, photo, make_driver(frames=3), tmp_path / name)
    a, b = ([f.tobytes() for f in VideoReader(tmp_path / name)] for name in ("a.mp4", "b.mp4"))
    assert a == b


def test_a_driver_without_a_face_is_named_and_a_crop_helps(
    animator: Animator, photo: Path, tmp_path: Path
) -> None:
    wall, out = tmp_path / "wall.mp4", tmp_path / "out.mp4"
    with VideoWriter(wall, Fraction(25), (96, 96)) as writer:
        for _ in range(5):
            writer.write(np.full((96, 96, 3), 90, np.uint8))
    with pytest.raises(NoFaceError, match=r"wall\.mp4.*--driver-crop"):
        animate_file(animator, photo, wall, out)
    assert not out.exists()
    animate_file(animator, photo, wall, out, driver_crop=(0, 0, 96, 96))
    assert out.exists()


def test_nothing_is_read_when_the_output_cannot_be_written(animator: Animator, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        animate_file(
            animator, tmp_path / "missing.jpg", tmp_path / "missing.mp4", tmp_path / "nowhere" / "o.mp4"
        )


@pytest.mark.parametrize("what", ["missing", "folder", "empty", "text"])
def test_an_unreadable_driver_is_named(animator: Animator, photo: Path, tmp_path: Path, what: str) -> None:
    driver = tmp_path / "driver.mp4"
    if what == "folder":
        driver.mkdir()
    elif what != "missing":
        driver.write_text("" if what == "empty" else "not a video\n" * 100)
    with pytest.raises(UnreadableInputError, match=r"driver\.mp4"):
        animate_file(animator, photo, driver, tmp_path / "out.mp4")


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_the_old_result_and_no_pieces(
    animator: Animator, photo: Path, make_driver: MakeDriver, tmp_path: Path, fault: type[BaseException]
) -> None:
    driver = make_driver(frames=12)
    out = tmp_path / "out.mp4"
    out.write_bytes(b"an older result")
    before = set(tmp_path.iterdir())

    def interrupt(done: int, _: int | None) -> None:
        if done == 3:
            raise fault

    with pytest.raises(fault):
        animate_file(animator, photo, driver, out, progress=interrupt)
    assert out.read_bytes() == b"an older result"
    assert set(tmp_path.iterdir()) == before


def test_a_search_for_the_face_can_be_ended(
    animator: Animator, photo: Path, make_driver: Callable[..., Path], tmp_path: Path
) -> None:
    class EnoughError(Exception):
        pass

    looked: list[int] = []

    def looking() -> None:
        looked.append(len(looked))
        if len(looked) == 3:
            raise EnoughError

    driver = make_driver(frames=20)
    before = threading.active_count()
    with pytest.raises(EnoughError):
        animate_file(animator, photo, driver, tmp_path / "out.mp4", looking=looking)
    assert len(looked) == 3
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)  # the thread that listened to ffmpeg ends when ffmpeg has
    assert threading.active_count() <= before  # earlier tests' may have ended meanwhile
    assert sorted(path.name for path in tmp_path.iterdir()) == ["driver.mp4", "photo.png"]
