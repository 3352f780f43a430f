"""``faceanim doctor`` on a sound machine, and on some that are not."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from faceanim_cli import doctor
from faceanim_cli.animation.face import Face
from faceanim_cli.errors import FaceanimError
from faceanim_models import Keypoints

Run = Callable[..., tuple[int, str, str]]


def test_a_sound_machine(faceanim: Run) -> None:
    code, out, err = faceanim("doctor", "--json")
    found = json.loads(out)
    checks = {check["name"]: check for check in found["checks"]}
    assert (code, err, found["ok"]) == (0, "", True)
    assert {check["state"] for check in checks.values()} <= {"ok", "missing"}
    assert checks["torch"]["about"] == version("torch")
    assert "h264" in checks["encoders"]["about"]
    assert "super-resolution" in checks["weights"]["about"]
    assert checks["self-test"]["about"].startswith("2 frames animated on ")


def test_without_ffmpeg_the_rest_is_examined_all_the_same(
    faceanim: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    code, out, err = faceanim("doctor")
    rows = [line.split("\t") for line in out.splitlines()]
    states = {name: state for name, state, _ in rows}
    assert code == 1
    assert err == "faceanim: broken: ffmpeg, encoders, self-test\n"
    assert [name for name, state in states.items() if state == "broken"] == [
        "ffmpeg",
        "encoders",
        "self-test",
    ]
    assert states["cascades"] == states["weights"] == "ok"
    assert all("pip install imageio-ffmpeg" in about for _, state, about in rows if state == "broken")


def test_quiet_tells_only_what_is_wrong(faceanim: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [doctor.Finding("a", "ok", "1"), doctor.Finding("b", "missing", "2")]
    monkeypatch.setattr(doctor, "examine", lambda: iter(findings))
    assert faceanim("doctor", "-q") == (0, "b\tmissing\t2\n", "")
    assert faceanim("doctor") == (0, "a\tok\t1\nb\tmissing\t2\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="a script as a program")
@pytest.mark.parametrize(
    ("encoders", "state", "said"),
    [("libx264 aac ffv1", "missing", "without hevc, vp9, av1, prores;"), ("libx265 aac", "broken", "h264")],
)
def test_an_ffmpeg_with_few_encoders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoders: str, state: str, said: str
) -> None:
    lines = "\n".join(f" V....D {name} about it" for name in encoders.split())
    poor = tmp_path / "ffmpeg"
    poor.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\n")
    poor.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(poor))
    monkeypatch.setattr(doctor, "self_test", lambda: "left out")
    found = {finding.name: finding for finding in doctor.examine()}
    assert found["encoders"].state == state
    assert said in found["encoders"].about
    assert found["ffmpeg"].state == "broken"  # it does not tell its version


def test_a_package_that_is_not_there() -> None:
    assert doctor.find_package("no-such-package") == doctor.Finding(
        "no-such-package", "broken", "not installed: pip install no-such-package"
    )
    found = doctor.find_package("no-such-package", "cluster")
    assert (found.state, 'pip install "faceanim-cli[cluster]"' in found.about) == ("missing", True)


def test_damaged_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "animation.safetensors"
    damaged.write_bytes(b"\0" * 100)
    monkeypatch.setattr("faceanim_cli.weights.resolve.shipped_weights", lambda _: damaged)
    monkeypatch.setattr(doctor, "self_test", lambda: "left out")
    found = {finding.name: finding for finding in doctor.examine()}
    assert found["weights"].state == "broken"
    assert "animation" in found["weights"].about


def test_a_device_that_gives_black_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    def black(_: Face, motion: Iterable[Keypoints], *__: object) -> Iterator[np.ndarray]:
        for keypoints in motion:
            for _point in keypoints.points:
                yield np.zeros((512, 512, 3), np.uint8)

    monkeypatch.setattr(Face, "animate", black)
    with pytest.raises(FaceanimError, match=r"wrong by \d+ levels; (animate with --precision fp32|install)"):
        doctor.self_test()


def test_each_fault_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def broken() -> bool:
        raise RuntimeError("CUDA driver\n  is too old")

    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=broken))
    monkeypatch.setattr(doctor, "self_test", lambda: "left out")
    (device,) = (finding for finding in doctor.examine() if finding.name == "device")
    assert device == doctor.Finding("device", "broken", "RuntimeError: CUDA driver is too old")
