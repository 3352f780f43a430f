"""Problems of training data: each kind is found, and sound data has none."""

import copy
import csv
import shutil
from fractions import Fraction

import numpy as np
import pytest

from faceanim_cli.data.check import check_data
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.files import file_sha256
from faceanim_cli.media import VideoWriter, write_photo
from tests.data.conftest import face_landmarks

FRAMES = 4


def moving_landmarks(scale=50.0, motion=3.0):
    """Landmarks that move ``motion`` pixels a frame."""
    return np.stack([scale * face_landmarks() + 64 + motion * n for n in range(FRAMES)]).astype(np.float32)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Three clips of three people in two splits, all well; (folder, rows)."""
    root = tmp_path_factory.mktemp("sound")
    rows = []
    for folder in ("clips", "landmarks"):
        (root / folder).mkdir()
    for number, (name, split) in enumerate((("a", "train"), ("b", "train"), ("c", "val"))):
        path = root / "clips" / f"{name}.mp4"
        with VideoWriter(path, Fraction(25), (128, 128)) as writer:
            for n in range(FRAMES):
                writer.write(np.full((128, 128, 3), 40 * number + 5 * n, np.uint8))
        np.save(root / "landmarks" / f"{name}.npy", moving_landmarks())
        row = {"file": f"clips/{name}.mp4", "split": split, "identity": name.upper(), "frames": str(FRAMES)}
        rows.append(row | {"sha256": file_sha256(path)})
    return root, rows


@pytest.fixture
def data(tmp_path, sound):
    """A copy of it to spoil."""
    shutil.copytree(sound[0], tmp_path, dirs_exist_ok=True)
    return tmp_path, copy.deepcopy(sound[1])


def found(data):
    """What ``check_data`` says of a folder, after its manifest is written."""
    folder, rows = data
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return [str(trouble) for trouble in check_data(folder).trouble]


def landmarks(data, name="a"):
    return data[0] / "landmarks" / f"{name}.npy"


def the_one(data):
    (only,) = found(data)
    return only


def test_sound_data(data):
    assert found(data) == []
    checked = check_data(data[0])
    assert (checked.clips, checked.people) == (3, {"train": 2, "val": 1})


class TestClips:
    def test_one_that_does_not_read(self, data):
        (data[0] / "clips" / "a.mp4").write_bytes(b"no video")
        assert the_one(data).startswith("clips/a.mp4: ")

    def test_one_that_is_gone(self, data):
        (data[0] / "clips" / "a.mp4").unlink()
        assert the_one(data).startswith("clips/a.mp4: ")

    def test_one_that_was_cut_off(self, data):
        path = data[0] / "clips" / "a.mp4"
        path.write_bytes(path.read_bytes()[:-300])
        assert any(line.startswith("clips/a.mp4: ") for line in found(data))

    def test_one_with_other_frames_than_the_manifest_says(self, data):
        data[1][0] |= {"frames": "9", "sha256": "another"}
        assert "clips/a.mp4: has 4 frames where the manifest says 9" in found(data)

    def test_a_number_that_is_none(self, data):
        data[1][0] |= {"frames": "many"}
        assert the_one(data).startswith("clips/a.mp4: ")

    def test_manifests_of_other_makers_say_neither_frames_nor_sum(self, data):
        folder, rows = data
        assert found((folder, [{k: row[k] for k in ("file", "split", "identity")} for row in rows])) == []


class TestLandmarks:
    def test_missing(self, data):
        landmarks(data).unlink()
        assert "landmarks/a.npy is missing" in the_one(data)

    def test_of_another_shape(self, data):
        np.save(landmarks(data), np.zeros((FRAMES, 5, 2)))
        assert "a.npy: (4, 5, 2) is not" in the_one(data)

    def test_of_another_length(self, data):
        np.save(landmarks(data), moving_landmarks()[:3])
        assert "has 4 frames, and landmarks for 3" in the_one(data)

    def test_found_in_too_few_frames(self, data):
        points = moving_landmarks()
        points[1:3] = np.nan
        np.save(landmarks(data), points)
        assert "no landmarks in 50% of its frames" in the_one(data)

    def test_found_in_none(self, data):
        np.save(landmarks(data), np.full((FRAMES, 68, 2), np.nan))
        assert "fewer than two frames" in the_one(data)

    def test_rows_that_are_no_face(self, data):
        points = moving_landmarks()
        points[2] = 0
        np.save(landmarks(data), points)
        assert the_one(data) == "clips/a.mp4: 1 rows of landmarks are no face: they count as missing"

    def test_a_tiny_face(self, data):
        np.save(landmarks(data), moving_landmarks(scale=20))
        assert "clips/a.mp4: a tiny face of" in the_one(data)

    def test_a_still_face(self, data):
        np.save(landmarks(data), moving_landmarks(motion=0.1))
        assert "too little motion" in the_one(data)


class TestPeople:
    def test_on_both_sides(self, data):
        data[1][2]["identity"] = "A"
        assert the_one(data).startswith("A is in train and in val")

    def test_the_same_file_twice(self, data):
        folder, rows = data
        (folder / "clips" / "c.mp4").write_bytes((folder / "clips" / "a.mp4").read_bytes())
        rows[2]["sha256"] = rows[0]["sha256"]
        assert the_one(data) == "clips/a.mp4: is the same file as clips/c.mp4"

    def test_two_that_would_share_their_landmarks(self, data):
        folder, rows = data
        (folder / "more").mkdir()
        (folder / "clips" / "c.mp4").rename(folder / "more" / "a.mp4")
        rows[2]["file"] = "more/a.mp4"
        assert the_one(data).startswith("clips/a.mp4: has the same name as more/a.mp4")

    @pytest.mark.parametrize(
        ("split", "says"), [("train", "nobody to validate on"), ("val", "nobody to train on")]
    )
    def test_nobody_on_one_side(self, data, split, says):
        for row in data[1]:
            row["split"] = split
        assert the_one(data).startswith(says)

    def test_a_split_that_is_neither(self, data):
        data[1][0]["split"] = "test"
        assert "neither train nor val" in the_one(data)


def test_photos_that_do_not_read(data):
    folder, rows = data
    (folder / "photos").mkdir()
    write_photo(folder / "photos" / "p.png", np.zeros((40, 30, 3), np.uint8))
    (folder / "photos" / "q.jpg").write_bytes(b"no photo")
    for name, person in (("p.png", "A"), ("q.jpg", "D")):
        rows.append(
            dict.fromkeys(rows[0], "") | {"file": f"photos/{name}", "split": "train", "identity": person}
        )
    assert the_one(data).startswith("photos/q.jpg: cannot read the photo")
    checked = check_data(folder)
    assert (checked.clips, checked.photos, checked.people) == (3, 2, {"train": 2, "val": 1})


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "no manifest"), ("file\na.mp4\n", "identity, split"), ("file,split,identity\n", "lists no clip")],
)
def test_a_manifest_that_is_none(tmp_path, text, says):
    if text is not None:
        (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(UnreadableInputError, match=says):
        check_data(tmp_path)
