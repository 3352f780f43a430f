"""Odd and damaged files, through the command line: an exit code, one line, nothing half-written."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from faceanim_cli import Animator
from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.media import open_video
from tests.commands.odd_files import (
    Files,
    a_diary_in,
    as_jpeg,
    at_the_border,
    driver_bytes,
    driver_of,
    encode,
    header_bomb,
    linked,
    photo_bytes,
    photo_of,
    portrait,
    renamed,
    save_animation,
    save_photo,
    shifted,
    sixteen_bit,
    sound_as_photo,
    sound_only,
    truncated,
    turned_by_metadata,
    two_faces,
    uneven_times,
    with_alpha,
)

Run = Callable[..., tuple[int, str, str]]
GREY = np.full((120, 120, 3), 99, np.uint8)


class Case(NamedTuple):
    """What is done to the files, and what comes of it."""

    arrange: Callable[[Files], None] | None = None
    code: int = 0
    said: str = ""  # in the one line on stderr
    photo: str = "photo.png"
    driver: str = "driver.mp4"
    output: str = "out"  # a folder of PNGs: no time is spent on encoding
    frames: int = 3
    options: tuple[str, ...] = ()
    dashes: str = "--"  # what follows is a name, however it looks


ODD_NAMES = {
    "unicode": "Zoë 照片 👩",
    "spaces": "my  best photo",
    "quotes": 'it\'s "me" `now` $HOME',
    "percent": "100%03d",
    "glob": "a[1]*?",
    "colon": "c:photo",
    "newline": "two\nlines",
}

CASES: dict[str, Case] = {
    "as it should be": Case(),
    # photos that cannot be read
    **{
        f"photo cut after {n} of 8": Case(as_jpeg(truncated(n)), 5, "photo.jpg", photo="photo.jpg")
        for n in range(1, 8)
    },
    "photo of zero bytes": Case(photo_bytes(b""), 5, "is empty"),
    "text as photo": Case(photo_bytes(b"dear diary"), 5, "it is a text"),
    "sound as photo": Case(sound_as_photo, 5, "no photo"),
    "video as photo": Case(None, 5, "swapped", photo="driver.mp4"),
    "header bomb": Case(photo_bytes(header_bomb()), 5, "megapixels"),
    # odd photos
    "photo of one pixel": Case(photo_of(lambda f: f[:1, :1]), 3, "no face found in 1x1"),
    "photo without a face": Case(photo_of(lambda _: GREY), 3, "no face found in 120x120"),
    "photo of many faces": Case(photo_of(two_faces)),
    "photo with the face at its border": Case(photo_of(at_the_border), options=("--paste-back",)),
    "photo of odd size": Case(
        photo_of(lambda f: np.ascontiguousarray(f[:151, :157])), options=("--paste-back",)
    ),
    "photo with alpha": Case(with_alpha),
    "photo in grey": Case(lambda files: save_photo(files.photo, files.face, "L")),
    "photo in CMYK": Case(
        lambda files: save_photo(files.photo.with_name("press.tif"), files.face, "CMYK"), photo="press.tif"
    ),
    "photo of 16 bits": Case(sixteen_bit),
    "animated GIF as photo": Case(
        lambda files: save_animation(files.photo.with_name("a.gif"), files.face), photo="a.gif"
    ),
    "animated WebP as photo": Case(
        lambda files: save_animation(files.photo.with_name("a.webp"), files.face), photo="a.webp"
    ),
    # drivers that cannot be read, or no more than so far
    "driver of zero bytes": Case(driver_bytes(b""), 5, "is empty"),
    "text as driver": Case(driver_bytes(b"dear diary\n" * 40), 5, "driver.mp4"),
    "sound as driver": Case(sound_only, 5, "no picture"),
    "photo as driver": Case(None, 5, "swapped", driver="photo.png"),
    "folder without frames": Case(
        lambda files: (files.driver.parent / "empty").mkdir(), 5, "empty", driver="empty"
    ),
    # odd drivers
    "driver of one frame": Case(lambda files: encode(files.driver, [files.face]), frames=1),
    "driver of odd size": Case(driver_of(lambda f: np.ascontiguousarray(f[:151, :157]))),
    "driver of one pixel": Case(driver_of(lambda f: np.ascontiguousarray(f[:1, :1])), 3, "no face"),
    "driver without a face": Case(driver_of(lambda _: GREY), 3, "--driver-crop"),
    "driver of many faces": Case(driver_of(two_faces)),
    "driver with the face at its border": Case(driver_of(at_the_border)),
    "driver turned by its metadata": Case(turned_by_metadata),
    "driver of uneven times": Case(uneven_times, frames=5),
    "driver at 29.97": Case(driver_of(lambda f: f, fps="30000/1001")),
    "driver at 120": Case(driver_of(lambda f: f, fps="120")),
    "animated GIF as driver": Case(
        lambda files: save_animation(files.driver.with_name("a.gif"), files.face), driver="a.gif"
    ),
    "animated WebP as driver": Case(
        lambda files: save_animation(files.driver.with_name("a.webp"), files.face), driver="a.webp"
    ),
    # names
    **{
        f"names with {what}": Case(
            renamed(f"{name}.png", f"{name}.mp4"),
            photo=f"{name}.png",
            driver=f"{name}.mp4",
            output=f"{name} out",
        )
        for what, name in ODD_NAMES.items()
    },
    "names with a leading dash": Case(
        renamed("-p.png", "-d.mp4"), photo="-p.png", driver="-d.mp4", output="-o.mp4"
    ),
    "a dash without a name for the file": Case(renamed("-p.png"), 2, "No such", photo="-p.png", dashes=""),
    # places
    "read-only folder": Case(None, 2, "not writable", output="/proc/self/out.mp4"),
    "output in no folder": Case(None, 2, "does not exist", output="nowhere/out.mp4"),
    "output is a folder of other things": Case(a_diary_in("out"), 2, "out"),
    "output is the photo": Case(None, 2, "it is an input", output="photo.png"),
    "output is a link to the driver": Case(linked(Path.symlink_to), 2, "it is an input", output="link.mp4"),
    "output is another name of the driver": Case(
        linked(Path.hardlink_to), 2, "it is an input", output="link.mp4"
    ),
    "output is the driver's own folder": Case(None, 2, ".", output="."),
}


@pytest.fixture(scope="module")
def animator(rigid_weights_file: Path) -> Animator:
    return Animator(rigid_weights_file, device="cpu", precision="fp32", sr=False)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Files:
    folder = tmp_path_factory.mktemp("originals")
    files = Files(folder / "photo.png", folder / "driver.mp4", portrait(astronaut))
    save_photo(files.photo, files.face)
    encode(files.driver, shifted(files.face), extra=("-movflags", "+faststart"))
    return files


@pytest.fixture
def files(originals: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    for file in (originals.photo, originals.driver):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    return Files(tmp_path / "photo.png", tmp_path / "driver.mp4", originals.face)


def listing() -> dict[str, bytes]:
    """All files below the current folder with what is in them."""
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in Path().rglob("*")}


@pytest.mark.parametrize("name", CASES)
def test_odd_files(
    name: str, faceanim: Run, files: Files, animator: Animator, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    if case.arrange is not None:
        case.arrange(files)
    monkeypatch.setattr(AnimationOptions, "animator", lambda _: animator)  # loaded once: they are all alike
    before = listing()
    names = [name for name in (case.dashes, case.photo, case.driver) if name]
    code, out, err = faceanim("animate", "-q", *case.options, "-o", case.output, *names)
    assert code == case.code, err
    assert case.said in err
    assert "Traceback" not in err
    if code > 2:
        assert err.count("\n") == 1
    after = listing()
    assert after.items() >= before.items()
    if code:
        assert (out, after) == ("", before)
        return
    assert out == f"{case.output}\n"
    assert case.said or not err
    assert {Path(new).parts[0] for new in after.keys() - before.keys()} == {case.output}
    assert sum(1 for _ in open_video(case.output)) == case.frames


@pytest.mark.parametrize("eighths", range(1, 8))
def test_a_driver_that_breaks_off_is_used_as_far_as_it_goes(
    eighths: int,
    faceanim: Run,
    files: Files,
    animator: Animator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    encode(files.driver, shifted(files.face), extra=("-g", "1", "-movflags", "+faststart"))
    truncated(eighths)(files.driver)
    monkeypatch.setattr(AnimationOptions, "animator", lambda _: animator)
    before = listing()
    code, out, err = faceanim("animate", files.photo, files.driver, "-o", "out")
    assert code in {1: (5,), 7: (0,)}.get(eighths, (0, 5))
    if code:
        assert (out, listing(), err.count("\n")) == ("", before, 1)
        assert "driver.mp4: no frame can be decoded" in err
    else:
        count = sum(1 for _ in open_video("out"))
        assert 1 <= count < 3
        assert f"driver.mp4 breaks off after {count} frames" in caplog.text


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright_however_it_lies(orientation: int, faceanim: Run, files: Files) -> None:
    """By all eight EXIF orientations: the face is found at one place."""
    face = np.ascontiguousarray(files.face[:150])
    save_photo(files.photo, face, orientation=orientation)
    code, out, _ = faceanim("faces", files.photo, "--json")
    report = json.loads(out)
    assert (code, report["width"], report["height"]) == (0, 160, 150)
    x, y, w, h = report["faces"][0]["box"]
    assert x + w / 2 == pytest.approx(
        80, abs=10
    )  # the face of the upright picture: its middle, below the hair
    assert y + h / 2 == pytest.approx(72, abs=12)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 12 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.name != "posix"
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", disk], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out"])
def test_a_full_disk_is_one_line_and_nothing_stays_on_it(
    name: str,
    faceanim: Run,
    files: Files,
    full_disk: Path,
    rigid_weights_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = Animator(rigid_weights_file, device="cpu", precision="fp32", sr=False, size=400)
    monkeypatch.setattr(AnimationOptions, "animator", lambda _: large)
    code, out, err = faceanim("animate", "-q", files.photo, files.driver, "-o", full_disk / name)
    assert (code, out) == (1, "")
    assert "No space left" in err
    assert err.count("\n") == 1
    assert not list(full_disk.iterdir())
