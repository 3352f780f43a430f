"""Clips on disk: the manifest, what is kept of a video, and the cache."""

import logging
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from faceanim_cli.data.check import check_data
from faceanim_cli.data.clips import CachedArray, open_clips
from faceanim_cli.data.data_folder import ClipFile, clips_with_landmarks, find_clips
from faceanim_cli.data.landmarks import PAPER_ANCHORS
from faceanim_cli.data.pairs import PairDataset
from faceanim_cli.data.portraits import load_portraits
from faceanim_cli.errors import UnreadableInputError
from faceanim_cli.media import VideoWriter, write_photo
from tests.data.conftest import centroids, draw_dots, face_landmarks
from tests.media.conftest import ffmpeg

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
    return np.rint((np.asarray(clip.frames).mean((1, 2, 3)) - 20) / 10).astype(int).tolist()


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

    def test_a_person_in_both_splits(self, tmp_path):
        (tmp_path / "landmarks").mkdir()
        for name in ("a", "b", "c"):
            np.save(tmp_path / "landmarks" / f"{name}.npy", np.zeros((1, 68, 2)))
        rows = "a.mp4,train,Anna\nb.mp4,val,Anna\nc.mp4,val,Ben\n"
        (tmp_path / "manifest.csv").write_text(COLUMNS + rows)
        with pytest.raises(UnreadableInputError, match="Anna in train and in val"):
            clips_with_landmarks(tmp_path)

    def test_a_table_that_excel_saved(self, tmp_path):
        (tmp_path / "landmarks").mkdir()
        np.save(tmp_path / "landmarks" / "a.npy", np.zeros((1, 68, 2)))
        (tmp_path / "manifest.csv").write_bytes(b"\xef\xbb\xbf" + (COLUMNS + "a.mp4,train,Zoë\n").encode())
        assert clips_with_landmarks(tmp_path)[0].identity == "Zoë"

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_a_table_from_windows_reads_the_same_everywhere(self, tmp_path, encoding):
        for folder in ("landmarks", "clips", "photos"):
            (tmp_path / folder).mkdir()
        np.save(tmp_path / "landmarks" / "a.npy", np.zeros((1, 68, 2)))
        write_photo(tmp_path / "photos" / "p.png", np.zeros((40, 30, 3), np.uint8))
        rows = "File ;IDENTITY; Split\r\n\r\n clips\\a.mp4;Zoë;Train\r\nphotos\\p.png;Zoë;train\r\n;;\r\n"
        (tmp_path / "manifest.csv").write_bytes(rows.encode(encoding))
        (clip,) = clips_with_landmarks(tmp_path)
        assert (clip.path, clip.identity, clip.split) == (tmp_path / "clips" / "a.mp4", "Zoë", "train")
        assert [scored.name for scored in find_clips(tmp_path, "train")] == ["a"]
        assert [portrait.name for portrait in load_portraits(tmp_path, "train")] == ["p"]
        assert check_data(tmp_path).people == {"train": 1, "val": 0}


class TestDecoding:
    def test_keeps_every_second_frame_of_30_fps_that_has_a_face(self, tmp_path, make_record):
        points = numbered_landmarks(12)
        points[4] = np.nan
        points[8, 30, 0] = np.nan  # one number is enough
        points[5] = np.nan  # an odd frame is not looked at
        (clip,) = open_clips([make_record("clip", grey_frames(12), points)], tmp_path / "cache")
        assert greys(clip) == [0, 2, 6, 10]
        np.testing.assert_allclose(clip.landmarks[:, :68], points[[0, 2, 6, 10]], atol=1e-4)
        assert np.isnan(clip.landmarks[:, 68:]).all()
        assert np.isnan(clip.aperture).all()
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

    @pytest.mark.parametrize(("aspect", "shown"), [("4/3", 64), ("3/4", 36)])
    def test_landmarks_of_anamorphic_clips_lie_in_stored_pixels(self, tmp_path, make_record, aspect, shown):
        points = np.stack([18 * face_landmarks() + [24, 20]] * 2)
        marked = [36, 45, 8]
        frames = [draw_dots(48, 48, p[marked], radius=2) for p in points]
        record = make_record("wide", frames, points, Fraction(15))
        square = record.path.rename(tmp_path / "square.mp4")
        ffmpeg(
            "-i",
            str(square),
            "-c",
            "copy",
            "-bsf:v",
            f"h264_metadata=sample_aspect_ratio={aspect}",
            str(record.path),
        )
        (clip,) = open_clips([record], tmp_path / "cache")
        assert clip.frames.shape[1:3] == (48, shown)
        seen = centroids(clip.frames[1].transpose(2, 0, 1) / 255)
        np.testing.assert_allclose(seen, clip.landmarks[1][marked], atol=0.6)

    def test_frames_are_rgb(self, tmp_path, make_record):
        red = np.zeros((48, 64, 3), np.uint8)
        red[..., 0] = 255
        record = make_record("red", [red] * 2, numbered_landmarks(2), Fraction(15))
        (clip,) = open_clips([record], tmp_path / "cache")
        np.testing.assert_allclose(np.asarray(clip.frames).mean((0, 1, 2)), [255, 0, 0], atol=6)


class TestCache:
    def test_the_second_time_nothing_is_decoded(self, tmp_path, make_record):
        record = make_record("clip", grey_frames(6), numbered_landmarks(6))
        (first,) = open_clips([record], tmp_path / "cache")
        record.path.unlink()
        (second,) = open_clips([record], tmp_path / "cache")
        assert np.array_equal(first.frames, second.frames)
        assert np.array_equal(first.landmarks, second.landmarks, equal_nan=True)
        assert not [file for file in (tmp_path / "cache").iterdir() if "partial" in file.name]

    def test_a_decode_that_was_broken_off_is_done_again(self, tmp_path, make_record):
        record = make_record("clip", grey_frames(6), numbered_landmarks(6))
        (first,) = open_clips([record], tmp_path / "cache")
        expected = np.array(first.frames)
        (tmp_path / "cache" / "clip.landmarks.npy").unlink()  # written last
        (tmp_path / "cache" / "clip.frames.npy").write_bytes(b"half")
        (again,) = open_clips([record], tmp_path / "cache")
        assert np.array_equal(again.frames, expected)

    @pytest.mark.parametrize("folder", ["landmarks", "landmarks_extra", "iris_ok", "aperture"])
    def test_what_changed_is_read_again(self, tmp_path, make_record, folder):
        record = make_record("clip", grey_frames(6), numbered_landmarks(6))
        list(open_clips([record], tmp_path / "cache"))
        (tmp_path / folder).mkdir(exist_ok=True)
        changed = {
            "landmarks": numbered_landmarks(6) + 3,
            "landmarks_extra": numbered_landmarks(6)[:, :12],
            "iris_ok": np.zeros((6, 2), bool),
            "aperture": np.full((6, 2), 0.3, np.float16),
        }[folder]
        np.save(tmp_path / folder / "clip.npy", changed)
        (clip,) = open_clips([record], tmp_path / "cache")
        if folder == "landmarks":
            np.testing.assert_allclose(clip.landmarks[:, :68], changed[::2], atol=1e-4)
        elif folder == "landmarks_extra":
            np.testing.assert_allclose(clip.landmarks[:, 68:], changed[::2], atol=1e-4)
        elif folder == "aperture":
            np.testing.assert_allclose(clip.aperture, changed[::2])
        else:
            assert np.isnan(clip.landmarks[:, 68:70]).all()


class TestOtherProcesses:
    """What loader workers get where processes are spawned: on macOS, on Windows, and from Python 3.14 on."""

    @pytest.fixture
    def clips(self, tmp_path, make_record):
        points = np.stack([20 * face_landmarks() + 40] * 6).astype(np.float32)
        record = make_record("clip", grey_frames(6, 90, 90), points, Fraction(15))
        return list(open_clips([record], tmp_path / "cache"))

    def test_are_told_paths_and_no_pixels(self, clips):
        assert len(pickle.dumps(clips)) < 2000
        (clip,) = pickle.loads(pickle.dumps(clips))
        assert np.array_equal(clip.frames, clips[0].frames)
        assert clip.landmarks.shape == (6, 80, 2)

    def test_a_spawned_loader_gives_the_same_pairs(self, clips):
        pairs = PairDataset(clips, PAPER_ANCHORS, 32, 4)
        loader = DataLoader(pairs, batch_size=2, num_workers=1, multiprocessing_context="spawn")
        loaded = torch.cat([batch["driving"] for batch in loader])
        assert torch.equal(loaded, torch.stack([pairs[index]["driving"] for index in range(4)]))

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted on Linux")
    def test_no_file_stays_open(self, clips):
        before = len(list(Path("/proc/self/fd").iterdir()))
        kept = [pickle.loads(pickle.dumps(clips)) for _ in range(20)]
        shown = [(copy[0].frames[1], copy[0].landmarks[2:4]) for copy in kept]
        assert len(shown) == 20
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_entries_are_those_of_the_array(self, tmp_path):
        whole = np.arange(60, dtype=np.float32).reshape(10, 3, 2)
        np.save(tmp_path / "a.npy", whole)
        some, array = CachedArray.open(tmp_path / "a.npy").first(7), whole[:7]
        assert len(some) == 7
        for key in (3, -1, np.int64(0), slice(1, None, 2), [2, 2, 0], (slice(None), 1), (4, slice(None), 0)):
            assert np.array_equal(some[key], array[key])
        assert np.array_equal(list(some), array)
        with pytest.raises(IndexError):
            some[7]


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
