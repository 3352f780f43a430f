"""What a result is written as: every format by its name, read back by other programs."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

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
    remove_leftovers,
    write_photo,
)
from faceanim_cli.media import codecs as our_codecs
from faceanim_cli.media.ffmpeg import run
from faceanim_cli.motion.motion_file import Motion, write_motion
from tests.media.conftest import count_up, ffmpeg, file_size_limit, grey_ramp, number_of, tone

RATE = Fraction(25)
TAGS = {"title": "A title", "comment": "AI-generated <by> a & test, ünï"}


def write(path: Path, frames: np.ndarray, fps: Fraction = RATE, **options: Any) -> Path:
    with open_output(path, fps, (frames.shape[2], frames.shape[1]), **options) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def colourful(count: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Smooth gradients in which a bright square moves to the right."""
    y, x = np.mgrid[:height, :width]
    frames = np.stack([np.stack((x * 2, y * 3, 255 - x - y), -1).astype(np.uint8)] * count)
    for i in range(count):
        frames[i, 20:30, 5 + 3 * i : 15 + 3 * i] = (250, 240, 20)
    return frames


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


@pytest.mark.parametrize("name", ["o.gif", "o.webp"])
@pytest.mark.parametrize(("count", "fps"), [(1, RATE), (5, RATE), (31, Fraction(30000, 1001))])
def test_moving_pictures_hold_every_frame_and_last_as_long(
    tmp_path: Path, name: str, count: int, fps: Fraction
) -> None:
    frames = colourful(count, 51, 111)  # odd sizes stay as they are
    path = write(tmp_path / name, frames, fps, metadata=TAGS)
    with Image.open(path) as picture:
        if count > 1:
            assert picture.info["loop"] == 0  # for ever
        shown = [
            (np.array(f.convert("RGB")), f.info.get("duration", 0)) for f in ImageSequence.Iterator(picture)
        ]
    assert len(shown) == count
    decoded = np.array([pixels for pixels, _ in shown])
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 6
    if count > 1:
        assert sum(milliseconds for _, milliseconds in shown) == pytest.approx(1000 * count / fps, abs=11)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["o.gif", "o.webp"])
@pytest.mark.parametrize(("count", "fps"), [(1, RATE), (2, RATE), (5, RATE), (100, Fraction("12.34"))])
def test_ping_pong_comes_back_without_a_stop_at_the_ends(
    tmp_path: Path, name: str, count: int, fps: Fraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = 3 if count < 10 else 40  # frames at once
    monkeypatch.setattr("faceanim_cli.media.animated_pictures.CHUNK_BYTES", few * 35 * 51 * 3)
    path = write(tmp_path / name, count_up(count), fps, encoding=Encoding(ping_pong=True), metadata=TAGS)
    with Image.open(path) as picture:
        pages = [
            (number_of(np.array(page.convert("RGB"))), page.info.get("duration", 0))
            for page in ImageSequence.Iterator(picture)
        ]
    assert [number for number, _ in pages] == [*range(count), *range(count - 2, 0, -1)]
    if count > 1:
        assert sum(duration for _, duration in pages) == pytest.approx(1000 * len(pages) / fps, abs=11)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("plays", "gif", "webp"), [(0, 0, 0), (1, None, 1), (3, 2, 3), (65535, 65534, 65535)]
)
def test_how_often_it_plays(tmp_path: Path, plays: int, gif: int | None, webp: int) -> None:
    """A GIF counts the repetitions after the first time (none at all for once), a WebP the times."""
    for name, expected in (("o.gif", gif), ("o.webp", webp)):
        with Image.open(write(tmp_path / name, colourful(2), encoding=Encoding(loop=plays))) as picture:
            assert picture.info.get("loop") == expected


@pytest.mark.skipif(sys.platform == "win32", reason="counts memory as POSIX does")
def test_a_long_gif_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    script = """
import resource, sys
from fractions import Fraction
import numpy as np
from faceanim_cli.media import Encoding, open_output
with open_output(sys.argv[1], Fraction(25), (512, 512), encoding=Encoding(ping_pong=True)) as writer:
    for i in range(int(sys.argv[2])):
        writer.write(np.full((512, 512, 3), i, np.uint8))
print(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""
    short, long = (
        int(subprocess.check_output([sys.executable, "-c", script, tmp_path / "o.gif", str(count)]))
        for count in (40, 120)
    )
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, kilobytes
    assert (long - short) * unit < 20e6  # eighty frames are 63 MB


def test_what_stands_still_in_a_gif_does_not_flicker(tmp_path: Path) -> None:
    with Image.open(write(tmp_path / "o.gif", colourful(8))) as picture:
        shown = np.array([np.array(f.convert("RGB")) for f in ImageSequence.Iterator(picture)])
    assert not np.ptp(shown[:, 40:].astype(int), axis=0).any()


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


class TestFolder:
    def test_is_lossless_and_read_back_in_order(self, tmp_path: Path) -> None:
        frames = np.random.default_rng(0).integers(0, 256, (12, 31, 47, 3), np.uint8)
        folder = write(tmp_path / "frames", frames)
        assert sorted(f.name for f in folder.iterdir())[::11] == ["000001.png", "000012.png"]
        assert np.array_equal(np.array(list(open_video(folder))), frames)
        assert list(tmp_path.iterdir()) == [folder]

    def test_replaces_frames_but_nothing_else(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "frames", grey_ramp(5))
        write(folder, grey_ramp(2))
        assert len(list(folder.iterdir())) == 2
        (folder / "holiday.jpg").write_bytes(b"dear")
        with pytest.raises(UsageError, match=r"holiday\.jpg"):
            write(folder, grey_ramp(2))
        assert len(list(folder.iterdir())) == 3
        (tmp_path / "empty.v1").mkdir()  # a dot is no suffix when the folder is there
        assert len(list(write(tmp_path / "empty.v1", grey_ramp(2)).iterdir())) == 2

    def test_pictures_of_others_stay(self, tmp_path: Path) -> None:
        folder = tmp_path / "frames"
        folder.mkdir()
        for n in range(1, 4):  # as ffmpeg numbers, and most tools
            Image.new("RGB", (24, 16)).save(folder / f"{n:06}.png")
        before = {file: file.read_bytes() for file in folder.iterdir()}
        with pytest.raises(UsageError, match=r"000001\.png"):
            check_output(folder)
        with pytest.raises(UsageError, match=r"000001\.png"):
            write(folder, grey_ramp(2))
        assert {file: file.read_bytes() for file in folder.iterdir()} == before
        write(tmp_path / "ours", grey_ramp(5))
        (folder / "000003.png").replace(tmp_path / "ours" / "000005.png")  # one of five is enough
        with pytest.raises(UsageError, match=r"000005\.png"):
            write(tmp_path / "ours", grey_ramp(2))

    @pytest.mark.parametrize("litter", [".DS_Store", "Thumbs.db", "desktop.ini", "._000001.png"])
    @pytest.mark.parametrize("when", ["before", "meanwhile"])
    def test_what_systems_leave_everywhere_is_in_nobodys_way(
        self, tmp_path: Path, litter: str, when: str
    ) -> None:
        folder = tmp_path / "frames"
        folder.mkdir()
        if when == "before":
            (folder / litter).write_bytes(b"\0")
        with open_output(folder, RATE, (24, 16)) as writer:
            (folder / litter).write_bytes(b"\0")
            for frame in grey_ramp(3):
                writer.write(frame)
        assert [file.name for file in sorted(folder.iterdir())] == ["000001.png", "000002.png", "000003.png"]
        assert list(tmp_path.iterdir()) == [folder]

    @pytest.mark.parametrize("conflict", ["a picture", "a file in its place", "a link to itself"])
    def test_finished_frames_are_kept_on_a_conflict(self, tmp_path: Path, conflict: str) -> None:
        folder = tmp_path / "frames"
        with (
            pytest.raises(FaceanimError, match=r"kept as .*frames-1") as caught,
            open_output(folder, RATE, (24, 16)) as writer,
        ):
            for frame in grey_ramp(3):
                writer.write(frame)
            if conflict == "a picture":
                folder.mkdir()
                (folder / "000001.png").write_bytes(b"another's")
            elif conflict == "a file in its place":
                folder.write_bytes(b"another's")
            else:
                folder.symlink_to(folder)
        assert "\n" not in str(caught.value)
        assert np.array_equal(np.array(list(open_video(tmp_path / "frames-1"))), grey_ramp(3))
        assert len(list(tmp_path.iterdir())) == 2

    def test_a_folder_that_does_not_show_its_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: Path) -> None:
            raise PermissionError(13, "Permission denied")

        (tmp_path / "frames").mkdir()
        monkeypatch.setattr(Path, "iterdir", refuse)
        with pytest.raises(UsageError, match="Permission denied"):
            check_output(tmp_path / "frames")
        assert not is_ours(tmp_path / "frames")
        remove_leftovers(tmp_path / "o.mp4")

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
    def test_a_private_folder_stays_private(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "frames", grey_ramp(1))
        folder.chmod(0o700)
        write(folder, grey_ramp(2))
        assert folder.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
    def test_a_failure_leaves_the_old_one(self, tmp_path: Path, failure: type[BaseException]) -> None:
        folder = write(tmp_path / "frames", grey_ramp(3))
        with pytest.raises(failure), open_output(folder, RATE, (24, 16)) as writer:
            writer.write(grey_ramp(1)[0])
            raise failure
        assert len(list(folder.iterdir())) == 3
        assert list(tmp_path.iterdir()) == [folder]

    def test_a_full_disk_is_quoted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Image.Image, "save", full)
        with pytest.raises(FaceanimError, match="No space left"):
            write(tmp_path / "frames", grey_ramp(3))
        assert not list(tmp_path.iterdir())


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
