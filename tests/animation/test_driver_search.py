"""The search of a driving video beside other work: what it finds, and that it ends with that work."""

import threading
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.animation.driver_search import DriverSearch, Excerpt, open_excerpt
from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.errors import NoFaceError
from faceanim_cli.faces import Box, FaceDetector
from faceanim_cli.media import VideoReader, VideoWriter

MakeDriver = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def opener(make_driver: MakeDriver) -> Callable[[int], VideoReader]:
    return partial(open_excerpt, make_driver(frames=20), None, Excerpt())


@pytest.fixture
def wall(tmp_path: Path) -> Path:
    path = tmp_path / "wall.mp4"
    with VideoWriter(path, Fraction(25), (96, 96)) as writer:
        for _ in range(20):
            writer.write(np.full((96, 96, 3), 99, np.uint8))
    return path


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("faceanim-")}


def test_begun_early_it_finds_the_same(opener: Callable[[int], VideoReader]) -> None:
    with Pipeline() as pipeline:
        early, late = DriverSearch(opener), DriverSearch(opener)
        early.begin(pipeline)
        assert "faceanim-search" in threads()
        assert early.scan(pipeline) == late.scan(pipeline)


@pytest.mark.parametrize("crop", [None, (0.0, 0.0, 64.0, 64.0)])
def test_a_crop_that_is_known_is_not_searched_for(opener: Callable[[int], VideoReader], crop: object) -> None:
    with Pipeline() as pipeline:
        DriverSearch(opener, crop).begin(pipeline)
        assert not threads()


def test_what_is_wrong_is_told_to_who_asks(wall: Path) -> None:
    with Pipeline() as pipeline:
        search = DriverSearch(partial(open_excerpt, wall, None, Excerpt()))
        search.begin(pipeline)
        with pytest.raises(NoFaceError, match=r"wall\.mp4: no face found in 3 sampled frames"):
            search.scan(pipeline)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ValueError])
def test_it_ends_with_the_frame_that_it_is_at(
    opener: Callable[[int], VideoReader], monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    """Also where it would go on with the frames turned, as few show a face."""
    begun, pipeline, calls = threading.Event(), Pipeline(), 0

    def detect(_: FaceDetector, image: np.ndarray, **how: bool) -> list[tuple[Box, int]]:
        nonlocal calls
        calls += 1
        begun.set()
        while not pipeline._over:
            time.sleep(0.001)
        return []

    monkeypatch.setattr(FaceDetector, "detect_with_votes", detect)
    search = DriverSearch(opener)

    def work() -> None:
        with pipeline:
            search.begin(pipeline)
            assert begun.wait(30)
            search.close()
            raise fault

    with pytest.raises(fault):
        work()
    assert calls == 1
    assert not threads()
    assert not search.video._running  # ffmpeg has ended


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [(KeyboardInterrupt, 130, ""), (MemoryError("torch"), 1, "internal error: MemoryError: torch")],
)
def test_what_ends_the_loading_of_networks_ends_the_search(
    faceanim: Run,
    photo: Path,
    wall: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    code: int,
    said: str,
) -> None:
    """And of the driver, which shows no face either, nothing more is said."""

    def load(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("faceanim_cli.animation.animator.Animator.__init__", load)
    before = sorted(tmp_path.iterdir())
    got, out, err = faceanim("animate", photo, wall, "-o", tmp_path / "out.mp4")
    assert (got, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) == bool(said)
    assert not threads()
    assert sorted(tmp_path.iterdir()) == before


def test_weights_are_missed_before_the_face_in_the_driver(
    faceanim: Run, photo: Path, wall: Path, tmp_path: Path, rigid_weights_file: Path
) -> None:
    for weights, code, said in (
        (tmp_path / "missing.safetensors", 4, "missing.safetensors"),
        (rigid_weights_file, 3, "wall.mp4: no face found in 3 sampled frames"),
    ):
        got, out, err = faceanim("animate", photo, wall, "-o", tmp_path / "out.mp4", "--weights", weights)
        assert (got, out) == (code, "")
        assert said in err
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize("options", [(), ("--paste-back", "--size", 256)])
def test_nothing_is_searched_twice(
    faceanim: Run,
    photo: Path,
    make_driver: MakeDriver,
    tmp_path: Path,
    rigid_weights_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[object, ...],
) -> None:
    """But for a photo that is animated at another size; its result is that of a search at that size."""
    searched: list[bool] = []
    detect = FaceDetector.detect_with_votes

    def counted(
        self: FaceDetector, image: np.ndarray, *, thorough: bool = False, quick: bool = False
    ) -> list[tuple[Box, int]]:
        searched.append(thorough)
        return detect(self, image, thorough=thorough, quick=quick)

    monkeypatch.setattr(FaceDetector, "detect_with_votes", counted)
    line = ("animate", photo, make_driver(frames=10), "--weights", rigid_weights_file, "--codec", "ffv1")
    assert faceanim(*line, "-o", tmp_path / "a.mkv", *options)[0] == 0
    assert sorted(searched) == [False, False, *[True] * (2 if options else 1)]
