"""Results as folders of PNGs: lossless, whole or not at all, and nothing of others is lost."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.media import check_output, is_ours, open_output, open_video, remove_leftovers
from tests.media.conftest import RATE, grey_ramp, write


class TestFolder:
    def test_is_lossless_and_read_back_in_order(self, tmp_path: Path) -> None:
        frames = np.random.default_rng(0).integers(0, 256, (12, 31, 47, 3), np.uint8)
        folder = write(tmp_path / "frames", frames)
        assert sorted(f.name for f in folder.iterdir())[::11] == ["000001.png", "000012.png"]
        assert np.array_equal(np.array(list(open_video(folder))), frames)
        assert list(tmp_path.iterdir()) == [folder]

    def test_replaces_frames_but_nothing_else(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "frames", grey_ramp(5))
        write(folder, grey_ramp(2))
        assert len(list(folder.iterdir())) == 2
        (folder / "holiday.jpg").write_bytes(b"dear")
        with pytest.raises(UsageError, match=r"holiday\.jpg"):
            write(folder, grey_ramp(2))
        assert len(list(folder.iterdir())) == 3
        (tmp_path / "empty.v1").mkdir()  # a dot is no suffix when the folder is there
        assert len(list(write(tmp_path / "empty.v1", grey_ramp(2)).iterdir())) == 2

    def test_pictures_of_others_stay(self, tmp_path: Path) -> None:
        folder = tmp_path / "frames"
        folder.mkdir()
        for n in range(1, 4):  # as ffmpeg numbers, and most tools
            Image.new("RGB", (24, 16)).save(folder / f"{n:06}.png")
        before = {file: file.read_bytes() for file in folder.iterdir()}
        with pytest.raises(UsageError, match=r"000001\.png"):
            check_output(folder)
        with pytest.raises(UsageError, match=r"000001\.png"):
            write(folder, grey_ramp(2))
        assert {file: file.read_bytes() for file in folder.iterdir()} == before
        write(tmp_path / "ours", grey_ramp(5))
        (folder / "000003.png").replace(tmp_path / "ours" / "000005.png")  # one of five is enough
        with pytest.raises(UsageError, match=r"000005\.png"):
            write(tmp_path / "ours", grey_ramp(2))

    @pytest.mark.parametrize("litter", [".DS_Store", "Thumbs.db", "desktop.ini", "._000001.png"])
    @pytest.mark.parametrize("when", ["before", "meanwhile"])
    def test_what_systems_leave_everywhere_is_in_nobodys_way(
        self, tmp_path: Path, litter: str, when: str
    ) -> None:
        folder = tmp_path / "frames"
        folder.mkdir()
        if when == "before":
            (folder / litter).write_bytes(b"\0")
        with open_output(folder, RATE, (24, 16)) as writer:
            (folder / litter).write_bytes(b"\0")
            for frame in grey_ramp(3):
                writer.write(frame)
        assert [file.name for file in sorted(folder.iterdir())] == ["000001.png", "000002.png", "000003.png"]
        assert list(tmp_path.iterdir()) == [folder]

    @pytest.mark.parametrize("conflict", ["a picture", "a file in its place", "a link to itself"])
    def test_finished_frames_are_kept_on_a_conflict(self, tmp_path: Path, conflict: str) -> None:
        folder = tmp_path / "frames"
        with (
            pytest.raises(FaceanimError, match=r"kept as .*frames-1") as caught,
            open_output(folder, RATE, (24, 16)) as writer,
        ):
            for frame in grey_ramp(3):
                writer.write(frame)
            if conflict == "a picture":
                folder.mkdir()
                (folder / "000001.png").write_bytes(b"another's")
            elif conflict == "a file in its place":
                folder.write_bytes(b"another's")
            else:
                folder.symlink_to(folder)
        assert "\n" not in str(caught.value)
        assert np.array_equal(np.array(list(open_video(tmp_path / "frames-1"))), grey_ramp(3))
        assert len(list(tmp_path.iterdir())) == 2

    def test_a_folder_that_does_not_show_its_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: Path) -> None:
            raise PermissionError(13, "Permission denied")

        (tmp_path / "frames").mkdir()
        monkeypatch.setattr(Path, "iterdir", refuse)
        with pytest.raises(UsageError, match="Permission denied"):
            check_output(tmp_path / "frames")
        assert not is_ours(tmp_path / "frames")
        remove_leftovers(tmp_path / "o.mp4")

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
    def test_a_private_folder_stays_private(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "frames", grey_ramp(1))
        folder.chmod(0o700)
        write(folder, grey_ramp(2))
        assert folder.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
    def test_a_failure_leaves_the_old_one(self, tmp_path: Path, failure: type[BaseException]) -> None:
        folder = write(tmp_path / "frames", grey_ramp(3))
        with pytest.raises(failure), open_output(folder, RATE, (24, 16)) as writer:
            writer.write(grey_ramp(1)[0])
            raise failure
        assert len(list(folder.iterdir())) == 3
        assert list(tmp_path.iterdir()) == [folder]

    @pytest.mark.parametrize("moment", ["rename older", "rename newer", "rmtree"])
    def test_an_interrupt_while_it_takes_its_name_leaves_one_of_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        folder = write(tmp_path / "frames", grey_ramp(3))
        rename, rmtree, done = Path.rename, shutil.rmtree, []

        def interrupt(now: str) -> None:
            done.append(now)
            if now == moment and done.count(now) == 1:
                raise KeyboardInterrupt

        def interrupted_rename(old: Path, new: Path) -> None:
            rename(old, new)
            interrupt("rename newer" if new == folder else "rename older")

        def interrupted_rmtree(*what: object, **how: object) -> None:
            interrupt("rmtree")
            rmtree(*what, **how)

        monkeypatch.setattr(Path, "rename", interrupted_rename)
        monkeypatch.setattr(shutil, "rmtree", interrupted_rmtree)
        with pytest.raises(KeyboardInterrupt):
            write(folder, grey_ramp(5))
        assert list(tmp_path.iterdir()) == [folder]
        assert len(list(folder.iterdir())) == (3 if moment == "rename older" else 5)

    @pytest.mark.skipif(os.name != "posix", reason="whether a process is alive")
    def test_an_older_one_that_a_killed_run_was_replacing_is_put_back(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = write(tmp_path / "frames", grey_ramp(3))
        code = (
            "import os, signal, sys; from pathlib import Path\n"
            "from faceanim_cli.media.atomic_file import replace_folder\n"
            "rename = Path.rename\n"
            "Path.rename = lambda *names: (rename(*names), os.kill(os.getpid(), signal.SIGKILL))\n"
            "new = Path(sys.argv[1]).with_name(f'.frames.partial-{os.getpid()}-abcdef')\n"
            "new.mkdir()\n"
            "replace_folder(new, Path(sys.argv[1]))\n"
        )
        killed = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert not folder.exists()
        assert len(list(tmp_path.iterdir())) == 2
        remove_leftovers(folder)
        assert list(tmp_path.iterdir()) == [folder]
        assert np.array_equal(np.array(list(open_video(folder))), grey_ramp(3))
        assert caplog.messages == [f"{folder}: is back; a run was killed as it replaced it"]

    def test_a_full_disk_is_quoted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Image.Image, "save", full)
        with pytest.raises(FaceanimError, match="No space left"):
            write(tmp_path / "frames", grey_ramp(3))
        assert not list(tmp_path.iterdir())
