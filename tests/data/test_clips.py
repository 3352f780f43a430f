"""Clips on disk: the manifest, what is kept of a video, and the cache."""

import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from faceanim_cli.data.clip_files import ClipFile, clips_with_landmarks
from faceanim_cli.data.clips import open_clips
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media import VideoWriter
from tests.data.conftest import centroids, draw_dots, face_landmarks

COLUMNS = "file,split,identity\n"


def write_video(path: Path, frames, fps=Fraction(30)) -> Path:
    with VideoWriter(path, fps, (frames[0].shape[1], frames[0].shape[0])) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    return path


def grey_frames(count, height=48, width=64):
    """Frame n is grey 20 + 10 n."""
    return [np.full((height, width, 3), 20 + 10 * n, np.uint8) for n in range(count)]


def numbered_landmarks(count):
    """Landmarks of frame n lie around (n, 2 n)."""
    return np.stack([face_landmarks() + np.array((n, 2 * n)) for n in range(count)]).astype(np.float32)


@pytest.fixture
def make_record(tmp_path):
    def make(name, frames, landmarks, fps=Fraction(30)) -> ClipFile:
        (tmp_path / "landmarks").mkdir(exist_ok=True)
        np.save(tmp_path / "landmarks" / f"{name}.npy", landmarks)
        path = write_video(tmp_path / f"{name}.mp4", frames, fps)
        return ClipFile(name, path, "someone", tmp_path / "landmarks" / f"{name}.npy", "train")

    return make


def greys(clip):
    return np.rint((clip.frames.mean((1, 2, 3)) - 20) / 10).astype(int).tolist()


class TestManifest:
    def test_lists_the_clips_that_have_landmarks(self, tmp_path):
        (tmp_path / "landmarks").mkdir()
        for name in ("b", "a"):
            np.save(tmp_path / "landmarks" / f"{name}.npy", np.zeros((1, 68, 2)))
        rows = "identity,file,split,fps\nx,clips/b.mp4,train,25\ny,clips/a.mp4,val,\nz,photos/c.png,train,\n"
        (tmp_path / "manifest.csv").write_text(rows)
        b, a = clips_with_landmarks(tmp_path)
        assert (b.name, b.identity, b.split) == ("b", "x", "train")
        assert (a.name, a.identity, a.split) == ("a", "y", "val")
        assert b.path == tmp_path / "clips" / "b.mp4"
        assert b.landmarks == tmp_path / "landmarks" / "b.npy"

    def test_a_missing_manifest(self, tmp_path):
        with pytest.raises(UnreadableInputError, match=r"manifest\.csv"):
            clips_with_landmarks(tmp_path)

    def test_missing_columns_are_named(self, tmp_path):
        (tmp_path / "manifest.csv").write_text("file,person\na.mp4,x\n")
        with pytest.raises(UnreadableInputError, match="identity, split"):
            clips_with_landmarks(tmp_path)

    @pytest.mark.parametrize("text", ["", COLUMNS, COLUMNS + "a.mp4,train,x\n"])
    def test_no_usable_clip(self, tmp_path, text):
        (tmp_path / "manifest.csv").write_text(text)
        with pytest.raises(UnreadableInputError, match=r"manifest\.csv"):
            clips_with_landmarks(tmp_path)

    def test_an_empty_table_does_not_lack_its_columns(self, tmp_path):
        (tmp_path / "manifest.csv").write_text(COLUMNS)
        with pytest.raises(UnreadableInputError) as error:
            clips_with_landmarks(tmp_path)
        assert "column" not in str(error.value)

    def test_a_table_that_excel_saved(self, tmp_path):
        (tmp_path / "landmarks").mkdir()
        np.save(tmp_path / "landmarks" / "a.npy", np.zeros((1, 68, 2)))
        (tmp_path / "manifest.csv").write_bytes(b"\xef\xbb\xbf" + (COLUMNS + "a.mp4,train,Zoë\n").encode())
        assert clips_with_landmarks(tmp_path)[0].identity == "Zoë"


class TestDecoding:
    def test_keeps_every_second_frame_of_30_fps_that_has_a_face(self, tmp_path, make_record):
        points = numbered_landmarks(12)
        points[4] = np.nan
        points[8, 30, 0] = np.nan  # one number is enough
        points[5] = np.nan  # an odd frame is not looked at
        (clip,) = open_clips([make_record("clip", grey_frames(12), points)], tmp_path / "cache")
        assert greys(clip) == [0, 2, 6, 10]
        np.testing.assert_allclose(clip.landmarks, points[[0, 2, 6, 10]], atol=1e-4)
        assert clip.frames.dtype == np.uint8
        assert clip.frames.shape == (4, 48, 64, 3)
        assert (clip.name, clip.identity) == ("clip", "someone")

    def test_keeps_every_frame_of_a_slow_clip(self, tmp_path, make_record):
        record = make_record("slow", grey_frames(5), numbered_landmarks(5), Fraction(15))
        (clip,) = open_clips([record], tmp_path / "cache")
        assert greys(clip) == [0, 1, 2, 3, 4]

    def test_frames_beyond_the_landmarks_are_left_out(self, tmp_path, make_record):
        record = make_record("long", grey_frames(8), numbered_landmarks(5), Fraction(15))
        (clip,) = open_clips([record], tmp_path / "cache")
        assert greys(clip) == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize(("width", "height", "stored"), [(520, 400, (320, 416)), (330, 400, (388, 320))])
    def test_landmarks_follow_frames_that_are_stored_smaller(
        self, tmp_path, make_record, width, height, stored
    ):
        points = np.stack([140 * face_landmarks() + [width / 2, height / 2]] * 2)
        marked = [36, 54, 8]
        frames = [draw_dots(height, width, p[marked], radius=5) for p in points]
        (clip,) = open_clips([make_record("large", frames, points, Fraction(15))], tmp_path / "cache")
        assert clip.frames.shape[1:3] == stored
        seen = centroids(clip.frames[1].transpose(2, 0, 1) / 255)
        np.testing.assert_allclose(seen, clip.landmarks[1][marked], atol=0.25)

    def test_frames_are_rgb(self, tmp_path, make_record):
        red = np.zeros((48, 64, 3), np.uint8)
        red[..., 0] = 255
        record = make_record("red", [red] * 2, numbered_landmarks(2), Fraction(15))
        (clip,) = open_clips([record], tmp_path / "cache")
        np.testing.assert_allclose(clip.frames.mean((0, 1, 2)), [255, 0, 0], atol=6)


class TestCache:
    def test_the_second_time_nothing_is_decoded(self, tmp_path, make_record):
        record = make_record("clip", grey_frames(6), numbered_landmarks(6))
        (first,) = open_clips([record], tmp_path / "cache")
        record.path.unlink()
        (second,) = open_clips([record], tmp_path / "cache")
        assert np.array_equal(first.frames, second.frames)
        assert np.array_equal(first.landmarks, second.landmarks)
        assert isinstance(second.frames, np.memmap)
        assert not [file for file in (tmp_path / "cache").iterdir() if "partial" in file.name]

    def test_a_decode_that_was_broken_off_is_done_again(self, tmp_path, make_record):
        record = make_record("clip", grey_frames(6), numbered_landmarks(6))
        (first,) = open_clips([record], tmp_path / "cache")
        expected = first.frames.copy()
        (tmp_path / "cache" / "clip.landmarks.npy").unlink()  # written last
        (tmp_path / "cache" / "clip.frames.npy").write_bytes(b"half")
        (again,) = open_clips([record], tmp_path / "cache")
        assert np.array_equal(again.frames, expected)


class TestSkipping:
    def check(self, tmp_path, caplog, records):
        """Of three records the middle one is bad: the others come, in order, and a warning names it."""
        with caplog.at_level(logging.WARNING):
            clips = list(open_clips(records, tmp_path / "cache"))
        assert [clip.name for clip in clips] == [records[0].name, records[2].name]
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert records[1].name in warnings[0]

    @pytest.fixture
    def records(self, make_record):
        return [make_record(name, grey_frames(4), numbered_landmarks(4)) for name in ("z", "bad", "a")]

    def test_an_unreadable_video(self, tmp_path, caplog, records):
        records[1].path.write_bytes(b"this is no video")
        self.check(tmp_path, caplog, records)

    def test_a_missing_video(self, tmp_path, caplog, records):
        records[1].path.unlink()
        self.check(tmp_path, caplog, records)

    def test_fewer_than_two_faces(self, tmp_path, caplog, records):
        points = numbered_landmarks(4)
        points[1:] = np.nan
        np.save(records[1].landmarks, points)
        self.check(tmp_path, caplog, records)

    def test_no_face_at_all(self, tmp_path, caplog, records):
        np.save(records[1].landmarks, np.full((4, 68, 2), np.nan))
        self.check(tmp_path, caplog, records)

    def test_landmarks_cut_short(self, tmp_path, caplog, records):
        records[1].landmarks.write_bytes(records[1].landmarks.read_bytes()[:300])
        self.check(tmp_path, caplog, records)

    def test_landmarks_of_another_kind(self, tmp_path, caplog, records):
        np.save(records[1].landmarks, np.zeros((4, 5, 2)))
        self.check(tmp_path, caplog, records)
