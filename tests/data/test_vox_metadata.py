"""VoxCeleb's clips as video-preprocessing lists them."""

from fractions import Fraction

import pytest

from faceanim_cli.data.sequences import Dropped, Sequence, SequenceSettings
from faceanim_cli.data.vox_metadata import listed_sequences, read_vox_metadata
from faceanim_cli.errors import UnreadableInputError

HEADER = "video_id,start,end,bbox,fps,width,height,partition,person_id\n"
ROW = "A2Gi7s30yvo#003,100,200,400-100-700-360,25.0,1280,720,train,id10001\n"
SETTINGS = SequenceSettings(min_size=64, min_frames=10)


def metadata(tmp_path, text):
    path = tmp_path / "vox-metadata.csv"
    path.write_text(text)
    return path


def rows(tmp_path, text=HEADER + ROW):
    return read_vox_metadata(metadata(tmp_path, text))


def test_a_row(tmp_path):
    (key,) = clips = rows(tmp_path)
    (clip,) = clips[key]
    assert key == "A2Gi7s30yvo"  # what youtube-dl calls the file
    assert (clip.start, clip.end, clip.bbox, clip.fps) == (100, 200, (400, 100, 700, 360), Fraction(25))
    assert (clip.split, clip.person) == ("train", "id10001")
    assert clip.name == "id10001#003#A2Gi7s30yvo#000100#000200"


def test_a_table_from_a_spreadsheet(tmp_path):
    text = (HEADER + ROW).replace(",", " ;").replace("video_id", "Video_ID").replace("25.0", "25,0")
    (tmp_path / "list.csv").write_text(text.replace("train", "Train"), encoding="utf-16")
    assert read_vox_metadata(tmp_path / "list.csv") == rows(tmp_path)


def test_test_is_for_judging_and_both_may_be_unknown(tmp_path):
    text = HEADER + ROW.replace(",train,id10001", ",test,id1") + ROW.replace(",train,id10001", ",,")
    validated, unknown = rows(tmp_path, text)["A2Gi7s30yvo"]
    assert (validated.split, validated.person) == ("val", "id1")
    assert (unknown.split, unknown.person) == (None, None)


def test_the_box_grows_to_a_square_and_follows_size_and_rate_of_the_video(tmp_path):
    (clips,) = rows(tmp_path).values()
    (found,) = listed_sequences(clips, Fraction(50), (640, 360), SETTINGS)  # half as large, twice as fast
    assert isinstance(found, Sequence)
    assert (found.start, found.stop) == (200, 400)
    # 300 x 260 around (550, 230) grows to 300 x 300, then half of that
    assert (found.crop.x, found.crop.y, found.crop.w, found.crop.h) == pytest.approx(
        (200, 40, 150, 150), abs=1
    )


@pytest.mark.parametrize(
    ("settings", "box", "reason"),
    [
        (SequenceSettings(min_size=512, min_frames=10), "400-100-700-360", "too small"),
        (SequenceSettings(min_size=64, min_frames=101), "400-100-700-360", "too short"),
        (SETTINGS, "1300-100-1400-200", "box outside the frame"),
    ],
)
def test_rows_that_become_no_clip(tmp_path, settings, box, reason):
    (clips,) = rows(tmp_path, HEADER + ROW.replace("400-100-700-360", box)).values()
    (found,) = listed_sequences(clips, Fraction(25), (1280, 720), settings)
    assert isinstance(found, Dropped)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("video_id,start\nx,1\n", "bbox, end, fps, height, width"),
        (HEADER, "lists no clip"),
        (HEADER + ROW.replace("400-100-700-360", "700-100-400-360"), "line 2: bbox"),
        (HEADER + ROW + ROW.replace("100,200", "200,100"), "line 3: start 200, end 100"),
        (HEADER + ROW.replace("train", "maybe"), "partition 'maybe'"),
        (HEADER + ROW.replace("25.0", "0"), "fps 0"),
        (HEADER + "x,1\n", "line 2"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, says):
    with pytest.raises(UnreadableInputError, match=says):
        rows(tmp_path, text)
