import logging
import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from faceanim_cli.errors import UsageError
from faceanim_cli.media import VideoReader, ffmpeg, open_video, video_reader
from faceanim_cli.media import probe as probe_module
from tests.media.conftest import H264, LOSSLESS, colourful, grey_ramp, tone
from tests.media.conftest import ffmpeg as call

MakeClip = Callable[..., Path]


def levels(frames: Any) -> list[int]:
    """Frame numbers, read back from the grey of ``grey_ramp``."""
    return [round((float(np.mean(frame)) - 5) / 9) for frame in frames]


@pytest.mark.parametrize(
    ("name", "codec", "count"),
    [
        *(("a.mkv", LOSSLESS, count) for count in (1, 2, 25, 26)),
        *(("a.mp4", H264, count) for count in (1, 2, 25, 26)),
        *(("a.avi", ("-c:v", "libx264", "-pix_fmt", "yuv420p"), count) for count in (1, 2, 25, 26)),
        *(("a.ts", H264, count) for count in (25, 26)),  # ffmpeg itself does not recognise shorter ones
    ],
)
def test_every_frame_once_the_last_one_too(make_clip: MakeClip, name: str, codec: Any, count: int) -> None:
    reader = VideoReader(make_clip(grey_ramp(count), name, codec=codec))
    assert levels(reader) == list(range(count))
    assert levels(reader) == list(range(count))  # a second time


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "60000/1001", "25", "12.5", "50", "121/4"])
def test_rates_are_exact(make_clip: MakeClip, rate: str) -> None:
    with VideoReader(make_clip(grey_ramp(26), "a.mp4", fps=rate, codec=H264)) as reader:
        assert reader.fps == Fraction(rate)
        assert reader.frame_count_estimate in (25, 26, 27)  # from a duration in hundredths of a second
        assert reader.duration == pytest.approx(float(26 / Fraction(rate)), abs=0.02)
        assert len(list(reader)) == 26


def test_pixels_axes_and_odd_sizes_are_exact(make_clip: MakeClip) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 15, 37, 3), np.uint8)
    with open_video(make_clip(frames)) as reader:
        assert (reader.width, reader.height, reader.has_audio) == (37, 15, False)
        decoded = list(reader)
    np.testing.assert_array_equal(decoded, frames)
    assert decoded[0].dtype == np.uint8
    assert not np.shares_memory(decoded[0], decoded[1])


def test_colours_of_untagged_bt601_and_ten_bits(make_clip: MakeClip) -> None:
    # Known by the standard: limited-range BT.601 red (255, 0, 0) is Y 81, Cb 90, Cr 240.
    yuv = np.repeat(np.array([81, 90, 240], np.uint8), [64 * 64, 32 * 32, 32 * 32]).tobytes()
    path = make_clip(grey_ramp(1)).with_name("yuv.mkv")
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", "64x64", "-i", "-", "-c:v", "ffv1"]
    for pixels in ("yuv420p", "yuv420p10le"):
        call(*raw, "-pix_fmt", pixels, str(path), stdin=yuv)
        (frame,) = VideoReader(path)
        np.testing.assert_allclose(frame[32, 32], (255, 0, 0), atol=2)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("turns", "matrix"), [(-1, (0, 1, -1, 0)), (2, (-1, 0, 0, -1)), (1, (0, -1, 1, 0))])
def test_phone_rotation_is_applied(
    make_clip: MakeClip, turns: int, matrix: tuple[int, ...], mirrored: bool
) -> None:
    frames = np.full((2, 32, 64, 3), (200, 30, 30), np.uint8)
    frames[:, :, 48:] = (30, 30, 200)  # the right edge is blue
    path = make_clip(frames, "phone.mp4", codec=H264)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # ISO 14496-12: 4 type, 4 version, 20 ids and times, 16 reserved and layer
    a, b, c, d = (value << 16 for value in matrix)
    if mirrored:
        a, c = -a, -c  # x
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    expected = np.rot90(frames[0], turns)  # (0, 1, -1, 0) maps (x, y) to (-y, x): clockwise
    expected = expected[:, ::-1] if mirrored else expected
    with VideoReader(path) as reader:
        assert (reader.height, reader.width) == expected.shape[:2]
        assert np.abs(next(iter(reader)).astype(int) - expected).mean() < 8


def test_anamorphic_pixels_become_square(make_clip: MakeClip) -> None:
    path = make_clip(grey_ramp(2, 48, 60), codec=(*LOSSLESS, "-vf", "setsar=16/15"))
    with VideoReader(path) as reader:
        assert (reader.width, reader.height, reader.pixel_aspect) == (64, 48, Fraction(16, 15))
        assert [frame.shape for frame in reader] == [(48, 64, 3)] * 2
        assert [frame.shape for frame in reader.frames((33, 7, 31, 40))] == [(40, 31, 3)] * 2


def test_variable_rate_becomes_constant_in_step_with_the_clock(make_clip: MakeClip) -> None:
    # 30 per second with a hole: frame 10 stays for 10 frames
    hole = ("-vf", "select='not(between(n,11,19))'")
    with VideoReader(make_clip(grey_ramp(27), fps="30", codec=(*LOSSLESS, *hole))) as reader:
        assert reader.fps == 30
        assert levels(reader) == [*range(11), *[10] * 9, *range(20, 27)]


def test_a_rate_that_ffmpeg_averaged_over_a_hole(make_clip: MakeClip) -> None:
    hole = ("-vf", "settb=1/90000,select='not(between(n,11,15))'", "-enc_time_base", "1/90000", "-bf", "0")
    clip = make_clip(grey_ramp(27), "hole.mp4", fps="30", codec=(*H264, *hole))
    copy = clip.with_suffix(".mkv")  # which loses the encoder's own rate: ffmpeg says 24.5
    call("-i", str(clip), "-c", "copy", str(copy))
    with VideoReader(copy) as reader:
        assert float(reader.fps) == pytest.approx(30, rel=0.002)  # 33 and 34 ms: 30 or 29.97
        assert levels(reader) == [*range(11), *[10] * 5, *range(16, 27)]


def test_uneven_gif(tmp_path: Path) -> None:
    path = tmp_path / "uneven.gif"
    images = [Image.fromarray(frame) for frame in grey_ramp(12)]
    delays = [50, 50, 50, 350, 50, 50, 50, 50, 50, 250, 50, 50]  # ms; ffmpeg takes the average, 11 per second
    images[0].save(path, save_all=True, append_images=images[1:], duration=delays)
    with VideoReader(path) as reader:
        assert reader.fps == 20
        assert levels(reader) == [n for n, delay in enumerate(delays) for _ in range(delay // 50)]


def test_a_phones_jitter_is_no_rate(make_clip: MakeClip) -> None:
    # 29.97 per second on a clock of 90 kHz, each frame up to 7 ms late; ffmpeg guesses 359/12 or 90000
    jitter = ("-vf", "settb=1/90000,setpts='N*3003+mod(N*7,5)*150'", "-enc_time_base", "1/90000")
    with VideoReader(make_clip(grey_ramp(27), "phone.mp4", codec=(*H264, *jitter))) as reader:
        assert float(reader.fps) == pytest.approx(29.97, rel=0.003)
        assert len(list(reader)) in (26, 27, 28)


@pytest.mark.parametrize(
    ("step", "claimed", "expected"),
    [
        (33.3333, Fraction(1000), Fraction(30)),  # a webcam's WebM: the timer is taken for the rate
        (33.3667, Fraction(1000), Fraction(30000, 1001)),
        (40, Fraction(50), Fraction(25)),
        (1000 * 4 / 121, Fraction(121, 4), Fraction(121, 4)),  # unusual, but known exactly
        (130, Fraction(1000), Fraction(100, 13)),
        (None, Fraction(1000), Fraction(25)),  # one frame tells nothing
    ],
)
def test_rates_are_measured_from_packets(
    monkeypatch: pytest.MonkeyPatch, step: float | None, claimed: Fraction, expected: Fraction
) -> None:
    times = [round(n * step) for n in range(300)] if step else [0]
    del times[100:140]  # a hole
    packets = "".join(f"0, {time:10d}, {time:10d},  33,  1000, 0x00000000\n" for time in times)
    monkeypatch.setattr(probe_module, "run", lambda _: (0, f"#tb 0: 1/1000\n{packets}", ""))
    measured = probe_module._measured_rate(Path("any.webm"), claimed, 0)
    assert float(measured) == pytest.approx(float(expected), rel=1e-5 if step != 130 else 0.01)


def test_gif(make_clip: MakeClip) -> None:
    with VideoReader(make_clip(grey_ramp(5), "a.gif", fps="12.5", codec=("-c:v", "gif"))) as reader:
        assert reader.fps == Fraction(25, 2)
        assert levels(reader) == [0, 1, 2, 3, 4]


def test_sound_is_noticed_and_a_late_picture_is_held(make_clip: MakeClip) -> None:
    path = make_clip(grey_ramp(20), codec=(*LOSSLESS, "-c:a", "flac"), sound=tone(1.0))
    with VideoReader(path) as reader:
        assert reader.has_audio
        assert levels(reader) == list(range(20))
    late = path.with_name("late.mkv")
    call(
        "-i",
        str(path),
        "-itsoffset",
        "0.2",
        "-i",
        str(path),
        "-map",
        "1:v",
        "-map",
        "0:a",
        "-c",
        "copy",
        str(late),
    )
    held = [0] * 5 + list(range(20))  # 0.2 s at 25 per second
    assert levels(VideoReader(late)) == held
    taken = list(VideoReader(late).sample(25 / 4))
    assert [(index, held[index]) for index, _ in taken] == [
        (4 * n, level) for n, level in enumerate(levels(frame for _, frame in taken))
    ]
    assert len(taken) == 7


def test_samples_carry_the_right_indices(make_clip: MakeClip) -> None:
    reader = VideoReader(make_clip(grey_ramp(26)))
    for per_second, step in [(5, 5), (2, 12), (100, 1), (0.5, 50)]:
        taken = list(reader.sample(per_second))
        assert [index for index, _ in taken] == list(range(0, 26, step))
        assert levels(frame for _, frame in taken) == list(range(0, 26, step))
    with pytest.raises(ValueError, match="positive"):
        reader.sample(0)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    processes: list[subprocess.Popen[bytes]] = []

    def spawn(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        processes.append(ffmpeg.spawn(*args, **options))
        return processes[-1]

    monkeypatch.setattr(video_reader, "spawn", spawn)
    return processes


def test_abandoned_iterations_leave_no_process(make_clip: MakeClip, started: Any) -> None:
    path = make_clip(np.zeros((60, 256, 256, 3), np.uint8))  # far more than a pipe holds
    reader = VideoReader(path)
    for _ in reader:
        break
    for _ in reader.sample(10):
        break
    with pytest.raises(RuntimeError):
        for _ in reader:
            raise RuntimeError
    with VideoReader(path) as inside:
        iterator = iter(inside)
        next(iterator)
    assert list(iterator) == []
    assert len(started) == 4
    # returncode is set only once a process has been waited for, that is, is no zombie
    assert all(process.returncode is not None for process in started)


def test_a_clip_that_breaks_off_is_kept(make_clip: MakeClip, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    path = make_clip(rng.integers(0, 256, (26, 64, 64, 3), np.uint8))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 6 // 10)
    with caplog.at_level(logging.WARNING):
        count = len(list(VideoReader(path)))
    assert 13 <= count <= 16
    assert "breaks off after" in caplog.text


def test_a_dying_ffmpeg_is_the_end_of_the_clip(
    make_clip: MakeClip, started: Any, caplog: pytest.LogCaptureFixture
) -> None:
    frames = iter(VideoReader(make_clip(np.zeros((200, 256, 256, 3), np.uint8))))
    next(frames)
    started[0].kill()
    assert len(list(frames)) < 199
    assert "breaks off" in caplog.text


def test_a_missing_ffmpeg_says_how_to_get_one(make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(grey_ramp(1))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    monkeypatch.setattr(ffmpeg.imageio_ffmpeg, "get_ffmpeg_exe", lambda: "/nowhere/ffmpeg")  # it caches
    with pytest.raises(UsageError, match="pip install imageio-ffmpeg"):
        VideoReader(path)


@pytest.mark.parametrize(("height", "width"), [(50, 77), (51, 76), (51, 77), (50, 76)])
def test_crops_at_the_edges_of_frames_of_odd_size(make_clip: MakeClip, height: int, width: int) -> None:
    """Of yuv420p, which has chroma for pairs of pixels."""
    path = make_clip(colourful(2, height, width), codec=("-c:v", "ffv1", "-pix_fmt", "yuv420p"))
    whole = next(iter(VideoReader(path))).astype(int)
    for x, y, w, h in ((0, 5, width, 20), (5, 0, 20, height), (width - 21, height - 21, 21, 21)):
        with open_video(path) as video:
            cut = next(video.frames((x, y, w, h))).astype(int)
        assert cut.shape == (h, w, 3)
        assert np.abs(cut - whole[y : y + h, x : x + w]).mean() < 2
