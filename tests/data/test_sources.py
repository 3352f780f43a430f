"""Which videos a person means, and whose face is in each."""

from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.data.sources import file_name, find_sources
from faceanim_cli.data.stacked_frames import open_frames, stacked_count
from faceanim_cli.errors import UnreadableInputError, UsageError
from faceanim_cli.media import write_photo


@pytest.fixture
def tree(tmp_path):
    """Makes empty files; returns the folder."""

    def make(*names):
        for name in names:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "in"

    return make


def people(sources):
    return {source.path.name: source.identity for source in sources}


def test_files_of_a_folder_are_people_of_their_own(tree):
    sources = find_sources([tree("b.mp4", "a.gif", "notes.txt", ".hidden.mp4")])
    assert [source.path.name for source in sources] == ["a.gif", "b.mp4"]
    assert people(sources) == {"a.gif": "a", "b.mp4": "b"}


def test_folders_inside_are_people(tree):
    sources = find_sources([tree("anna/1.mp4", "anna/deep/2.mp4", "ben/3.mp4")])
    assert people(sources) == {"1.mp4": "anna", "2.mp4": "anna", "3.mp4": "ben"}


def test_people_are_called_as_tables_give_it_back(tree):
    assert people(find_sources([tree(" anna\nmaria /1.mp4")])) == {"1.mp4": "anna maria"}


def test_voxceleb_names_are_known(tree):
    sources = find_sources([tree("x/id10283#abc#001.mp4", "y/id10283#def#002.mp4")])
    assert {source.identity for source in sources} == {"id10283"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("folder", {"anna"}), ("file", {"anna/p1_a", "anna/p1_b"}), ("(p[0-9]+)_", {"p1"}), ("p.", {"p1"})],
)
def test_rules(tree, rule, expected):
    sources = find_sources([tree("anna/p1_a.mp4", "anna/p1_b.mp4")], rule)
    assert {source.identity for source in sources} == expected


@pytest.mark.parametrize(("rule", "says"), [("(", "not a regular expression"), ("x[0-9]", "finds nobody")])
def test_rules_that_do_not_work(tree, rule, says):
    with pytest.raises(UsageError, match=says):
        find_sources([tree("a.mp4")], rule)


def test_patterns_and_the_same_video_twice(tree):
    folder = tree("a.mp4", "b.mp4", "sub/c.mp4")
    sources = find_sources([str(folder / "*.mp4"), folder / "b.mp4", folder])
    assert [source.path.name for source in sources] == ["a.mp4", "b.mp4", "c.mp4"]


def test_first_order_layout_says_the_split(tree):
    sources = find_sources([tree("train/id1#x.mp4", "train/two.mp4", "test/three.mp4")])
    splits = {source.path.name: (source.identity, source.split, source.is_clip) for source in sources}
    assert splits == {
        "id1#x.mp4": ("id1", "train", True),
        "two.mp4": ("two", "train", True),
        "three.mp4": ("three", "val", True),
    }


def test_folders_of_frames_are_videos(tree):
    folder = tree("anna/take/0001.png", "anna/take/0002.png", "ben/1.mp4", "ben/preview.jpg")
    assert [source.path for source in find_sources([folder])] == [
        folder / "anna" / "take",
        folder / "ben" / "1.mp4",
    ]


def test_photos_that_are_no_frames_are_stills(tree, tmp_path):
    folder = tree("anna/1.mp4", "anna/preview.jpg")
    for name, size in (("mix/a.png", 20), ("mix/b.png", 20), ("sizes/1.png", 20), ("sizes/2.png", 24)):
        (folder / name).parent.mkdir(exist_ok=True)
        write_photo(folder / name, np.zeros((20, size, 3), np.uint8))
    camera = tuple(f"camera/IMG_{number}.png" for number in (2031, 2032, 2040, 2077))
    for name in ("clip/1.png", "clip/2.png", "photos/1.png", "photos/2.png", "alone/7.png", *camera):
        (folder / name).parent.mkdir(exist_ok=True)
        write_photo(folder / name, np.zeros((20, 20, 3), np.uint8))
    found = {source.path.relative_to(folder).as_posix(): source.still for source in find_sources([folder])}
    photos = ("alone/7", "mix/a", "mix/b", "photos/1", "photos/2", "sizes/1", "sizes/2")
    stills = [*camera, *(f"{photo}.png" for photo in photos)]
    assert found == {"anna/1.mp4": False, "clip": False, **dict.fromkeys(stills, True)}
    assert [source.still for source in find_sources([folder / "clip" / "1.png", folder / "anna"])] == [
        True,
        False,
    ]


def test_nobody_is_in_both_splits(tree):
    folder = tree("train/anna/1.mp4", "test/anna/2.mp4")
    for rule in ("auto", "folder", "an+a"):
        with pytest.raises(UsageError, match="anna: in train as well as in test"):
            find_sources([folder], rule)


def test_files_that_are_numbered_alike_in_train_and_test_are_not_one_person(tree):
    sources = find_sources([tree("train/0001.mp4", "test/0001.mp4")])
    assert {source.identity for source in sources} == {"train/0001", "test/0001"}
    assert len({source.name for source in sources}) == 2


def test_a_folder_that_cannot_be_read_is_passed_over(tree, monkeypatch, caplog):
    folder = tree("anna/1.mp4", "closed/2.mp4", "zoe/3.mp4")
    real = Path.iterdir

    def refusing(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", refusing)
    assert set(people(find_sources([folder]))) == {"1.mp4", "3.mp4"}
    assert str(folder / "closed") in caplog.text


@pytest.mark.parametrize(
    "name", ["語" * 80, "a" * 250, "con", "NUL.x", ".hidden", "q?\\n%d", "\udcff", "end."], ids=repr
)
def test_any_name_becomes_one_that_every_file_system_holds(name):
    made = file_name(name)
    assert made == file_name(name)
    assert 0 < len(made.encode()) <= 140
    assert not set(made) & set('/\\:*?"<>|\n')
    assert made[0] != "."
    assert made[-1] not in ". "
    assert made.split(".")[0].lower() not in ("con", "nul")


def test_frames_side_by_side_are_a_video(tmp_path):
    frames = [np.full((32, 32, 3), 40 * n, np.uint8) for n in range(1, 7)]
    (tmp_path / "anna").mkdir()
    write_photo(tmp_path / "anna" / "a.png", np.concatenate(frames, axis=1))
    (source,) = find_sources([tmp_path])
    assert (source.path.name, source.identity) == ("a.png", "anna")
    assert stacked_count(source.path) == 6
    with open_frames(source.path) as video:
        assert (video.width, video.height, video.frame_count_estimate) == (32, 32, 6)
        assert [int(frame.mean()) for frame in video] == [40, 80, 120, 160, 200, 240]
        assert [(index, int(frame.mean())) for index, frame in video.sample(5)] == [(0, 40), (5, 240)]


def test_landmarks_beside_the_videos_or_in_a_folder(tree, tmp_path):
    folder = tree("a.mp4", "a.npy", "b.mp4", "take/1.png", "take/2.png", "take.npy")
    found = {source.path.name: source.landmarks for source in find_sources([folder])}
    assert found == {"a.mp4": folder / "a.npy", "b.mp4": None, "take": folder / "take.npy"}
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "b.npy").touch()
    found = {
        source.path.name: source.landmarks for source in find_sources([folder], "auto", tmp_path / "points")
    }
    assert found == {"a.mp4": None, "b.mp4": tmp_path / "points" / "b.npy", "take": None}


def test_names_are_unique_and_fit_any_file_system(tree):
    folder = tree("x/a.mp4", "x/a.mov", "x/q?.mp4")
    names = [source.name for source in find_sources([folder])]
    assert len({name.casefold() for name in names}) == 3
    assert not [name for name in names if set(name) & set('/\\:*?"<>|')]


def test_links_that_go_round_in_circles_end(tree):
    folder = tree("anna/1.mp4")
    (folder / "anna" / "again").symlink_to(folder, target_is_directory=True)
    assert [source.path.name for source in find_sources([folder])] == ["1.mp4"]


def test_nothing_there(tree, tmp_path):
    with pytest.raises(UnreadableInputError, match="no such file"):
        find_sources([tmp_path / "nowhere"])
    with pytest.raises(UnreadableInputError, match=r"https://example\.org/a\.mp4: it is an address"):
        find_sources(["https://example.org/a.mp4"])
    with pytest.raises(UnreadableInputError, match="standard input"):
        find_sources(["-"])
    with pytest.raises(UnreadableInputError, match="no video"):
        find_sources([tree("notes.txt")])


def test_names_that_are_too_long_for_any_file(tmp_path):
    for name in ("x" * 300 + ".mp4", "x" * 300 + "*.mp4"):
        with pytest.raises(UnreadableInputError, match="File name too long"):
            find_sources([tmp_path / name])
