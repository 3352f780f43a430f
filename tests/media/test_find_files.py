"""Which files of a folder are photos and videos, and in which order they come."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media.find_files import expand, frame_files, holds_frames, is_animated, list_folder, walk
from tests.media.conftest import grey_ramp


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder inside ``tmp_path`` that nobody may read, not even root."""
    folder = tmp_path / "locked"
    folder.mkdir()
    listed = Path.iterdir

    def refuse(path: Path) -> object:
        if path == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    return folder


def test_a_folder_is_sorted_into_videos_photos_and_folders(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.MOV", "a.mp4", "x.JPG", "photo.heic", "notes.txt", ".hidden.mp4", "._a.mp4", "in/c.mp4"
    )
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    listing = list_folder(tmp_path)
    assert [path.name for path in listing.videos] == ["a.mp4", "b.MOV"]
    assert [path.name for path in listing.photos] == ["photo.heic", "x.JPG"]
    assert [path.name for path in listing.folders] == ["in"]


def test_a_folder_called_like_a_video_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "clip.mp4/1.png")
    assert list_folder(tmp_path).videos == ()
    assert list_folder(tmp_path).folders == (tmp_path / "clip.mp4",)


def test_walk_goes_everywhere_once_and_parents_first(tmp_path: Path) -> None:
    touch(tmp_path, "z.mp4", "b/1.mp4", "b/deep/2.mp4", "a/3.mp4", "landmarks/4.mp4", ".git/5.mp4")
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    found = [video.name for listing in walk(tmp_path, skip={"landmarks"}) for video in listing.videos]
    assert found == ["z.mp4", "3.mp4", "1.mp4", "2.mp4"]


def test_walk_takes_other_suffixes(tmp_path: Path) -> None:
    touch(tmp_path, "a.npy", "b.mp4")
    assert [[path.name for path in listing.videos] for listing in walk(tmp_path, {".npy"})] == [["a.npy"]]


def test_a_folder_inside_that_cannot_be_read_is_passed_over(
    tmp_path: Path, locked: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "a/1.mp4", "z/2.mp4")
    with caplog.at_level(logging.WARNING):
        found = [video.name for listing in walk(tmp_path) for video in listing.videos]
        assert not holds_frames(locked)
    assert found == ["1.mp4", "2.mp4"]
    assert "Permission denied" in caplog.text
    assert str(locked) in caplog.text


def test_the_folder_itself_that_cannot_be_read_is_an_error(locked: Path) -> None:
    with pytest.raises(UnreadableInputError, match="Permission denied"):
        list(walk(locked))
    with pytest.raises(UnreadableInputError, match="no-such"):
        frame_files(locked.parent / "no-such")


def test_frames_are_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "10.png", "9.png", "2.PNG", "._1.png", "notes.txt", "all.gif")
    assert [path.name for path in frame_files(tmp_path)] == ["2.PNG", "9.png", "10.png"]
    assert holds_frames(tmp_path)
    assert not holds_frames(tmp_path / "2.PNG")


def test_a_pattern_stands_for_files_and_a_name_for_itself(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "c.png", "odd[1].jpg")
    assert expand(f"{tmp_path}/[ab].jpg") == [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    assert expand(tmp_path / "odd[1].jpg") == [tmp_path / "odd[1].jpg"]
    assert expand(tmp_path / "*.tif") == [tmp_path / "*.tif"]
    for too_long in ("x" * 300, "x" * 300 + "*.jpg", "漢" * 90 + "[1].jpg"):
        assert expand(tmp_path / too_long) == [tmp_path / too_long]


@pytest.mark.parametrize("form", ["WEBP", "PNG"])
@pytest.mark.parametrize("profile", [b"", bytes(3000)])
def test_pictures_that_move_are_told_from_stills(tmp_path: Path, form: str, profile: bytes) -> None:
    path = tmp_path / "any.webp"
    images = [Image.fromarray(frame) for frame in grey_ramp(3)]
    images[0].save(path, form, icc_profile=profile)
    assert not is_animated(path)
    images[0].save(path, form, icc_profile=profile, save_all=True, append_images=images[1:])
    assert is_animated(path)
    path.with_suffix(".mp4").write_bytes(b"any")
    assert is_animated(path.with_suffix(".mp4"))


def test_a_webp_that_was_cut_off_does_not_move(tmp_path: Path) -> None:
    path = tmp_path / "any.webp"
    images = [Image.fromarray(frame) for frame in grey_ramp(3)]
    images[0].save(path, save_all=True, append_images=images[1:])
    whole = path.read_bytes()
    for length in range(12, 21):
        path.write_bytes(whole[:length])
        assert not is_animated(path)
    path.write_bytes(whole[:21])
    assert is_animated(path)
