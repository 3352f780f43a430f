"""``faceanim live``: from a camera to a window, a file, or a sentence that says what is missing."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from faceanim_cli.live.camera import NewestFrames
from faceanim_cli.live.live_photo import LiveFrame, LivePicture
from faceanim_cli.live.outputs import EvenRate, virtual_camera
from faceanim_cli.media import VideoReader, write_photo
from faceanim_cli.provenance.stated_origin import stated_origin

Faceanim = Callable[..., tuple[int, str, str]]


@pytest.fixture
def photo(tmp_path: Path, astronaut: np.ndarray) -> Path:
    path = tmp_path / "photo.png"
    write_photo(path, np.ascontiguousarray(astronaut[:256, 96:352]))
    return path


@pytest.fixture
def live(faceanim: Faceanim, photo: Path, rigid_weights_file: Path) -> Faceanim:
    """The command with tiny networks."""

    def call(*arguments: object) -> tuple[int, str, str]:
        own = ("--weights", rigid_weights_file, "--device", "cpu", "--precision", "fp32")
        return faceanim("live", photo, *arguments, *own)

    return call


def test_a_recording_says_what_it_is(
    live: Faceanim, make_driver: Callable[..., Path], tmp_path: Path
) -> None:
    record = tmp_path / "out.mp4"
    code, out, err = live(
        "--camera", make_driver(frames=30), "--output", "none", "--record", record, "--json"
    )
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["record"] == str(record)
    assert report["frames"] + report["missed"] <= 30
    assert report["frames"] >= 1 and report["held"] == 0
    video = VideoReader(record)
    assert (video.fps, video.width, video.height) == (25, 64, 64)
    assert 1 <= sum(1 for _ in video) <= 40  # as long as it lasted
    assert "AI-generated" in (stated_origin(record).comment or "")


@pytest.mark.parametrize(
    ("arguments", "side"), [((), 64), (("--sr",), 128), (("--size", 96), 96), (("--sr", "--size", 96), 96)]
)
@pytest.mark.usefixtures("still")
def test_as_large_as_the_help_says(
    live: Faceanim, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], side: int
) -> None:
    """The networks' own size, twice as large with super-resolution, or what is asked for."""
    screen = Screen(monkeypatch, "q")
    assert live(*arguments)[0] == 0
    assert [picture.shape for picture in screen.shown] == [(side, side, 3)]


class Screen:
    """A window system that notes what is shown, and presses keys."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
        self.shown: list[np.ndarray] = []
        self.keys, self.open = list(keys), True
        monkeypatch.setenv("DISPLAY", ":0")
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, picture: self.shown.append(picture))
        monkeypatch.setattr(cv2, "waitKey", lambda _: ord(self.keys.pop(0)) if self.keys else -1)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0 if self.open else 0.0)
        monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray) -> None:
    """A camera that shows the same for ever, so that all frames are alike."""

    class Still:
        def __init__(self, _: str) -> None:
            pass

        def __enter__(self) -> Iterator[LiveFrame]:
            frame = np.ascontiguousarray(astronaut[:256, 70:390])
            return iter(lambda: LiveFrame(frame, 0, time.monotonic()), None)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("faceanim_cli.live.run.NewestFrames", Still)


@pytest.mark.usefixtures("still")
def test_keys_of_the_window(live: Faceanim, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, "xs~m~s~q")
    code, out, err = live()
    assert (code, out) == (0, "")
    assert err.startswith("8 pictures, ")
    assert [picture.shape for picture in screen.shown] == [
        *[(64, 64, 3)] * 2,
        *[(64, 128, 3)] * 4,
        *[(64, 64, 3)] * 2,
    ]
    # One was under way when m was pressed.
    seen, mirrored = screen.shown[2][:, :64], screen.shown[5][:, :64]
    middle = seen[12:52, 12:52]
    as_it_was, turned = (
        cv2.matchTemplate(mirrored, np.ascontiguousarray(part), cv2.TM_CCOEFF_NORMED).max()
        for part in (middle, middle[:, ::-1])
    )
    assert turned > 0.9 > as_it_was


@pytest.mark.usefixtures("still")
def test_space_recentres_and_a_closed_window_ends(live: Faceanim, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("faceanim_cli.live.live_photo.LivePhoto.recentre", lambda _: calls.append(1))
    screen = Screen(monkeypatch, "a ")
    real = cv2.waitKey

    def press(wait: int) -> int:
        screen.open = bool(screen.keys)
        return int(real(wait))

    monkeypatch.setattr(cv2, "waitKey", press)
    code, _, err = live()
    assert (code, calls) == (0, [1])
    assert err.startswith("3 pictures, ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--output", "none", "--camera", "97"], "cannot open camera 97: is it connected, "),
        (["--output", "screen"], "--output screen: give window, none or /dev/videoN; "),
        (["--output", "/dev/video97"], "/dev/video97 is no video device: "),
        ([], "there is no screen to open a window on: "),
        (["--output", "none", "--record", "live.txt"], "cannot write live.txt: name it .mp4, "),
    ],
)
def test_what_is_missing(
    live: Faceanim, arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    code, out, err = live(*arguments)
    assert (code, out) == (2, "")
    assert f"faceanim: {sentence}" in err


def test_a_video_that_cannot_be_read(live: Faceanim, tmp_path: Path) -> None:
    assert live("--output", "none", "--camera", tmp_path / "no.mp4")[0] == 5


def test_the_newest_frame_and_never_an_older_one(make_driver: Callable[..., Path]) -> None:
    """A consumer that is slower than the camera misses frames, and does not lag."""
    waits, numbers = [], []
    with NewestFrames(str(make_driver(frames=25))) as frames:
        for frame in frames:
            waits.append(time.monotonic() - frame.taken)
            numbers.append(frame.number)
            time.sleep(0.1)
    assert numbers == sorted(set(numbers)) and numbers[-1] == 24
    assert len(numbers) < 20
    assert np.median(waits) < 0.06  # a frame lasts 0.04


def test_a_camera_that_fails_says_so() -> None:
    with pytest.raises(UnreadableInputError), NewestFrames("nowhere.mp4"):
        pass
    with pytest.raises(UsageError, match="cannot open camera 97"):
        NewestFrames("97")


def test_an_even_rate_from_uneven_pictures() -> None:
    """Each moment of the result shows what was newest then."""
    written: list[int] = []
    times = iter([10.0, 10.01, 10.1, 10.13, 10.3])
    output = EvenRate(nullcontext, lambda picture: written.append(int(picture[0, 0, 0])), lambda: next(times))
    with output:
        for value in range(5):
            picture = np.full((2, 2, 3), value, np.uint8)
            output.show(LivePicture(picture, LiveFrame(picture), None, False))
    assert written == [0, 2, 2, 3, 4, 4, 4, 4]  # 25 a second: at 0, 0.04, 0.08, 0.12, ... 0.28


def test_a_virtual_camera_that_is_none() -> None:
    """ffmpeg says why."""
    picture: Any = np.zeros((64, 64, 3), np.uint8)
    with (
        pytest.raises(FaceanimError, match="cannot write /dev/null: "),
        virtual_camera(Path("/dev/null"), (64, 64)) as output,
    ):
        for _ in range(100):
            output.show(LivePicture(picture, LiveFrame(picture), None, False))
            time.sleep(0.05)
