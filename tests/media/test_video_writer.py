import logging
import os
import stat
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut

from faceanim_cli.errors import FaceanimError, UnreadableInputError, UsageError
from faceanim_cli.media import VideoReader, VideoWriter
from faceanim_cli.media import ffmpeg as our_ffmpeg
from faceanim_cli.media.probe import probe
from faceanim_cli.media.sound import _length
from tests.media.conftest import LOSSLESS, count_up, ffmpeg, grey_ramp, number_of, onset, samples, tone

MakeClip = Callable[..., Path]
RATE = Fraction(25)


def write(path: Path, frames: np.ndarray, fps: Fraction = RATE, **options: Any) -> Path:
    with VideoWriter(path, fps, (frames.shape[2], frames.shape[1]), **options) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def decode(path: Path, height: int, width: int) -> np.ndarray:
    """Frames as ffmpeg alone decodes them: uint8 (N, H, W, 3)."""
    raw = ffmpeg("-i", str(path), "-map", "0:v:0", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(raw.stdout, np.uint8).reshape(-1, height, width, 3)


@pytest.mark.parametrize("count", [1, 2, 25, 26])
def test_every_frame_is_in_the_file(tmp_path: Path, count: int) -> None:
    path = write(tmp_path / "out.mp4", grey_ramp(count))
    seen = decode(path, 16, 24).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(seen, 5 + 9 * np.arange(count), atol=2)
    assert len(list(VideoReader(path))) == count
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "25", "12.5"])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm"])
def test_rates_survive(tmp_path: Path, rate: str, name: str) -> None:
    with VideoReader(write(tmp_path / name, grey_ramp(25), Fraction(rate))) as reader:
        assert reader.fps == Fraction(rate)
        assert reader.duration == pytest.approx(float(25 / Fraction(rate)), abs=0.02)


def test_colours_survive(tmp_path: Path) -> None:
    colours = [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 255),
        (0, 0, 0),
        (224, 172, 140),
        (90, 60, 45),
    ]
    colours += np.random.default_rng(0).integers(0, 256, (10, 3)).tolist()
    frames = np.array(colours, np.uint8)[:, None, None, :].repeat(32, 1).repeat(48, 2)
    path = write(tmp_path / "out.mp4", frames)
    for decoded in (np.array(list(VideoReader(path))), decode(path, 32, 48)):
        assert np.abs(decoded.astype(int) - frames).mean() < 2
    error = np.array(list(VideoReader(path))).astype(int) - frames
    assert np.abs(error.mean(axis=(0, 1, 2))).max() < 0.7  # no drift of a channel
    assert "yuv420p(tv, bt709" in our_ffmpeg.run(["-i", str(path)])[2]


def test_a_face_survives(tmp_path: Path) -> None:
    face = astronaut()[:256, 100:356]
    (decoded,) = VideoReader(write(tmp_path / "out.mp4", face[None]))
    assert np.abs(decoded.astype(int) - face).mean() < 3


def test_odd_sizes_grow_by_a_repeated_edge(tmp_path: Path) -> None:
    frames = np.full((2, 31, 47, 3), (40, 90, 200), np.uint8)
    with VideoReader(write(tmp_path / "out.mp4", frames)) as reader:
        assert (reader.width, reader.height) == (48, 32)
        np.testing.assert_allclose(next(iter(reader))[-1, -1], (40, 90, 200), atol=4)


@pytest.mark.parametrize(
    ("source", "name", "codec"),
    [
        (("d.mp4", "aac", 44100), "out.mp4", "aac"),  # copied
        (("d.mp4", "aac", 16000), "out.mp4", "aac"),  # packets of 64 ms, longer than a frame
        (("d.mkv", "flac", 22050), "out.mp4", "aac"),  # re-encoded
        (("d.mkv", "libopus", 48000), "out.mkv", "opus"),
        (("d.mkv", "libopus", 48000), "out.mov", "aac"),
        (("d.mkv", "libopus", 48000), "out.webm", "opus"),
        (("d.mp4", "aac", 44100), "out.webm", "opus"),
    ],
)
@pytest.mark.parametrize("count", [20, 26, 60])  # shorter than, as long as and longer than the sound
def test_sound_stays_in_step(
    tmp_path: Path, source: tuple[str, str, int], name: str, codec: str, count: int
) -> None:
    driver = tmp_path / source[0]
    ffmpeg(*tone(1.04, source[2]), "-c:a", source[1], str(driver))
    path = write(tmp_path / name, np.zeros((count, 16, 16, 3), np.uint8), audio_from=driver)
    held = probe(path)
    assert held.audio is not None
    assert held.audio.codec == codec
    assert held.duration is not None
    assert abs(held.duration - count / 25) < 0.04  # one frame
    assert len(decode(path, 16, 16)) == count  # the picture is not cut
    assert abs(onset(path) - onset(driver)) < 0.005
    length = len(samples(path)) / 48000
    assert min(count / 25, 1.04) - 0.05 < length < count / 25 + 0.04
    assert sorted(tmp_path.iterdir()) == sorted([driver, path])


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
@pytest.mark.parametrize(("source", "codec", "skipped"), [("d.mp4", "aac", 0.2), ("d.mkv", "libopus", 0.44)])
def test_sound_of_a_part_of_the_driver_is_in_step(
    tmp_path: Path, make_clip: MakeClip, name: str, source: str, codec: str, skipped: float
) -> None:
    # one key frame, at the beginning: ffmpeg seeks there
    picture = grey_ramp(28).repeat(2, 0)
    driver = make_clip(picture, source, codec=("-c:v", "libx264", "-c:a", codec), sound=tone(2.0))
    path = write(tmp_path / name, count_up(20), audio_from=driver, audio_start=skipped)
    assert abs(onset(path) - (onset(driver) - skipped)) < 0.005
    assert [number_of(frame) for frame in VideoReader(path)] == list(range(20))  # none is held for the sound
    held = probe(path)
    assert held.duration is not None
    assert abs(held.duration - 20 / 25) < 0.04  # one frame


def test_sound_of_a_transport_stream_that_starts_late(tmp_path: Path, make_clip: MakeClip) -> None:
    driver = make_clip(grey_ramp(26), "d.ts", codec=("-c:v", "libx264", "-c:a", "aac"), sound=tone(1.0))
    with VideoReader(driver) as reader:
        path = write(tmp_path / "out.mp4", np.array(list(reader)), audio_from=driver)
    assert abs(onset(path) - onset(driver)) < 0.01


def test_a_driver_without_sound_is_no_error(tmp_path: Path, make_clip: MakeClip) -> None:
    path = write(tmp_path / "out.mp4", grey_ramp(3), audio_from=make_clip(grey_ramp(2)))
    assert probe(path).audio is None
    assert probe(write(tmp_path / "folder.mp4", grey_ramp(3), audio_from=tmp_path)).audio is None


def test_the_drivers_tags_are_not_inherited(tmp_path: Path, make_clip: MakeClip) -> None:
    driver = make_clip(
        grey_ramp(5),
        codec=(*LOSSLESS, "-c:a", "flac"),
        sound=tone(0.2),
        extra=("-metadata", "title=Private", "-metadata", "location=+52.5+013.4/"),
    )
    path = write(
        tmp_path / "out.mp4", grey_ramp(5), audio_from=driver, metadata={"comment": "made by a machine"}
    )
    banner = our_ffmpeg.run(["-i", str(path)])[2]
    assert "made by a machine" in banner
    assert "Private" not in banner
    assert "52.5" not in banner


def test_broken_sound_does_not_cost_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ffmpeg(*tone(0.3), "-c:a", "aac", str(tmp_path / "d.mp4"))
    monkeypatch.setattr("faceanim_cli.media.sound.run", lambda *_, **__: (1, "", "no luck"))
    with caplog.at_level(logging.WARNING):
        path = write(tmp_path / "out.mp4", grey_ramp(4), audio_from=tmp_path / "d.mp4")
    assert "no luck" in caplog.text
    assert len(decode(path, 16, 24)) == 4
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d.mp4", "out.mp4"]


@given(
    rate=st.fractions(min_value=1, max_value=240),
    count=st.integers(1, 10**6),
    packets_in_a_frame=st.fractions(min_value=Fraction(1, 2), max_value=20),
)
@settings(max_examples=100)
def test_sound_is_cut_within_a_frame(rate: Fraction, count: int, packets_in_a_frame: Fraction) -> None:
    frame = 1 / rate
    packet = frame / packets_in_a_frame
    length = _length(frame, count, packet)
    last = -(-length // packet) * packet  # end of the last packet that starts before ``length``
    assert abs(last - frame * count) <= frame


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
@pytest.mark.parametrize("extra", [{}, {"software": "faceanim 0.1.0"}])
def test_tags_can_be_read_back(tmp_path: Path, name: str, extra: dict[str, str]) -> None:
    tags = {"title": "A = b; ünï", "comment": "synthetic: made by faceanim", **extra}
    banner = our_ffmpeg.run(["-i", str(write(tmp_path / name, grey_ramp(2), metadata=tags))])[2]
    for key, value in tags.items():
        assert any(
            line.split(":", 1)[0].strip().lower() == key and line.split(":", 1)[1].strip() == value
            for line in banner.splitlines()
            if ":" in line
        ), f"{key} is not in\n{banner}"


def test_mp4_starts_playing_before_it_is_loaded(tmp_path: Path) -> None:
    data = write(tmp_path / "out.mp4", grey_ramp(5)).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, failure: type[BaseException]) -> None:
    (tmp_path / "out.mp4").write_bytes(b"from yesterday")
    ffmpeg(*tone(0.3), "-c:a", "aac", str(tmp_path / "d.mp4"))
    writer = VideoWriter(tmp_path / "out.mp4", RATE, (24, 16), audio_from=tmp_path / "d.mp4")
    with pytest.raises(failure), writer:
        writer.write(grey_ramp(1)[0])
        raise failure
    assert writer._pipe is not None
    assert writer._pipe.process is not None
    assert writer._pipe.process.returncode is not None  # reaped
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"from yesterday"


def test_no_frame_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FaceanimError, match="no frame"), VideoWriter(tmp_path / "out.mp4", RATE, (24, 16)):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for ffmpeg")
def test_a_dying_ffmpeg_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    fake = tmp_path / "ffmpeg"
    fake.write_text(
        "#!/bin/sh\nhead -c 5000 > /dev/null\necho 'av_write: No space left on device' >&2\nexit 1\n"
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("faceanim_cli.media.ffmpeg.find_ffmpeg", lambda: str(fake))
    with (
        pytest.raises(FaceanimError, match="No space left on device") as caught,
        VideoWriter(tmp_path / "out" / "out.mp4", RATE, (640, 480)) as writer,
    ):
        for _ in range(10):
            writer.write(np.zeros((480, 640, 3), np.uint8))
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's full disk")
def test_a_full_disk_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = VideoWriter._arguments
    monkeypatch.setattr(VideoWriter, "_arguments", lambda self: [*arguments(self), "-y"])
    monkeypatch.setattr(VideoWriter, "_first_file", lambda *_: Path("/dev/full"))
    with pytest.raises(FaceanimError, match="No space left"):
        write(tmp_path / "out.mkv", np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_ctrl_c_in_the_terminal_does_not_reach_ffmpeg(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", RATE, (24, 16)) as writer:
        assert writer._pipe is not None
        assert writer._pipe.process is not None
        if hasattr(os, "getpgid"):
            assert os.getpgid(writer._pipe.process.pid) != os.getpgid(0)
        writer.write(grey_ramp(1)[0])


def test_wrong_frames_and_impossible_videos(tmp_path: Path, make_clip: MakeClip) -> None:
    out = tmp_path / "out.mp4"
    for frame in (
        np.zeros((24, 16, 3), np.uint8),
        np.zeros((16, 24, 3), np.float32),
        np.zeros((16, 24), np.uint8),
    ):
        with pytest.raises(ValueError, match="a frame is uint8"), VideoWriter(out, RATE, (24, 16)) as writer:
            writer.write(frame)  # type: ignore[arg-type]
    for size, fps in [((0, 16), RATE), ((24, 16), Fraction(0))]:
        with pytest.raises(ValueError, match="impossible"):
            VideoWriter(out, fps, size)
    with pytest.raises(UsageError, match="51"):
        VideoWriter(out, RATE, (24, 16), crf=99)
    with pytest.raises(ValueError, match="tag"):
        VideoWriter(out, RATE, (24, 16), metadata={"a=b": "c"})
    with pytest.raises(UsageError, match="mkv"):
        VideoWriter(tmp_path / "out.txt", RATE, (24, 16))
    with pytest.raises(UsageError, match="create it first"):
        VideoWriter(tmp_path / "missing" / "out.mp4", RATE, (24, 16))
    with pytest.raises(UnreadableInputError, match="no such file"):
        VideoWriter(out, RATE, (24, 16), audio_from=tmp_path / "missing.mp3")
    assert not list(tmp_path.iterdir())
