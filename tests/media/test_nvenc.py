"""Who encodes: an ffmpeg that stands in for one with an NVIDIA GPU, and hands the work to x264 and x265."""

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media import Encoding, VideoReader, check_output, open_output
from faceanim_cli.media.ffmpeg import find_ffmpeg, run
from faceanim_cli.media.frame_pipe import FramePipe
from faceanim_cli.media.probe import probe
from tests.media.conftest import count_up, ffmpeg, grey_ramp, number_of, tone

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")

# Lists the encoders, then fails as without a driver or does in software what NVENC was asked for.
STAND_IN = """#!{python}
import json, os, subprocess, sys
real, works, log, dies, given = {real!r}, {works!r}, {log!r}, {dies!r}, sys.argv[1:]
if "-encoders" in given and not {listed!r}:
    print("Encoders:\\n V....D libx264              x\\n V....D libx265              x")
    sys.exit()
with open(log, "a") as file:
    file.write(json.dumps(given) + "\\n")
if any(a.endswith("_nvenc") for a in given):
    video = "lavfi" not in given
    if not works:
        sys.exit("[h264_nvenc @ 0x55a9] Cannot load libcuda.so.1\\nError while opening encoder")
    at = given.index("-preset")
    del given[at : at + 2]
    names = {{"h264_nvenc": "libx264", "hevc_nvenc": "libx265", "-cq": "-crf"}}
    names.update({{"-tune": "-qp", "lossless": "0"}})
    given = [names.get(a, a) for a in given]
    if "-rc" in given:
        at = given.index("-rc")
        del given[at : at + 4]
    if dies and video:  # after some frames, and with a part of what it wrote
        width, height = map(int, given[given.index("-video_size") + 1].split("x"))
        frames = sys.stdin.buffer.read(dies[0] * width * height * 3)
        if frames:
            subprocess.run([real, *given], input=frames, check=True)
            file = given[-1].removeprefix("file:")
            os.truncate(file, int(os.path.getsize(file) * dies[1]))
        sys.exit("[h264_nvenc @ 0x55a9] EncodePicture failed!: generic error (20)")
os.execv(real, [real, *given])
"""
Install = Callable[..., Callable[[], list[list[str]]]]


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts the stand-in in ffmpeg's place; what it gives tells all encodings by NVENC that were begun."""
    real = find_ffmpeg()

    def install(
        works: bool = True, listed: bool = True, cuda: bool = True, dies: tuple[int, float] | None = None
    ) -> Callable[[], list[list[str]]]:
        log, script = tmp_path / "log", tmp_path / "ffmpeg"
        script.write_text(
            STAND_IN.format(
                python=sys.executable, real=real, works=works, listed=listed, log=str(log), dies=dies
            )
        )
        script.chmod(0o755)
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(script))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)

        def asked() -> list[list[str]]:
            lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
            return [line for line in lines if any(a.endswith("_nvenc") for a in line)]

        return asked

    return install


def write(path: Path, encoding: Encoding, frames: np.ndarray | None = None) -> Path:
    frames = grey_ramp(4) if frames is None else frames
    with open_output(path, Fraction(25), (frames.shape[2], frames.shape[1]), encoding=encoding) as writer:
        for frame in frames:
            writer.write(frame)
    with VideoReader(path) as video:
        assert len(list(video)) == len(frames)
    return path


@pytest.mark.parametrize(("encoder", "dies", "which"), [("software", 0, 1), ("nvenc", 0, 1), ("nvenc", 2, 2)])
def test_an_interrupt_right_after_ffmpeg_started_ends_it(
    tmp_path: Path, gpu: Install, monkeypatch: pytest.MonkeyPatch, encoder: str, dies: int, which: int
) -> None:
    gpu(dies=(dies, 1.0) if dies else None)
    (tmp_path / "out").mkdir()
    started: list[FramePipe] = []
    enter = FramePipe.__enter__

    def interrupted(pipe: FramePipe) -> FramePipe:
        started.append(enter(pipe))
        if len(started) == which:
            raise KeyboardInterrupt
        return pipe

    monkeypatch.setattr(FramePipe, "__enter__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out" / "o.mp4", Encoding(encoder=encoder), grey_ramp(8, 256, 256))
    assert len(started) == which
    assert all(pipe.process.poll() is not None for pipe in started)
    assert not list((tmp_path / "out").iterdir())


def said(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


# nvenc is tried before any work too, when the size is not known
@pytest.mark.parametrize(("encoder", "trials"), [("auto", 1), ("nvenc", 2)])
def test_a_gpu_that_works_encodes_at_the_quality_asked_for(
    tmp_path: Path, gpu: Install, encoder: str, trials: int
) -> None:
    asked = gpu()
    write(tmp_path / "a.mp4", Encoding(crf=27, encoder=encoder))
    write(tmp_path / "b.mp4", Encoding(crf=27, encoder=encoder))
    everything = asked()
    assert ["lavfi" in arguments for arguments in everything] == [True] * trials + [False] * 2
    for arguments in everything:
        assert said(arguments, "-c:v") == "h264_nvenc"
        assert (said(arguments, "-rc"), said(arguments, "-cq"), said(arguments, "-b:v")) == ("vbr", "27", "0")
        assert "-crf" not in arguments


def test_the_trial_is_of_the_very_size_and_quality(tmp_path: Path, gpu: Install) -> None:
    asked = gpu()
    write(tmp_path / "a.mp4", Encoding("hevc", 0), np.zeros((2, 35, 51, 3), np.uint8))
    trial, encoding = asked()
    assert "size=52x36" in said(trial, "-i")  # padded to even sides, as the video is
    for arguments in (trial, encoding):
        assert (said(arguments, "-c:v"), said(arguments, "-tune")) == ("hevc_nvenc", "lossless")
        assert "-cq" not in arguments
    assert b"hvc1" in (tmp_path / "a.mp4").read_bytes()


@pytest.mark.parametrize(
    ("machine", "encoding", "trials"),
    [
        ({"works": False}, Encoding(), 1),
        ({"listed": False}, Encoding(), 0),
        ({"cuda": False}, Encoding(), 0),
        ({}, Encoding(encoder="software"), 0),
        ({}, Encoding("av1"), 0),
    ],
)
def test_else_software_encodes(
    tmp_path: Path,
    gpu: Install,
    caplog: pytest.LogCaptureFixture,
    machine: dict[str, bool],
    encoding: Encoding,
    trials: int,
) -> None:
    asked = gpu(**machine)
    caplog.set_level("INFO", "faceanim_cli")
    write(tmp_path / "a.mp4", encoding)
    assert len(asked()) == trials
    assert ("Cannot load libcuda" in caplog.text) == bool(trials)
    assert f"a.mp4: encoded by {'libsvtav1' if encoding.codec else 'libx264'}" in caplog.text
    assert not [record for record in caplog.records if record.levelname != "INFO"]


@pytest.mark.parametrize(
    ("machine", "name", "encoding", "line"),
    [
        ({"works": False}, "a.mp4", Encoding(encoder="nvenc"), r"h264_nvenc .*\(Cannot load libcuda"),
        ({"listed": False}, "a.mp4", Encoding("hevc", encoder="nvenc"), "this ffmpeg has no hevc_nvenc"),
        ({}, "a.webm", Encoding(encoder="nvenc"), "writes h264 and hevc, not vp9"),
        ({}, "a.gif", Encoding(encoder="nvenc"), "a .gif file is no video"),
        ({}, "frames", Encoding(encoder="nvenc"), "a folder of PNGs is no video"),
        ({}, "a.mp4", Encoding(encoder="qsv"), "--encoder qsv: unknown; use auto, software, nvenc"),
        ({}, "a.gif", Encoding(encoder="qsv"), "--encoder qsv: unknown"),
    ],
)
def test_nvenc_that_cannot_be_is_refused_before_work(
    tmp_path: Path, gpu: Install, machine: dict[str, bool], name: str, encoding: Encoding, line: str
) -> None:
    gpu(**machine)
    with pytest.raises(UsageError, match=line) as refused:
        check_output(tmp_path / name, encoding)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / name).exists()


def test_auto_does_not_try_before_the_size_is_known(tmp_path: Path, gpu: Install) -> None:
    asked = gpu()
    check_output(tmp_path / "a.mp4", Encoding())
    assert not asked()


def numbers(path: Path) -> list[int]:
    with VideoReader(path) as video:
        return [number_of(frame) for frame in video]


@pytest.mark.parametrize(
    ("dies", "kept"),
    [
        ((0, 1.0), 300),  # at once: no session was free
        ((60, 1.0), 300),  # later; all frames are in memory still
        ((60, 1.0), 40),  # the first ones are not, but in its file
        ((90, 0.8), 60),  # which breaks off
        ((100, 1.0), 20),  # after the last frame
    ],
)
@pytest.mark.parametrize(("name", "codec"), [("o.mp4", None), ("o.mkv", "hevc")])
def test_software_takes_over_from_a_gpu_that_fails(
    tmp_path: Path,
    gpu: Install,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    dies: tuple[int, float],
    kept: int,
    name: str,
    codec: str | None,
) -> None:
    monkeypatch.setattr("faceanim_cli.media.nvenc_pipe.FEWEST_RECENT", 1)
    monkeypatch.setattr("faceanim_cli.media.nvenc_pipe.RECENT_BYTES", kept * 35 * 51 * 3)
    gpu(dies=dies)
    path = tmp_path / "out" / name
    path.parent.mkdir()
    with open_output(path, Fraction(25), (51, 35), encoding=Encoding(codec)) as writer:
        for frame in count_up(100):
            writer.write(frame)
            frame[:] = 0  # a caller may use its memory anew
    assert numbers(path) == list(range(100))
    assert list(path.parent.iterdir()) == [path]
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "software goes on" in warning.getMessage()
    assert "EncodePicture failed" in warning.getMessage()


def test_frames_that_died_with_the_gpu_are_not_left_out_in_silence(
    tmp_path: Path, gpu: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceanim_cli.media.nvenc_pipe.FEWEST_RECENT", 1)
    monkeypatch.setattr("faceanim_cli.media.nvenc_pipe.RECENT_BYTES", 10 * 35 * 51 * 3)
    gpu(dies=(60, 0.1))
    path = tmp_path / "out" / "o.mp4"
    path.parent.mkdir()
    with (
        pytest.raises(FaceanimError, match=r"EncodePicture failed.*--encoder software") as caught,
        open_output(path, Fraction(25), (51, 35)) as writer,
    ):
        for frame in count_up(100):
            writer.write(frame)
    assert "\n" not in str(caught.value)
    assert not list(path.parent.iterdir())


def test_a_gpus_video_has_the_drivers_sound_and_streams_at_once(tmp_path: Path, gpu: Install) -> None:
    asked = gpu()
    ffmpeg(*tone(0.5), "-c:a", "flac", str(tmp_path / "song.mkv"))
    for name, song in (("a.mp4", None), ("b.mp4", tmp_path / "song.mkv"), ("c.mkv", tmp_path / "song.mkv")):
        how = {"encoding": Encoding("hevc"), "audio_from": song, "metadata": {"title": "t"}}
        with open_output(tmp_path / name, Fraction(25), (51, 35), **how) as writer:
            for frame in count_up(20):
                writer.write(frame)
        assert numbers(tmp_path / name) == list(range(20))
        held = probe(tmp_path / name)
        assert (held.audio is not None) == (song is not None)
        assert held.duration == pytest.approx(0.8, abs=0.04)
        banner = run(["-i", str(tmp_path / name)])[2]
        assert "yuv420p(tv, bt709" in banner
        assert " t\n" in banner
        if name.endswith("mp4"):
            data = (tmp_path / name).read_bytes()
            assert 0 < data.index(b"moov") < data.index(b"mdat")
            assert b"hvc1" in data
    assert len(asked()) == 4  # one trial


@pytest.mark.gpu
def test_a_real_gpu_encodes_every_frame(tmp_path: Path) -> None:
    try:
        check_output(tmp_path / "o.mp4", Encoding(encoder="nvenc"))
    except UsageError as reason:  # cards for computing have none
        pytest.skip(str(reason))
    with open_output(
        tmp_path / "o.mp4", Fraction(25), (512, 512), encoding=Encoding(encoder="nvenc")
    ) as writer:
        for frame in count_up(100):
            writer.write(np.pad(frame, ((0, 477), (0, 461), (0, 0))))
    assert numbers(tmp_path / "o.mp4") == list(range(100))
