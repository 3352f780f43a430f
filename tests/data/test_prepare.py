"""Videos of the astronaut, whose face drifts as the test says, to training data."""

import json

import cv2
import numpy as np
import pytest

from faceanim_cli.data.clips import open_clips
from faceanim_cli.data.data_folder import clips_with_landmarks
from faceanim_cli.data.portraits import load_portraits
from faceanim_cli.data.prepare import PreparationSettings, prepare
from faceanim_cli.data.sequences import SequenceSettings
from faceanim_cli.errors import NoFaceError, UnreadableInputError, UsageError
from faceanim_cli.files import file_sha256
from faceanim_cli.media import VideoReader, read_photo, write_photo
from tests.data.conftest import EYES, LEFT, SETTINGS, landmarks_at, table, write_empty
from tests.media.conftest import ffmpeg


class TestWhatIsWritten:
    def test_clips_manifest_and_landmarks(self, tmp_path, make_video, astronaut):
        make_video("anna/one.mp4")
        make_video("ben/two.mp4", frames=7, tint=20)
        result = prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)
        one, two = table(tmp_path / "out" / "manifest.csv")
        assert [(row["identity"], row["frames"], row["fps"]) for row in (one, two)] == [
            *(("anna", "8", "25"), ("ben", "7", "25"))
        ]
        assert {one["split"], two["split"]} == {"train", "val"}
        assert (one["width"], one["height"], one["landmarks"], one["start"]) == ("64", "64", "given", "0")
        assert one["source"] == str(tmp_path / "in" / "anna" / "one.mp4")
        clip = tmp_path / "out" / one["file"]
        assert one["sha256"] == file_sha256(clip)
        # the crop is a square around the face, which is about 98 pixels in the source
        x, y, w, h = map(int, one["box"].split(","))
        assert w == h == pytest.approx(1.75 * 98, abs=20)
        assert int(one["face_px"]) == pytest.approx(98 * 64 / w, abs=6)
        with VideoReader(clip) as video:
            frames = list(video)
        assert len(frames) == 8
        # the picture is what lies under the box, frame by frame
        for n in (0, 7):
            source = astronaut[y : y + h, LEFT - n + x : LEFT - n + x + w]
            expected = cv2.resize(source, (64, 64), interpolation=cv2.INTER_AREA)
            assert np.abs(frames[n].astype(int) - expected).mean() < 6
        # and the landmarks moved with it: where a pixel's centre went
        points = np.load(tmp_path / "out" / "landmarks" / f"{clip.stem}.npy")
        np.testing.assert_allclose(points, (landmarks_at(8) + 0.5 - [x, y]) * 64 / w - 0.5, atol=1e-3)
        assert len(result.clips) == 2
        assert not result.dropped

    def test_training_reads_it(self, tmp_path, make_video):
        for name in ("a", "b", "c"):
            make_video(f"{name}.mp4", tint=ord(name) - 97)
        prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)
        records = clips_with_landmarks(tmp_path / "out")
        clips = list(open_clips(records, tmp_path / "cache"))
        assert [clip.identity for clip in clips] == ["a", "b", "c"]
        assert {clip.frames.shape for clip in clips} == {(4, 64, 64, 3)}  # every other frame of 25 a second
        assert sorted(record.split for record in records) == ["train", "train", "val"]

    def test_landmarks_are_estimated_where_none_are_given(self, tmp_path, make_video):
        make_video("a.mp4", frames=6, landmarks=False)
        result = prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)
        (clip,) = result.clips
        assert clip.landmarks == "estimated"
        points = np.load(tmp_path / "out" / "landmarks" / f"{clip.name}.npy")
        x, y, side, _ = clip.box
        for n in (0, 5):
            eyes = np.stack([points[n, 36:42].mean(0), points[n, 42:48].mean(0)])
            in_portrait = (eyes + 0.5) * side / 64 - 0.5 + [x + LEFT - n, y]
            np.testing.assert_allclose(in_portrait, EYES, atol=3)

    def test_face_crops_are_taken_whole(self, tmp_path, astronaut):
        (tmp_path / "in" / "train").mkdir(parents=True)
        (tmp_path / "in" / "test").mkdir()
        for split, shade in (("train", 0), ("test", 30)):
            face = cv2.resize(astronaut[20:230, 110:320], (128, 128), interpolation=cv2.INTER_AREA)
            picture = np.concatenate([np.maximum(face, shade)] * 6, axis=1)
            write_photo(tmp_path / "in" / split / f"{split}er.png", picture)
        result = prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)
        assert {(clip.identity, clip.split, clip.box) for clip in result.clips} == {
            *(("trainer", "train", (0, 0, 128, 128)), ("tester", "val", (0, 0, 128, 128)))
        }

    def test_a_list_says_what_to_cut(self, tmp_path, make_video):
        make_video("vid.mp4", frames=10)
        metadata = tmp_path / "vox-metadata.csv"
        metadata.write_text(
            "video_id,start,end,bbox,fps,width,height,partition,person_id\n"
            "vid#1,0,8,180-20-500-340,25,640,512,train,id1\n"  # listed at twice the size
            "vid#1,2,10,180-20-500-340,25,640,512,train,id1\n"
            "vid#2,50,60,180-20-500-340,25,640,512,train,id1\n"
            "gone#1,0,8,180-20-500-340,25,640,512,test,id2\n"
        )
        settings = PreparationSettings(**{**vars(SETTINGS), "metadata": metadata})
        result = prepare([tmp_path / "in"], tmp_path / "out", settings)
        assert [(c.name, c.identity, c.start, c.frames, c.box) for c in result.clips] == [
            ("id1#1#vid#000000#000008", "id1", 0, 8, (90, 10, 160, 160)),
            ("id1#1#vid#000002#000010", "id1", 2, 8, (90, 10, 160, 160)),
        ]
        assert {clip.split for clip in result.clips} == {"train"}
        assert {(name, dropped.reason) for name, dropped in result.dropped} == {
            *(("gone", "missing"), (str(tmp_path / "in" / "vid.mp4"), "beyond the end of the video"))
        }


class TestStills:
    def photo(self, tmp_path, astronaut, name, side=1024, left=0):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        large = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_CUBIC)
        write_photo(path, np.ascontiguousarray(large[:, left:]))
        return path

    def test_photos_become_portraits_that_super_resolution_reads(self, tmp_path, astronaut, make_video):
        make_video("anna/talk.mp4")
        first = self.photo(tmp_path, astronaut, "anna stills/one.png", side=1600, left=3)
        self.photo(tmp_path, astronaut, "anna stills/two.png", side=700)
        write_photo(tmp_path / "in" / "anna stills" / "wall.png", np.full((700, 700, 3), 90, np.uint8))
        (tmp_path / "in" / "anna stills" / "broken.jpg").write_bytes(b"no photo")
        rule = PreparationSettings(**{**vars(SETTINGS), "person_from": "anna|stills"})
        result = prepare([tmp_path / "in"], tmp_path / "out", rule)
        assert [(clip.file, clip.identity) for clip in result.clips] == [
            ("clips/anna_talk-000000.mp4", "anna"),
            ("photos/anna stills_one.png", "anna"),
        ]
        reasons = {row["source"][-7:]: row["reason"] for row in table(tmp_path / "out" / "dropped.csv")}
        assert reasons == {"two.png": "too small", "all.png": "no face", "ken.jpg": "unreadable"}
        assert "1 photos for super-resolution" in str(result)
        row = table(tmp_path / "out" / "manifest.csv")[1]
        x, y, w, h = map(int, row["box"].split(","))
        shown = read_photo(tmp_path / "out" / row["file"])
        assert np.array_equal(shown, read_photo(first)[y : y + h, x : x + w])
        assert (row["width"], row["height"]) == (str(w), str(h))
        (portrait,) = load_portraits(tmp_path / "out", row["split"])
        assert portrait.identity == "anna"
        assert abs(portrait.face.side - int(row["face_px"])) < 0.15 * portrait.face.side
        assert prepare([tmp_path / "in"], tmp_path / "out", rule).clips == result.clips

    def test_no_larger_than_they_teach(self, tmp_path, astronaut):
        self.photo(tmp_path, astronaut, "large.jpg", side=3200)
        (portrait,) = prepare([tmp_path / "in"], tmp_path / "out", SETTINGS).clips
        assert portrait.face_px * 1.75 == pytest.approx(1024, rel=0.01)
        assert portrait.width == read_photo(tmp_path / "out" / portrait.file).shape[1] < 2100


def test_hdr_videos_become_clips_as_they_look(tmp_path, make_video):
    path = make_video("a.mp4")
    (tmp_path / "hdr").mkdir()
    to_hdr = (
        "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv,"
        "zscale=t=linear:npl=203,format=gbrpf32le,"
        "zscale=p=2020:t=smpte2084:m=2020_ncl:r=tv:npl=203,format=yuv420p10le"
    )
    tags = ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")
    ffmpeg("-i", str(path), "-vf", to_hdr, "-c:v", "ffv1", *tags, str(tmp_path / "hdr" / "a.mkv"))
    np.save(tmp_path / "hdr" / "a.npy", landmarks_at(8))
    plain = prepare([tmp_path / "in"], tmp_path / "plain", SETTINGS).clips[0]
    shown = prepare([tmp_path / "hdr"], tmp_path / "shown", SETTINGS).clips[0]
    one, other = tmp_path / "plain" / plain.file, tmp_path / "shown" / shown.file
    pairs = zip(VideoReader(one), VideoReader(other), strict=True)
    differences = [np.abs(a.astype(int) - b).mean() for a, b in pairs]
    assert max(differences) < 15  # levels, of noise; HDR taken for SDR is off by dozens


class TestTrouble:
    def test_what_cannot_be_used_is_said_and_the_rest_is_prepared(self, tmp_path, make_video):
        folder = make_video("good.mp4").parent
        make_video("short.mp4", frames=4)
        (folder / "broken.mp4").write_bytes(b"no video")
        np.save(folder / "broken.npy", landmarks_at(2))
        write_empty(folder, "nobody.mp4")
        make_video("bad_points.mp4", tint=1)
        np.save(folder / "bad_points.npy", np.zeros((8, 5, 2)))
        (folder / "again.mp4").write_bytes((folder / "good.mp4").read_bytes())
        (folder / "again.npy").write_bytes((folder / "good.npy").read_bytes())
        result = prepare([folder], tmp_path / "out", SETTINGS)
        assert [clip.identity for clip in result.clips] == ["again"]
        rows = table(tmp_path / "out" / "dropped.csv")
        reasons = {row["source"].removeprefix(f"{folder}/"): row["reason"] for row in rows}
        assert reasons == {
            "bad_points.mp4": "unreadable",
            "broken.mp4": "unreadable",
            "good.mp4": "duplicate",
            "nobody.mp4": "no face",
            "short.mp4": "too short",
        }
        assert result.unreadable == [str(folder / "bad_points.mp4"), str(folder / "broken.mp4")]
        assert json.loads(json.dumps(result.as_json()))["clips"][0]["name"] == result.clips[0].name
        assert "2 unreadable" in str(result)

    def test_nobody_in_any_video(self, tmp_path):
        (tmp_path / "in").mkdir()
        write_empty(tmp_path / "in", "a.mp4")
        with pytest.raises(NoFaceError, match="1 videos and no clip"):
            prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)

    def test_an_empty_folder(self, tmp_path):
        (tmp_path / "in").mkdir()
        with pytest.raises(UnreadableInputError, match="no video"):
            prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)
        assert not (tmp_path / "out").exists()

    def test_nothing_readable(self, tmp_path):
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "a.mp4").write_bytes(b"no video")
        np.save(tmp_path / "in" / "a.npy", landmarks_at(2))
        with pytest.raises(UnreadableInputError, match=r"a\.mp4"):
            prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"size": 65}, "even number"),
            ({"val_share": 1.0}, "share"),
            ({"crop": "maybe"}, "--crop"),
            ({"sequences": SequenceSettings(0.5)}, "--scale"),
        ],
    )
    def test_settings_that_make_no_sense(self, tmp_path, make_video, change, says):
        make_video("a.mp4", frames=1)
        with pytest.raises(UsageError, match=says):
            prepare([tmp_path / "in"], tmp_path / "out", PreparationSettings(**{**vars(SETTINGS), **change}))
