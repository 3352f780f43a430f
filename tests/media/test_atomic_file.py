import os
from pathlib import Path

import pytest

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media import check_writable, whole_file


def test_the_file_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with whole_file(target) as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == ".mp4"  # ffmpeg picks the container from it
        assert partial.name.startswith(f".out.partial-{os.getpid()}")
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


def test_long_names_fit(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 240 + ".png")
    with whole_file(target) as partial:
        partial.write_bytes(b"1")
    assert target.exists()


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


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="POSIX devices")
def test_a_device_is_not_replaced() -> None:
    with pytest.raises(UsageError, match="device"), whole_file("/dev/null"):
        pass
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that refuses even root")
def test_a_folder_that_refuses_files() -> None:
    with pytest.raises(UsageError, match="not writable"):
        check_writable("/proc/self/out.mp4")
