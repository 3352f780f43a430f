"""Interrupts as ffmpeg starts: it does not go on alone."""

import signal
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from faceanim_cli.media import VideoWriter
from faceanim_cli.media import ffmpeg as our_ffmpeg


def test_an_interrupt_as_ffmpeg_starts_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def interrupted(process: Any) -> None:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr("faceanim_cli.media.frame_pipe.Stderr", interrupted)
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "o.mp4", Fraction(25), (64, 64)):
        pass
    assert started[0].poll() is not None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_a_process_is_made_ends_it(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            signal.raise_signal(number)

    monkeypatch.setattr("faceanim_cli.media.ffmpeg.subprocess.Popen", Interrupted)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            our_ffmpeg.spawn(["-re", "-f", "lavfi", "-i", "color=gray:duration=9", "-f", "null", "-"])
        assert signal.getsignal(number) is signal.default_int_handler
        assert started[0].poll() is not None
    finally:
        signal.signal(number, before)
        started[0].kill()


def test_an_interrupt_as_a_second_pass_starts_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def interrupted(process: Any) -> None:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr("faceanim_cli.media.ffmpeg.Stderr", interrupted)
    source = ["-re", "-f", "lavfi", "-i", "color=gray:size=16x16:duration=5"]  # in the time that it tells
    with pytest.raises(KeyboardInterrupt):
        our_ffmpeg.run([*source, "-f", "null", "-"])
    try:
        assert started[0].poll() is not None
    finally:
        started[0].kill()
