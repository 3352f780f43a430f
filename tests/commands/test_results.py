"""What a result is called, what it may replace, and the options that only some results take."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceanim_cli.commands.options import default_output
from faceanim_cli.media import write_photo

Run = Callable[..., tuple[int, str, str]]
PRECIOUS = b"a film of somebody else's\n" * 9


@pytest.fixture
def animate(
    faceanim: Run,
    tmp_path: Path,
    astronaut: np.ndarray,
    make_driver: Callable[..., Path],
    rigid_weights_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """``faceanim animate a.png x.mp4`` with more arguments, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    write_photo(Path("a.png"), astronaut)
    make_driver("x.mp4", frames=3)
    common = ("--weights", rigid_weights_file, "--no-sr", "--device", "cpu", "--precision", "fp32")
    return lambda *more: faceanim("animate", "a.png", "x.mp4", *common, *more)


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        (("photos/a.b.jpg", "/x/d.mp4"), "a.b-d.mp4"),
        (("a.jpg", "nod"), "a-nod.mp4"),
        (("a.jpg", "frames/"), "a-frames.mp4"),
        (("漢" * 80 + ".jpg", "d.mp4"), "漢" * 78 + ".mp4"),  # three bytes each, of 236
        (("caf\udce9.jpg", "d.mp4"), "caf\udce9-d.mp4"),  # Latin-1 on disk, no text in UTF-8
        (("\udce9" * 250 + ".jpg", "d.mp4"), "\udce9" * 236 + ".mp4"),  # a byte each
    ],
)
def test_names_of_results(inputs: tuple[str, ...], name: str) -> None:
    assert default_output(*map(Path, inputs), suffix=".mp4") == Path(name)


def test_what_faceanim_made_is_replaced_and_nothing_else(animate: Run) -> None:
    assert animate() == (0, "a-x.mp4\n", "motion counts from driver frame 0\n")
    assert animate("-q") == (0, "a-x.mp4\n", "")  # ours: once more
    for others in ("film.mp4", "a-x.mp4"):
        Path(others).write_bytes(PRECIOUS)
        code, out, err = animate("-o", others)
        assert (code, out) == (2, "")
        assert err == (
            f"faceanim: cannot write {others}: it is there, and faceanim did not make it; name another, or "
            "replace it with --overwrite\n"
        )
        assert Path(others).read_bytes() == PRECIOUS
    assert animate("-o", "film.mp4", "--overwrite", "-q") == (0, "film.mp4\n", "")
    assert Path("film.mp4").read_bytes()[:40] != PRECIOUS[:40]


@pytest.mark.parametrize(("yes", "code"), [(True, 0), (False, 2)])
def test_a_person_on_the_terminal_is_asked(
    animate: Run, yes: bool, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("faceanim_cli.commands.options.on_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda question, err: asked.append(question) or yes)
    Path("film.mp4").write_bytes(PRECIOUS)
    assert animate("-o", "film.mp4", "-q")[0] == code
    assert asked == ["faceanim did not make film.mp4. Replace it?"]
    assert (Path("film.mp4").read_bytes() == PRECIOUS) is not yes


def test_other_pictures_and_motions_are_not_replaced_either(animate: Run, faceanim: Run) -> None:
    for name in ("crop.png", "x.motion"):
        Path(name).write_bytes(PRECIOUS)
    for refused in (
        animate("--show-crop", "crop.png"),
        faceanim("faces", "a.png", "-o", "crop.png"),
        faceanim("motion", "x.mp4"),
    ):
        assert refused[0] == 2
        assert "faceanim did not make it" in refused[2]
    assert faceanim("faces", "a.png", "-o", "crop.png", "--overwrite")[0] == 0
    assert faceanim("faces", "a.png", "-o", "crop.png")[0] == 0  # ours by now


def test_a_gif_plays_as_often_as_asked_and_back_and_forth(animate: Run) -> None:
    assert animate("-o", "once.gif", "--loop", 1, "--ping-pong")[0] == 0
    with Image.open("once.gif") as gif:
        assert gif.n_frames == 4  # 0 1 2 1
        assert gif.info.get("loop") is None
    assert animate("-o", "o.gif")[0] == 0
    with Image.open("o.gif") as gif:
        assert (gif.n_frames, gif.info["loop"]) == (3, 0)
    code, _, err = animate("-o", "o.mp4", "--loop", 2)
    assert code == 2
    assert "--loop" in err


def test_files_that_are_framed_alike_need_no_face(animate: Run) -> None:
    write_photo(Path("a.png"), np.full((90, 120, 3), 99, np.uint8))
    assert animate()[0] == 3
    assert animate("--crop", "none")[0] == 0


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        (("--duration", "0.12"), 3),
        (("--start", "0.2"), 5),
        (("--start", "0.2", "--end", "0:0.28"), 2),
        (("--start", "0.2", "--duration", "9"), 5),
    ],
)
def test_a_part_of_the_driver(
    animate: Run, make_driver: Callable[..., Path], options: tuple[str, ...], frames: int
) -> None:
    make_driver("x.mp4", frames=10)  # 0.4 seconds
    assert animate("-o", "out", *options)[0] == 0
    assert len(list(Path("out").iterdir())) == frames


def test_a_motion_of_a_part_of_the_driver(
    animate: Run, make_driver: Callable[..., Path], faceanim: Run, rigid_weights_file: Path
) -> None:
    make_driver("x.mp4", frames=10)
    common = ("--json", "--weights", rigid_weights_file, "--device", "cpu")
    assert json.loads(faceanim("motion", "x.mp4", "--start", "0.2", *common)[1])["frames"] == 5
    assert animate("--start", "9")[0] == 2


def test_a_frame_can_be_moved_around_the_face(animate: Run) -> None:
    def shown(*options: object) -> np.ndarray:
        assert animate("-o", "o.mp4", "--show-crop", "crop.png", *options)[0] == 0
        return np.asarray(Image.open("crop.png").convert("RGB"), float)[:, :64]

    usual, moved, nearer = shown(), shown("--shift", "0.25,0"), shown("--zoom", "2")
    assert np.abs(moved[:, :48] - usual[:, 16:]).mean() < 6  # a quarter of 64 pixels to the right
    assert np.abs(nearer[::2, ::2][:32, :32] - usual[16:48, 16:48]).mean() < 12  # its middle, twice as large
    assert np.abs(moved - usual).mean() > 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--zoom", "2", "--crop", "0,0,9,9"), "leave out --crop"),
        (("--driver-face", "1", "--driver-crop", "0,0,9,9"), "give one of them"),
        (("--driver-face", "7"), "x.mp4 shows 1 at a time"),
        (("--end", "0"), "nothing is left"),
        (("--zoom", "9"), "--zoom"),
        (("--shift", "2,0"), "'2,0' is not x,y"),
        (("--start", "soon"), "'soon' is no time"),
    ],
)
def test_frames_and_times_that_cannot_be(animate: Run, options: tuple[str, ...], said: str) -> None:
    code, out, err = animate(*options)
    assert (code, out) == (2, "")
    assert said in err
