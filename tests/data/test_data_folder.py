"""Data layouts: which clips are found, whose they are, and what they are called."""

import hashlib
from pathlib import Path

import pytest

from faceanim_cli.data.data_folder import ClipFile, find_clips, identity_of, list_hash
from faceanim_cli.errors import UnreadableInputError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_our_layout_gives_the_split_and_its_landmarks(tmp_path: Path) -> None:
    touch(
        tmp_path / "clips/b.mp4",
        tmp_path / "clips/a.mp4",
        tmp_path / "clips/c.mp4",
        tmp_path / "landmarks/a.npy",
    )
    rows = ["clips/b.mp4,val,two", "photos/p.jpg,val,two", "clips/a.mp4,val,one", "clips/c.mp4,train,three"]
    (tmp_path / "manifest.csv").write_text("\n".join(["file,split,identity", *rows]))
    clips = find_clips(tmp_path)
    assert [(clip.name, clip.identity) for clip in clips] == [("b", "two"), ("a", "one")]
    assert clips[0].landmarks is None
    assert clips[1].landmarks == tmp_path / "landmarks/a.npy"
    assert len(find_clips(tmp_path, "all")) == 3
    with pytest.raises(UnreadableInputError, match="no clip of the split test; splits are all, train, val"):
        find_clips(tmp_path, "test")


def test_folders_of_clips_and_of_frames(tmp_path: Path) -> None:
    touch(
        tmp_path / "id1/talk.mp4",
        tmp_path / "id2/frames/0001.png",
        tmp_path / "id2/frames/0002.png",
        tmp_path / "x.webm",
        tmp_path / "x.mov",
        tmp_path / "notes.txt",
        tmp_path / "array.npy",
        tmp_path / "landmarks/x.npy",
        tmp_path / ".hidden.mp4",
    )
    clips = find_clips(tmp_path)
    assert [clip.name for clip in clips] == ["array", "id1/talk", "id2/frames", "x.mov", "x.webm"]
    assert [clip.identity for clip in clips][1:3] == ["id1", "id2"]


def test_landmarks_beside_the_clips_are_taken_where_it_is_clear_whose_they_are(tmp_path: Path) -> None:
    touch(
        *(tmp_path / clip for clip in ("id1/0001.mp4", "id2/0001.mp4", "id2/0002.mp4", "id3/frames/1.png")),
        *(tmp_path / "landmarks" / f"{stem}.npy" for stem in ("0001", "0002", "frames")),
    )
    found = {clip.name: clip.landmarks for clip in find_clips(tmp_path)}
    assert found == {
        "id1/0001": None,
        "id2/0001": None,
        "id2/0002": tmp_path / "landmarks/0002.npy",
        "id3/frames": tmp_path / "landmarks/frames.npy",
    }


def test_one_clip_alone(tmp_path: Path) -> None:
    touch(tmp_path / "face/1.jpg", tmp_path / "talk.mp4")
    assert [clip.name for clip in find_clips(tmp_path / "face")] == ["face"]
    assert [clip.name for clip in find_clips(tmp_path / "talk.mp4")] == ["talk"]


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("id10283#abc#001#002", "id10283"),
        ("test/id10283#a#1#2", "id10283"),
        ("id7/clip", "id7"),
        ("ann/b", "ann/b"),
    ],
)
def test_voxceleb_names_tell_the_person(name: str, identity: str) -> None:
    assert identity_of(name) == identity


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="no such folder"):
        find_clips(tmp_path / "none")
    with pytest.raises(UnreadableInputError, match="no video"):
        find_clips(tmp_path)
    (tmp_path / "manifest.csv").write_text("file,split\na.mp4,val\n")
    with pytest.raises(UnreadableInputError, match="lacks the columns identity"):
        find_clips(tmp_path)


def test_the_list_hash_is_that_of_names_and_sizes(tmp_path: Path) -> None:
    touch(*(tmp_path / "clips" / name for name in ("a/0000.png", "a/0001.png", "b.mp4")))
    clips = find_clips(tmp_path / "clips")
    before = list_hash(clips)
    assert before == list_hash(clips[::-1])
    assert before != list_hash(clips[:1])
    (tmp_path / "clips/b.mp4").write_bytes(b"xy")
    assert before != list_hash(clips)


def test_the_list_hash_takes_names_that_are_no_text(tmp_path: Path) -> None:
    odd = [ClipFile("caf\udce9", tmp_path / "none", "caf\udce9")]  # the byte E9, as Latin-1 has it
    assert list_hash(odd) == hashlib.sha256(b"caf\xe9 -1").hexdigest()
