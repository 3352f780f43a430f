import contextlib
import errno
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media import atomic_file, check_not_input, check_writable, remove_leftovers, whole_file
from faceanim_cli.media.atomic_file import partial_path
from faceanim_cli.media.output_checks import check_folder
from tests.media.conftest import file_size_limit

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes, devices and limits")


def test_the_file_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with whole_file(target) as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == ".mp4"  # ffmpeg picks the container from it
        assert re.fullmatch(rf"\.out\.partial-[0-9a-f]{{6}}-{os.getpid()}-[0-9a-f]{{6}}\.\w+", partial.name)
        partial.write_bytes(b"half")
        assert not target.exists()
    assert target.read_bytes() == b"half"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_remains_of_a_failure(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"from yesterday")
    with pytest.raises(failure), whole_file(target) as partial:
        partial.write_bytes(b"half")
        raise failure
    assert target.read_bytes() == b"from yesterday"
    assert list(tmp_path.iterdir()) == [target]


def test_two_writers_of_one_name_do_not_mix(tmp_path: Path) -> None:
    with whole_file(tmp_path / "o.png") as first, whole_file(tmp_path / "o.png") as second:
        assert first != second
        first.write_bytes(b"1")
        second.write_bytes(b"2")
    assert (tmp_path / "o.png").read_bytes() == b"1"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "out.png", tmp_path / "link.png"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with whole_file(link) as partial:
        partial.write_bytes(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_writing_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FaceanimError, match="nothing was written"), whole_file(tmp_path / "out.png"):
        pass


@contextlib.contextmanager
def umask(value: int) -> Iterator[None]:
    old = os.umask(value)
    try:
        yield
    finally:
        os.umask(old)


@pytest.mark.parametrize("stem", ["x" * 251, "画" * 83, "é" * 125, "🙂" * 62, "e\u0301" * 83])
def test_names_of_any_script_fit(tmp_path: Path, stem: str) -> None:
    target = tmp_path / f"{stem}.png"
    assert 240 < len(os.fsencode(target.name)) <= 255
    with whole_file(target) as partial:
        assert len(os.fsencode(partial.name)) < 143  # eCryptfs takes no longer ones
        partial.write_bytes(b"1")
    assert [file.name for file in tmp_path.iterdir()] == [target.name]


def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    for check in (check_writable, check_folder):
        with pytest.raises(UsageError, match="too long"):
            check(tmp_path / ("x" * 300))


@posix
def test_files_are_as_private_as_the_umask_says(tmp_path: Path) -> None:
    new, old = tmp_path / "new.safetensors", tmp_path / "old.safetensors"
    old.write_bytes(b"")
    old.chmod(0o640)
    for mask, expected in ((0o022, 0o644), (0o002, 0o664), (0o077, 0o600)):
        new.unlink(missing_ok=True)
        for target in (new, old):
            with umask(mask), whole_file(target) as partial:
                save_file({"x": np.zeros(3, np.float32)}, partial)  # of its own accord: 0600
        assert stat.S_IMODE(new.stat().st_mode) == expected
        assert stat.S_IMODE(old.stat().st_mode) == 0o640  # as it was, like any file that is overwritten


def test_what_is_finished_is_kept_when_its_place_is_taken(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    with (
        pytest.raises(FaceanimError, match=r"out\.png.*kept as .*out-2\.png") as caught,
        whole_file(target) as partial,
    ):
        partial.write_bytes(b"hours of work")
        target.mkdir()
        (tmp_path / "out-1.png").write_bytes(b"another")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "out-2.png").read_bytes() == b"hours of work"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out-1.png", "out-2.png", "out.png"]


@posix
@pytest.mark.parametrize("kind", ["bytes", "safetensors", "torch"])
def test_a_full_disk_is_one_line_for_whatever_is_written(tmp_path: Path, kind: str) -> None:
    with (
        pytest.raises(FaceanimError, match=r"cannot write .*out\.bin: File too large") as caught,
        file_size_limit(1000),
        whole_file(tmp_path / "out.bin") as partial,
    ):
        if kind == "bytes":
            partial.write_bytes(bytes(5000))
        elif kind == "torch":
            with partial.open("wb") as file:
                torch.save({"x": torch.zeros(5000)}, file)
        else:
            save_file({"x": np.zeros(5000, np.float32)}, partial)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_our_own_words_about_a_full_disk_stay(tmp_path: Path) -> None:
    with pytest.raises(FaceanimError, match=r"^cannot write another$"), whole_file(tmp_path / "out.bin"):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise FaceanimError("cannot write another") from error


def test_other_faults_of_the_block_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), whole_file(tmp_path / "out.bin"):
        raise PermissionError(errno.EACCES, "of an input, say")


@posix
def test_leftovers_of_dead_processes_go(tmp_path: Path) -> None:
    dead = 2**22 + 1  # beyond Linux's largest process number
    names = {
        f".o.partial-{dead}-abcdef.gif": False,
        f".o.partial-{dead}-abcdef.gif.mkv": False,  # GIF's first pass
        f".o.partial-{os.getpid()}-abcdef.gif": False,
        f".o.partial-{os.getppid()}-abcdef.gif": True,
        f".o.partial-{dead}-abcdef.mp4": True,  # another output's
        f".other.partial-{dead}-abcdef.gif": True,
        "o.gif": True,
    }
    for name in names:
        (tmp_path / name).write_bytes(b"")
    remove_leftovers(tmp_path / "o.gif")
    assert {name: (tmp_path / name).exists() for name in names} == names


@posix
def test_what_another_machine_is_writing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that several see; a process of its number is here dead or alive."""
    monkeypatch.setattr(atomic_file, "_machine", lambda: "0000aa")
    elsewhere = [partial_path(tmp_path / "o.mp4"), partial_path(tmp_path / "o")]
    monkeypatch.setattr(atomic_file, "_machine", lambda: "0000bb")
    here = partial_path(tmp_path / "o.mp4")
    elsewhere[0].touch()
    elsewhere[1].mkdir()
    here.touch()
    for name in ("o.mp4", "o"):
        remove_leftovers(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == sorted(elsewhere)
    long_ago = time.time() - 2 * 86_400
    for partial in elsewhere:
        os.utime(partial, (long_ago, long_ago))
    for name in ("o.mp4", "o"):
        remove_leftovers(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_check_writable(tmp_path: Path) -> None:
    check_writable(tmp_path / "out.mp4")
    check_writable("relative.mp4")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="create it first"):
        check_writable(tmp_path / "missing" / "out.mp4")
    with pytest.raises(UsageError, match="is a folder"):
        check_writable(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError):
        check_writable(tmp_path / "file" / "out.mp4")


@posix
@pytest.mark.parametrize("check", [check_writable, check_folder])
def test_what_is_no_place_for_a_file_gets_a_sentence(tmp_path: Path, check: Callable[[Path], None]) -> None:
    fifo, loop = tmp_path / "fifo", tmp_path / "loop"
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    for path, said in (
        ("/dev/null", "device"),
        ("/dev/full", "device"),
        (fifo, "device or a pipe"),
        (loop, "symbolic links"),
        ("-", "standard output"),
        ("https://example.com/a.mp4", "address"),
        ("file:///tmp/a.mp4", "address"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            check(Path(path))
        assert "\n" not in str(caught.value)
    assert Path("/dev/null").is_char_device()
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_folder_may_be_called_like_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if sys.platform != "win32":
        Path("http:").mkdir()
        check_writable("http:/a.mp4")


def test_an_input_is_never_the_output(tmp_path: Path) -> None:
    photo = tmp_path / "in" / "photo.png"
    photo.parent.mkdir()
    photo.write_bytes(b"dear")
    (tmp_path / "link.png").symlink_to(photo)
    (tmp_path / "hard.png").hardlink_to(photo)
    (tmp_path / "folder").symlink_to(photo.parent)
    for output in (
        photo,
        tmp_path / "in" / ".." / "in" / "photo.png",
        tmp_path / "link.png",
        tmp_path / "hard.png",
        tmp_path / "folder" / "photo.png",
        tmp_path / "in",  # a folder of frames would take the whole folder's place
        tmp_path / "folder",
        tmp_path,
    ):
        with pytest.raises(UsageError, match="input"):
            check_not_input(output, tmp_path / "another.mp4", photo)
    check_not_input(tmp_path / "in" / "new.png", photo)
    check_not_input(tmp_path / "new", photo)
    check_not_input(tmp_path / "in" / "frames", photo)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that refuses even root")
def test_a_folder_that_refuses_files() -> None:
    with pytest.raises(UsageError, match="not writable"):
        check_writable("/proc/self/out.mp4")
