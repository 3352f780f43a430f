"""Values of options, as people type them."""

from fractions import Fraction
from pathlib import Path

import pytest
import typer

from faceanim_cli.commands.values import (
    check_times,
    parse_audio,
    parse_crop,
    parse_device,
    parse_fps,
    parse_shift,
    parse_time,
    parse_widths,
)


@pytest.mark.parametrize(
    ("text", "fps"),
    [
        ("25", 25),
        ("12.5", Fraction(25, 2)),
        ("30000/1001", Fraction(30000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("240", 240),
        (None, None),
    ],
)
def test_frame_rates_are_exact(text: str | None, fps: Fraction | None) -> None:
    assert parse_fps(text) == fps


@pytest.mark.parametrize(
    "text", ["", "fast", "0", "-25", "1/0", "25/00", "1e9", "241", "0.5", "nan", "25 fps"]
)
def test_impossible_frame_rates_are_named(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="30000/1001"):
        parse_fps(text)


def test_sound_is_a_word_or_a_file() -> None:
    assert (parse_audio("driver"), parse_audio("none")) == ("driver", "none")
    assert parse_audio("song.mp3") == Path("song.mp3")


def test_a_frame_is_four_numbers_or_none() -> None:
    assert parse_crop(None) == "auto"
    assert parse_crop("none") is None
    assert parse_crop("-3,0,10.5, 20") == (-3, 0, 10.5, 20)


@pytest.mark.parametrize(
    "text", ["0,0,inf,10", "nan,0,5,5", "0,0,5,nan", "0,0,1e9,1e9", "-inf,0,5,5", "0,0,0,5", "1,2,3", ""]
)
def test_impossible_frames_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_crop(text)


def test_channels_are_four_numbers() -> None:
    assert parse_widths(None) is None
    assert parse_widths("32,64,128,192") == (32, 64, 128, 192)
    for text in (
        "",
        "32",
        "32,64,128",
        "32,64,128,",
        "32,64,128,0",
        "32,64,128,4097",
        "1,2,3,4,5",
        "a,b,c,d",
    ):
        with pytest.raises(typer.BadParameter, match="four numbers"):
            parse_widths(text)


@pytest.mark.parametrize("text", ["auto", "cpu", "CPU", "cuda", "cuda:1", "mps"])
def test_devices(text: str) -> None:
    assert parse_device(text) == text.lower()


@pytest.mark.parametrize("text", ["", "floppy", "cuda:", "cuda:x", "cpu:0x", "xpu"])
def test_unknown_devices_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="not one of auto, cpu, cuda"):
        parse_device(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3),
        ("3.5", 3.5),
        ("0", 0),
        ("3s", 3),
        ("1:20", 80),
        ("01:02:03.5", 3723.5),
        ("90:00", 5400),
        ("75", 75),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:", ":20", "1:2:3:4", "soon", "1e3", "nan", "inf"])
def test_impossible_times_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no time"):
        parse_time(text)


@pytest.mark.parametrize(
    ("start", "end", "duration"), [(None, 2, 3), (3, 3, None), (3, 2, None), (None, 0, None), (1, None, 0)]
)
def test_excerpts_of_nothing_are_refused(
    start: float | None, end: float | None, duration: float | None
) -> None:
    with pytest.raises(typer.BadParameter):
        check_times(start, end, duration)
    check_times(1, 2, None)
    check_times(None, None, 2)


def test_shifts() -> None:
    assert parse_shift(None) == (0, 0)
    assert parse_shift("0.1,-1") == (0.1, -1)
    for text in ("0.1", "a,b", "1.1,0", "nan,0", "0,nan", "0,inf", "1,2,3", ","):
        with pytest.raises(typer.BadParameter):
            parse_shift(text)
