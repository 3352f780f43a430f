"""``faceanim faces``, and the options of ``animate`` that it is for."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.faces import Box, crop_image
from faceanim_cli.media import VideoReader, read_photo, write_photo

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pair(tmp_path: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photo of two people, 520 x 256, in a folder apart; the current folder is empty."""
    folder = tmp_path / "photos"
    folder.mkdir()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    face = astronaut[:256, 90:350]
    write_photo(folder / "two people.png", np.hstack((face, face[:, ::-1])))
    return folder / "two people.png"


def test_boxes_and_crops_are_listed_and_a_preview_is_drawn(faceanim: Run, pair: Path) -> None:
    code, out, err = faceanim("faces", pair, "--preview")
    assert (code, err) == (0, "")
    head, first, second, preview = out.splitlines()
    assert head.split() == ["face", "box", "x,y,w,h", "crop", "x,y,w,h"]
    assert first.split()[0] == "1"
    assert second.split()[0] == "2"
    x, y, w, h = map(int, first.split()[1].split(","))
    assert 60 < x + w / 2 < 200  # the astronaut's face is centred near (225, 115), 90 of that cut off
    assert 60 < y + h / 2 < 160
    assert 260 < int(second.split()[1].split(",")[0]) + w / 2 < 460
    assert preview == "two people.faces.jpg"
    drawn = read_photo(Path(preview))
    assert drawn.shape == read_photo(pair).shape
    assert np.abs(drawn[y, x].astype(int) - (255, 210, 0)).max() < 60  # a corner of the first frame
    assert list(pair.parent.iterdir()) == [pair]


def test_json_has_the_same(faceanim: Run, pair: Path) -> None:
    code, out, _ = faceanim("faces", pair, "--json", "-o", "numbers.png")
    report = json.loads(out)
    assert code == 0
    assert (report["width"], report["height"], report["preview"]) == (520, 256, "numbers.png")
    assert [face["face"] for face in report["faces"]] == [1, 2]
    for face in report["faces"]:
        (x, y, w, h), (cx, cy, cw, ch) = face["box"], face["crop"]
        assert cw == ch
        assert cx <= x
        assert cy <= y
        assert cx + cw >= x + w
        assert cy + ch >= y + h
    assert Path("numbers.png").exists()


def test_no_picture_is_written_unless_asked_for(faceanim: Run, pair: Path) -> None:
    code, out, _ = faceanim("faces", pair)
    assert code == 0
    assert len(out.splitlines()) == 3
    assert not list(Path().iterdir())


def test_faults_have_their_codes(faceanim: Run, pair: Path, tmp_path: Path) -> None:
    write_photo(tmp_path / "wall.png", np.full((200, 200, 3), 99, np.uint8))
    for arguments, code, said in (
        (("faces", tmp_path / "wall.png"), 3, "--crop x,y,w,h"),
        (("faces", tmp_path / "missing.png"), 5, "missing.png"),
        (("faces", pair, "-o", "preview.gif"), 2, ".png or .jpg"),
        (("faces", pair, "-o", pair), 2, "it is an input"),
    ):
        got, out, err = faceanim(*arguments)
        assert (got, out) == (code, "")
        assert said in err
        assert len(err.strip().splitlines()) == 1
    assert not list(Path().iterdir())


def test_the_crop_of_the_list_is_what_animate_takes(
    faceanim: Run, pair: Path, make_driver: Callable[..., Path], rigid_weights_file: Path
) -> None:
    listed = json.loads(faceanim("faces", pair, "--json")[1])["faces"]
    common = ("animate", pair, make_driver(frames=2), "--weights", rigid_weights_file, "--no-sr")
    assert faceanim(*common, "-o", "n.mp4", "--face", 2, "--show-crop", "number.png")[0] == 0
    crop = crop_image(read_photo(pair), Box(*listed[1]["crop"]), 64)
    assert np.array_equal(read_photo(Path("number.png"))[:, :64], crop)


def test_all_faces_give_the_whole_photo(
    faceanim: Run, pair: Path, make_driver: Callable[..., Path], rigid_weights_file: Path
) -> None:
    common = ("animate", pair, make_driver(frames=2), "--weights", rigid_weights_file, "--no-sr")
    assert faceanim(*common, "-o", "all.mp4", "--all-faces", "--size", 260)[0] == 0
    assert (VideoReader(Path("all.mp4")).width, VideoReader(Path("all.mp4")).height) == (260, 128)


def test_what_cannot_be_is_refused(
    faceanim: Run, pair: Path, make_driver: Callable[..., Path], rigid_weights_file: Path
) -> None:
    common = (
        "animate",
        pair,
        make_driver(frames=2),
        "--weights",
        rigid_weights_file,
        "--no-sr",
        "-o",
        "o.mp4",
    )
    for options, said in (
        (("--face", 1, "--crop", "0,0,100,100"), "--crop and --face"),
        (("--all-faces", "--face", 1), "--face and --all-faces"),
        (("--face", 0), "face"),
        (("--face", 5), "two people.png has 2 faces"),
        (("--show-crop", "crop.bmp"), ".png or .jpg"),
        (("--show-crop", pair), "it is an input"),
        (("--size", 9000, "--paste-back"), "8192"),
        (("--size", 5000), "at most 4096"),
    ):
        code, out, err = faceanim(*common, *options)
        assert (code, out) == (2, "")
        assert said in err
    assert not list(Path().iterdir())
