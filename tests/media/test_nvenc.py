"""Who encodes: an ffmpeg that stands in for one with an NVIDIA GPU, and hands the work to x264 and x265."""

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from faceanim_cli.errors import UsageError
from faceanim_cli.media import Encoding, VideoReader, check_output, open_output
from faceanim_cli.media.ffmpeg import find_ffmpeg
from tests.media.conftest import grey_ramp

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")

# Lists the encoders, then fails as without a driver or does in software what NVENC was asked for.
STAND_IN = """#!{python}
import json, os, sys
real, works, log, given = {real!r}, {works!r}, {log!r}, sys.argv[1:]
if "-encoders" in given and not {listed!r}:
    print("Encoders:\\n V....D libx264              x\\n V....D libx265              x")
    sys.exit()
with open(log, "a") as file:
    file.write(json.dumps(given) + "\\n")
if any(a.endswith("_nvenc") for a in given):
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
os.execv(real, [real, *given])
"""
Install = Callable[..., Callable[[], list[list[str]]]]


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts the stand-in in ffmpeg's place; what it gives tells all encodings by NVENC that were begun."""
    real = find_ffmpeg()

    def install(works: bool = True, listed: bool = True, cuda: bool = True) -> Callable[[], list[list[str]]]:
        log, script = tmp_path / "log", tmp_path / "ffmpeg"
        script.write_text(
            STAND_IN.format(python=sys.executable, real=real, works=works, listed=listed, log=str(log))
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
    assert said(encoding, "-tag:v") == "hvc1"


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
    caplog.set_level("INFO")
    write(tmp_path / "a.mp4", encoding)
    assert len(asked()) == trials
    assert ("Cannot load libcuda" in caplog.text) == bool(trials)
    assert f"a.mp4: encoded by {'libsvtav1' if encoding.codec else 'libx264'}" in caplog.text
    assert not [record for record in caplog.records if record.levelname != "INFO"]


@pytest.mark.parametrize(
    ("machine", "name", "encoding", "line"),
    [
        (
            {"works": False},
            "a.mp4",
            Encoding(encoder="nvenc"),
            r"h264_nvenc .*\(Cannot load libcuda",
        ),
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
