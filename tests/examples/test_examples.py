"""What ships in ``examples/`` can be read, moves, and runs."""

import importlib.util
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from faceanim_cli.errors import NoFaceError, WeightsError
from faceanim_cli.faces import Box, FaceDetector
from faceanim_cli.media import VideoReader, read_photo

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAMES = 100

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")


@pytest.fixture(scope="module")
def driver() -> list[npt.NDArray[np.uint8]]:
    with VideoReader(EXAMPLES / "driver.mp4") as video:
        return list(video)


@pytest.fixture(scope="module")
def faces(driver: list[npt.NDArray[np.uint8]]) -> list[list[Box]]:
    detector = FaceDetector()
    return [detector.detect(frame) for frame in driver]


def test_portrait_shows_one_face_and_names_its_source() -> None:
    photo = read_photo(EXAMPLES / "portrait.jpg")
    assert photo.shape == (512, 512, 3)
    (face,) = FaceDetector().detect(photo)
    assert abs(face.cx - 224) < 12
    assert abs(face.cy - 114) < 12
    with Image.open(EXAMPLES / "portrait.jpg") as image:
        assert "NASA" in image.getexif()[0x010E]
        assert b"public domain" in image.info["comment"]


def test_driver_is_what_the_readme_says(driver: list[npt.NDArray[np.uint8]]) -> None:
    with VideoReader(EXAMPLES / "driver.mp4") as video:
        assert video.fps == Fraction(25)
        assert (video.width, video.height) == (256, 256)
        assert video.has_audio
    assert len(driver) == FRAMES
    assert (EXAMPLES / "driver.mp4").stat().st_size < 500_000


def test_driver_begins_and_ends_at_rest(driver: list[npt.NDArray[np.uint8]]) -> None:
    def difference(a: int, b: int) -> float:
        return float(np.abs(driver[a].astype(int) - driver[b]).mean())

    assert difference(0, -1) < 3
    assert difference(0, 18) > 10  # turned


def test_driver_shows_a_face_all_the_time(faces: list[list[Box]]) -> None:
    assert sum(len(found) == 1 for found in faces) >= 0.95 * FRAMES


def test_driver_turns_and_nods(faces: list[list[Box]]) -> None:
    def centre(seconds: float) -> tuple[float, float]:
        boxes = [found[0] for found in faces[round(seconds * 25) - 1 : round(seconds * 25) + 2] if found]
        return float(np.median([b.cx for b in boxes])), float(np.median([b.cy for b in boxes]))

    rest_x, rest_y = centre(0.08)
    assert centre(0.7)[0] > rest_x + 20
    assert centre(1.45)[0] < rest_x - 20
    assert centre(2.25)[1] > rest_y + 8
    assert centre(2.65)[1] < rest_y - 6


def test_make_driver_explains_itself() -> None:
    command = [sys.executable, EXAMPLES / "make_driver.py", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("usage: make_driver.py")


def test_make_driver_is_at_rest_first_and_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    script = load("make_driver")
    rest = script.Pose()
    assert script.pose_at(0.0) == rest
    assert script.pose_at((FRAMES - 1) / 25) == rest
    assert script.pose_at(0.7).yaw == pytest.approx(-18)


# --- animate_folder.py, with networks that are not there


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Photos "a b", bad and c; one driver; an output folder that is not there yet."""
    photos, drivers = tmp_path / "my photos", tmp_path / "drivers"
    photos.mkdir()
    drivers.mkdir()
    for name in ("a b.jpg", "bad.PNG", "c.jpeg", "notes.txt"):
        (photos / name).touch()
    (drivers / "nod.mp4").touch()
    return photos, drivers, tmp_path / "out"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    def animate_file(animator: object, photo: Path, driver: Path, output: Path) -> SimpleNamespace:
        if photo.stem == "bad":
            raise NoFaceError(f"{photo}: no face found")
        output.write_text("made")
        return SimpleNamespace(frames=1)

    module = load("animate_folder")
    monkeypatch.setattr(module, "Animator", lambda **_: object())
    monkeypatch.setattr(module, "animate_file", animate_file)
    return module


def test_python_batch_explains_itself(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        script.main(["--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage:")


def test_python_batch_goes_on_after_a_failure_and_skips_what_is_there(
    script: ModuleType, folders: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(folder) for folder in folders]
    assert script.main(arguments) == 1
    assert sorted(f.name for f in folders[2].iterdir()) == ["a b_nod.mp4", "c_nod.mp4"]
    out, err = capsys.readouterr()
    assert out.endswith("2 done, 0 skipped, 1 failed\n")
    assert "no face found" in err

    (folders[0] / "bad.PNG").unlink()
    assert script.main(arguments) == 0
    assert capsys.readouterr().out == "0 done, 2 skipped, 0 failed\n"


def test_python_batch_does_not_write_one_file_twice(
    script: ModuleType, folders: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[0] / "c.png").touch()
    assert script.main([str(folder) for folder in folders]) == 2
    assert "rename one" in capsys.readouterr().err
    assert not folders[2].exists()


def test_python_batch_without_weights(
    script: ModuleType, folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_weights(**_: object) -> None:
        raise WeightsError("weights are missing")

    monkeypatch.setattr(script, "Animator", no_weights)
    assert script.main([str(folder) for folder in folders]) == WeightsError.exit_code


def test_python_batch_without_a_folder(script: ModuleType, tmp_path: Path) -> None:
    assert script.main([str(tmp_path / "none"), str(tmp_path), str(tmp_path)]) == 5


# --- animate_folder.sh, with the command itself


REAL = f'exec "{sys.executable}" -m faceanim_cli "$@"'


def run_batch(tmp_path: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """animate_folder.sh with this faceanim first on the PATH."""
    return run_script("animate_folder.sh", tmp_path, *arguments)


def run_script(
    name: str, tmp_path: Path, *arguments: str | Path, faceanim: str = REAL
) -> "subprocess.CompletedProcess[str]":
    """An example in shell, with ``faceanim``, the body of a script, first on the PATH."""
    command = tmp_path / "bin" / "faceanim"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f"#!/usr/bin/env bash\n{faceanim}\n")
    command.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.run(
        ["bash", EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )


@needs_bash
@pytest.mark.parametrize("name", ["animate_folder.sh", "retrain.sh"])
def test_shell_scripts_are_valid_executable_and_explain_themselves(tmp_path: Path, name: str) -> None:
    subprocess.run(["bash", "-n", EXAMPLES / name], check=True)
    assert os.access(EXAMPLES / name, os.X_OK)
    result = run_script(name, tmp_path, "--help")
    assert (result.returncode, result.stdout[:6]) == (0, "Usage:")
    result = run_script(name, tmp_path, "photos")
    assert (result.returncode, result.stderr[:6]) == (2, "Usage:")


@needs_bash
def test_shell_batch_leaves_what_is_there_and_hands_options_on(
    tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    photos, drivers, output = folders
    output.mkdir()
    (output / "a b_nod.mp4").write_text("whole")
    result = run_batch(tmp_path, *folders, "--dry-run")
    assert (result.returncode, result.stderr) == (
        0,
        f"{photos}: ignored 1 file: 1 .txt\n2 to do, 1 there already\n",
    )
    assert result.stdout.splitlines() == [
        f"{photos / name}\t{drivers / 'nod.mp4'}\t{output / name.split('.')[0]}_nod.mp4"
        for name in ("bad.PNG", "c.jpeg")
    ]


@needs_bash
def test_shell_batch_fails_with_the_code_of_the_command(
    tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    assert run_batch(tmp_path, tmp_path / "none", *folders[1:]).returncode == 5
    assert run_batch(tmp_path, *folders, "--levitate").returncode == 2


# --- retrain.sh, with a faceanim that only tells what it was asked

TELLS = """echo "$*" >> "$(dirname "$0")/calls"
case "$1" in
  prepare) exit "${DROPPED:-0}" ;;
  train) echo "the best weights.safetensors" ;;
esac"""


@needs_bash
@pytest.mark.parametrize("code", [0, 1])  # 1: some videos were of no use, which stops nothing
def test_retraining_goes_from_videos_to_a_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setenv("DROPPED", str(code))
    result = run_script("retrain.sh", tmp_path, "my videos", "out", "--max-minutes", "60", faceanim=TELLS)
    assert result.returncode == 0, result.stderr
    portrait, driver = EXAMPLES / "portrait.jpg", EXAMPLES / "driver.mp4"
    assert (tmp_path / "bin" / "calls").read_text().splitlines() == [
        "prepare my videos --output out/data",
        "prepare --check out/data",
        "train --data out/data --out out/run --max-minutes 60",
        f"animate {portrait} {driver} --weights the best weights.safetensors --output out/portrait.mp4",
    ]


@needs_bash
def test_retraining_ends_with_the_code_of_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DROPPED", "5")
    assert run_script("retrain.sh", tmp_path, "none", "out", faceanim=TELLS).returncode == 5
    assert run_script("retrain.sh", tmp_path, tmp_path / "none", "out").returncode == 5
