"""What a result is written as: every format by its name, read back by other programs."""

import shutil
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceanim_cli import __version__
from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from faceanim_cli.media import (
    Encoding,
    VideoReader,
    check_output,
    is_ours,
    open_output,
    open_video,
    playable_rate,
    write_photo,
)
from faceanim_cli.media import codecs as our_codecs
from faceanim_cli.media.ffmpeg import run
from faceanim_cli.motion.motion_file import Motion, write_motion
from tests.media.conftest import RATE, TAGS, colourful, ffmpeg, file_size_limit, grey_ramp, tone, write


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_every_codec_of_every_container_keeps_picture_rate_and_tags(tmp_path: Path, suffix: str) -> None:
    frames = colourful(4)
    for codec in our_codecs.CONTAINERS[suffix]:
        path = tmp_path / f"{codec}{suffix}"
        write(path, frames, Fraction(30000, 1001), encoding=Encoding(codec), metadata=TAGS)
        with VideoReader(path) as video:
            assert video.fps == Fraction(30000, 1001)
            decoded = np.array(list(video))
        assert decoded.shape == frames.shape
        assert np.abs(decoded.astype(int) - frames).mean() < 4, codec
        banner = run(["-i", str(path)])[2]
        assert f"Video: {codec}" in banner
        assert TAGS["comment"] in banner
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("codec", ["hevc", "vp9", "av1", "ffv1"])
def test_crf_0_is_lossless(tmp_path: Path, codec: str) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 1), np.uint8).repeat(3, -1)  # noise
    crf = None if codec == "ffv1" else 0
    path = write(tmp_path / "o.mkv", frames, encoding=Encoding(codec, crf))
    decoded = np.array(list(VideoReader(path))).astype(int)
    assert np.abs(decoded - frames).max() <= (0 if codec == "ffv1" else 2)  # YUV's rounding


def test_crf_makes_files_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), np.uint8)
    for name in ("a.mp4", "a.webm", "a.webp"):
        fine, rough = (
            write(tmp_path / name, noise, encoding=Encoding(crf=q)).stat().st_size for q in (5, 45)
        )
        assert fine > 1.5 * rough, name


def test_apple_plays_hevc(tmp_path: Path) -> None:
    path = write(tmp_path / "o.mp4", colourful(2), encoding=Encoding("h265"))
    assert "(hvc1" in run(["-i", str(path)])[2]


def test_provenance_is_in_every_format(tmp_path: Path) -> None:
    frames = colourful(3)
    with Image.open(write(tmp_path / "o.gif", frames, metadata=TAGS)) as gif:
        assert b"AI-generated <by> a & test" in gif.info["comment"]
    with Image.open(write(tmp_path / "o.webp", frames, metadata=TAGS)) as webp:
        xmp = webp.info["xmp"].decode()
        assert webp.n_frames == 3
    assert "AI-generated &lt;by&gt; a &amp; test, ünï" in xmp
    assert "compositeWithTrainedAlgorithmicMedia" in xmp
    with Image.open(write(tmp_path / "frames", frames, metadata=TAGS) / "000002.png") as png:
        png.load()
        assert "compositeWithTrainedAlgorithmicMedia" in png.text.pop("XML:com.adobe.xmp")
        assert png.text == {
            "Title": TAGS["title"],
            "Comment": TAGS["comment"],
            "Software": f"faceanim {__version__}",
        }


def test_a_long_gif_comment_is_whole(tmp_path: Path) -> None:
    comment = "abc " * 200
    with Image.open(write(tmp_path / "o.gif", colourful(2), metadata={"comment": comment})) as gif:
        assert gif.info["comment"].decode() == comment


@pytest.mark.parametrize("name", ["o.gif", "o.webp", "o.webm", "frames"])
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, None])
def test_a_failure_leaves_nothing_behind(
    tmp_path: Path, name: str, failure: type[BaseException] | None
) -> None:
    with pytest.raises(failure or FaceanimError), open_output(tmp_path / name, RATE, (24, 16)) as writer:
        if failure is not None:  # without any frame there is nothing to write either
            writer.write(grey_ramp(1)[0])
            raise failure
    assert not list(tmp_path.iterdir())


NAMES = ["100% %d %03d:b=c;[d],{e}'\"\n", "-y", "画" * 80, "ends. ", "\udcff"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows takes few of these names")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif", ".webp", ""])
def test_any_name_will_do_in_any_format(tmp_path: Path, suffix: str) -> None:
    ffmpeg(*tone(0.2), "-c:a", "flac", str(tmp_path / "song.mkv"))  # re-encoded: the second pass as well
    for name in NAMES:
        place = tmp_path / "in %02d 'x'\n"
        place.mkdir()
        song = tmp_path / "song.mkv" if suffix in our_codecs.CONTAINERS else None
        path = write(place / (name + suffix), grey_ramp(2), metadata=TAGS, audio_from=song)
        assert [file.name for file in place.iterdir()] == [name + suffix]
        if suffix in (".gif", ".webp"):
            with Image.open(path) as picture:
                assert picture.n_frames == 2
        else:
            assert len(list(open_video(path))) == 2
        shutil.rmtree(place)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of file sizes")
@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o.webm", "o.gif", "o.webp", "frames", "o.png", "o.jpg"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), np.uint8)
    with (
        pytest.raises(FaceanimError, match=r"(?i)cannot write .*file too large") as caught,
        file_size_limit(9000),
    ):
        if name in ("o.png", "o.jpg"):
            write_photo(tmp_path / name, noise[0])
        else:
            write(tmp_path / name, noise)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_we_wrote_is_known_and_nothing_else(tmp_path: Path) -> None:
    frames, comment = colourful(3), {"comment": "AI-generated: a photo animated by faceanim 0.0.1, weights w"}
    for name in ("o.mp4", "o.mov", "o.mkv", "o.webm", "o.gif", "o.webp", "frames"):
        assert is_ours(tmp_path / name)  # nothing is lost where nothing is
        assert is_ours(write(tmp_path / name, frames, metadata=comment)), name
    for suffix in (".mp4", ".mkv", ".webm"):
        other = tmp_path / f"other{suffix}"
        tag = ["-metadata", "comment=A talk about faceanim 0.1", "-metadata", "title=faceanim"]
        ffmpeg("-f", "lavfi", "-i", "color=size=32x32:duration=0.1", *tag, str(other))
        assert not is_ours(other)
    for name in ("o.gif", "o.webp"):
        Image.fromarray(frames[0]).save(tmp_path / name, comment=b"about faceanim 0.1", xmp=b"faceanim")
        assert not is_ours(tmp_path / name)
    for name in ("o.png", "o.jpg"):
        write_photo(tmp_path / name, frames[0])
        assert is_ours(tmp_path / name)
        Image.fromarray(frames[0]).save(tmp_path / name, comment="about faceanim 0.1")
        assert not is_ours(tmp_path / name)
    write_motion(tmp_path / "m.motion", Motion({"points": np.zeros((3, 10, 2), np.float32)}, RATE))
    assert is_ours(tmp_path / "m.motion")
    for content in (
        b"",
        b"text",
        b"\xff" * 100,
        b"\x10" + bytes(7) + b"{" * 16,
        b"\x89PNG\r\n\x1a\n" + bytes(50),
    ):
        (tmp_path / "other").write_bytes(content)
        assert not is_ours(tmp_path / "other")
    (tmp_path / "frames" / "notes.txt").write_text("mine")
    assert not is_ours(tmp_path / "frames")
    assert not is_ours(tmp_path)
    assert is_ours(tmp_path / ("x" * 300)) is False


@pytest.mark.parametrize("name", ["o.gif", "o.mp4", "frames"])
def test_a_wrong_frame_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="a frame is uint8"):
        write(tmp_path / name, np.zeros((1, 16, 24, 3), np.float32))


@pytest.mark.parametrize(
    ("name", "encoding", "fps", "said"),
    [
        ("o.txt", Encoding(), None, "folder's name"),
        ("o.mp4", Encoding("theora"), None, "h264, hevc, av1, vp9"),
        ("o.webm", Encoding("h264"), None, r"takes vp9, av1; h264 goes into \.mp4"),
        ("o.mp4", Encoding(crf=52), None, "51"),
        ("o.webm", Encoding(crf=64), None, "63"),
        ("o.mov", Encoding("prores", 20), None, "prores has no such quality"),
        ("o.gif", Encoding("h264"), None, "--codec"),
        ("o.gif", Encoding(crf=20), None, "--crf"),
        ("o.webp", Encoding(crf=60), None, "51"),
        ("frames", Encoding(crf=20), None, "lossless"),
        ("frames", Encoding("h264"), None, "--codec"),
        ("o.gif", Encoding(), Fraction(60), "at most 50"),
        ("nowhere/frames", Encoding(), None, "create it first"),
        ("o.mp4", Encoding(loop=2), None, r"--loop 2: .*\.gif or \.webp"),
        ("frames", Encoding(loop=2), None, r"--loop 2: .*\.gif or \.webp"),
        ("o.mp4", Encoding(ping_pong=True), None, r"--ping-pong: .*\.gif or \.webp"),
        ("frames", Encoding(ping_pong=True), None, r"--ping-pong: .*\.gif or \.webp"),
        ("o.gif", Encoding(loop=-1), None, "0 .*65535"),
        ("o.webp", Encoding(loop=65536), None, "0 .*65535"),
        ("nowhere/o.gif", Encoding(), None, "create it first"),
    ],
)
def test_what_does_not_go_together_is_said_before_work(
    tmp_path: Path, name: str, encoding: Encoding, fps: Fraction | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        check_output(tmp_path / name, encoding, fps)
    with pytest.raises(UsageError, match=said):
        open_output(tmp_path / name, fps or RATE, (24, 16), encoding=encoding)
    assert not list(tmp_path.iterdir())


def test_an_ffmpeg_without_the_encoder_names_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(our_codecs, "encoders", lambda _: frozenset({"libx264"}))
    with pytest.raises(UsageError, match=r"libx265.*--codec h264"):
        check_output(tmp_path / "o.mp4", Encoding("hevc"))
    with pytest.raises(UsageError, match="pip install imageio-ffmpeg"):
        check_output(tmp_path / "o.webm")


def test_sound_that_is_asked_for_must_be_there(tmp_path: Path, make_clip: Callable[..., Path]) -> None:
    silent, song = make_clip(grey_ramp(2)), tmp_path / "song.mp3"
    ffmpeg(*tone(0.3), str(song))
    check_output(tmp_path / "o.mp4", sound=song)
    with pytest.raises(UnreadableInputError, match="none in it"):
        check_output(tmp_path / "o.mp4", sound=silent)
    with pytest.raises(UnreadableInputError, match="no such file"):
        check_output(tmp_path / "o.mp4", sound=tmp_path / "missing.wav")
    for name in ("o.gif", "frames"):
        with pytest.raises(UsageError, match="silent"):
            check_output(tmp_path / name, sound=song)


def test_fast_clips_become_gifs_that_browsers_play_in_time() -> None:
    assert playable_rate("o.gif", Fraction(60000, 1001)) == Fraction(30000, 1001)
    assert playable_rate("o.gif", Fraction(120)) == 40
    assert playable_rate("o.webp", Fraction(120)) == 60
    assert playable_rate("o.gif", Fraction(50)) == 50
    assert playable_rate("o.mp4", Fraction(120)) == 120


@pytest.mark.parametrize("fps", ["10", "30000/1001", "50"])
def test_a_video_can_be_resampled(make_clip: Callable[..., Path], fps: str) -> None:
    clip = make_clip(grey_ramp(25))  # 1 s at 25
    with open_video(clip, Fraction(fps)) as video:
        levels = np.array([frame[0, 0, 0] for frame in video])
        assert video.fps == Fraction(fps)
        assert abs(len(levels) - float(video.fps)) <= 1
    shown = np.minimum(np.arange(len(levels)) / float(Fraction(fps)) * 25, 24)
    assert np.abs((levels - 5) / 9 - shown).max() <= 1  # what was to be seen at that time
