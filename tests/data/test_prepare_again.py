"""Preparation that goes on: after an interruption, with more videos, other lists, changes made by hand."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from faceanim_cli.data.one_video import VideoPreparer
from faceanim_cli.data.prepare import PreparationSettings, prepare
from faceanim_cli.errors import UnreadableInputError, UsageError
from tests.data.conftest import HEIGHT, SETTINGS, WIDTH, contents, prepare_table, table


class TestGoingOn:
    def test_the_second_time_nothing_is_done_and_nothing_changes(self, tmp_path, make_video, monkeypatch):
        make_video("a.mp4")
        make_video("b.mp4", tint=1)
        prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)
        before = contents(tmp_path / "out")
        monkeypatch.setattr(VideoPreparer, "prepare", None)  # calling it would raise
        reports = []
        prepare([tmp_path / "in"], tmp_path / "out", SETTINGS, reports.append)
        assert contents(tmp_path / "out") == before
        assert reports == ["2 of 2 videos are done already"]

    def test_a_kill_costs_the_videos_under_way_only(self, tmp_path, make_video, monkeypatch):
        for name in ("a", "b", "c"):
            make_video(f"{name}.mp4", tint=ord(name) - 97)
        whole = tmp_path / "whole"
        prepare([tmp_path / "in"], whole, SETTINGS)
        begun = []
        real = VideoPreparer.prepare
        out = tmp_path / "out"

        def killed_at_the_second(preparer, source, *rest):
            begun.append(source.name)
            if len(begun) == 2:
                (out / "clips" / ".b.mp4.partial-99").write_bytes(b"half")
                raise KeyboardInterrupt
            return real(preparer, source, *rest)

        monkeypatch.setattr(VideoPreparer, "prepare", killed_at_the_second)
        one_by_one = PreparationSettings(**{**vars(SETTINGS), "jobs": 1})
        with pytest.raises(KeyboardInterrupt):
            prepare([tmp_path / "in"], out, one_by_one)
        assert not (out / "manifest.csv").exists()
        with (out / "prepared.jsonl").open("a") as journal:
            journal.write('{"source": "half a li')  # as a power cut leaves it
        monkeypatch.setattr(VideoPreparer, "prepare", real)
        prepare([tmp_path / "in"], out, SETTINGS)
        assert (out / "manifest.csv").read_bytes() == (whole / "manifest.csv").read_bytes()
        assert contents(out).keys() == contents(whole).keys()

    def test_people_that_join_later_leave_the_split_as_it_was(self, tmp_path, make_video):
        for name in ("a", "b", "c"):
            make_video(f"{name}.mp4", tint=ord(name) - 97)
        first = prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)
        make_video("d.mp4", tint=3)
        second = prepare([tmp_path / "in" / "d.mp4"], tmp_path / "out", SETTINGS)
        split = {clip.identity: clip.split for clip in second.clips}
        assert len(split) == 4
        assert {clip.identity: clip.split for clip in first.clips}.items() <= split.items()

    def test_what_people_changed_in_the_manifest_stays(self, tmp_path, make_video):
        for name in ("a", "b", "c", "d"):
            make_video(f"{name}.mp4", tint=ord(name) - 97)
        out = tmp_path / "out"
        prepare([tmp_path / "in"], out, SETTINGS)
        a, _, c, d = table(out / "manifest.csv")
        c["split"] = "train" if c["split"] == "val" else "val"
        rows = [{**row, "Note": f"n{row['source'][-5]}"} for row in (d, a | {"identity": "Anna"}, c)]
        own = {"file": "photos/p.png", "split": "train", "identity": "Zoë", "Note": "mine"}
        with (out / "manifest.csv").open("w", newline="", encoding="utf-16") as file:  # as a spreadsheet may
            writer = csv.DictWriter(file, rows[0], delimiter=";")
            writer.writeheader()
            writer.writerows([*rows, own])
        for _ in range(2):
            reports = []
            result = prepare([tmp_path / "in"], out, SETTINGS, reports.append)
            after = table(out / "manifest.csv")
            assert [row["file"] for row in after] == [a["file"], c["file"], d["file"], "photos/p.png"]
            assert [row["identity"] for row in after] == ["Anna", "c", "d", "Zoë"]
            assert [row["note"] for row in after] == ["na", "nc", "nd", "mine"]
            assert after[1]["split"] == c["split"]
            assert after[2] == d | {"note": "nd"}
            assert [clip.identity for clip in result.clips] == ["Anna", "c", "d"]
            assert "1 clips were taken out of the manifest by hand and stay out" in reports
        make_video("e.mp4", tint=4)
        prepare([tmp_path / "in"], out, SETTINGS)
        assert table(out / "manifest.csv")[:2] == after[:2]
        (out / "manifest.csv").unlink()  # asks for all of it anew
        prepare([tmp_path / "in"], out, SETTINGS)
        assert [row["identity"] for row in table(out / "manifest.csv")] == ["a", "b", "c", "d", "e"]

    def test_another_rule_for_people_counts_for_videos_that_are_done(self, tmp_path, make_video, monkeypatch):
        for number, name in enumerate(("x_1", "x_2", "y_1", "z_1")):
            make_video(f"{name}.mp4", tint=number)
        out = tmp_path / "out"
        half = PreparationSettings(**{**vars(SETTINGS), "val_share": 0.5})
        before = {row["file"]: row["split"] for row in prepare_table(tmp_path, half)}
        assert sorted(before.values()) == ["train", "train", "val", "val"]
        monkeypatch.setattr(VideoPreparer, "prepare", None)  # calling it would raise
        other = PreparationSettings(**{**vars(half), "person_from": "([a-z])_"})
        after = prepare_table(tmp_path, other)
        assert [row["identity"] for row in after] == ["x", "x", "y", "z"]
        # who was trained on in any clip goes on being trained on, all others go on judging
        x = [row["split"] for row in after if row["identity"] == "x"]
        trained = "train" in [before[row["file"]] for row in after if row["identity"] == "x"]
        assert x == (["train"] * 2 if trained else ["val"] * 2)
        assert all(row["split"] == before[row["file"]] for row in after if row["identity"] in "yz")
        assert prepare_table(tmp_path, half)[0]["identity"] == "x_1"
        assert out.is_dir()

    def test_another_list_is_cut_anew(self, tmp_path, make_video):
        make_video("vid.mp4", frames=14)
        lists = {}
        for name, start in (("one", 0), ("two", 5)):
            lists[name] = tmp_path / f"{name}.csv"
            lists[name].write_text(
                "video_id,start,end,bbox,fps,width,height,person_id\n"
                f"vid#1,{start},{start + 8},100-20-240-160,25,{WIDTH},{HEIGHT},p\n"
            )

        def starts(metadata):
            rows = prepare_table(tmp_path, PreparationSettings(**{**vars(SETTINGS), "metadata": metadata}))
            found = {path.stem for path in (tmp_path / "out" / "clips").iterdir()}
            assert found == {path.stem for path in (tmp_path / "out" / "landmarks").iterdir()}
            assert found == {row["file"][6:-4] for row in rows}
            return [(row["start"], row["identity"]) for row in rows]

        assert starts(lists["one"]) == [("0", "p")]
        assert starts(lists["two"]) == [("5", "p")]
        assert [identity for _, identity in starts(None)] == ["vid"]

    def test_other_landmarks_are_taken(self, tmp_path, make_video):
        path = make_video("a.mp4")
        (row,) = prepare_table(tmp_path, SETTINGS)
        points = tmp_path / "out" / "landmarks" / f"{row['file'][6:-4]}.npy"
        before = np.load(points)
        (tmp_path / "better").mkdir()
        np.save(tmp_path / "better" / "a.npy", np.load(path.with_suffix(".npy")) + np.array((2, 0)))
        other = PreparationSettings(**{**vars(SETTINGS), "landmarks": tmp_path / "better"})
        prepare_table(tmp_path, other)
        scale = 64 / int(row["box"].split(",")[2])
        moved = np.load(points) - before
        np.testing.assert_allclose(moved, np.broadcast_to((2 * scale, 0), (8, 68, 2)), atol=1e-3)

    def test_what_lies_in_the_data_folder_is_no_input(self, tmp_path, make_video):
        make_video("a.mp4")
        out = tmp_path / "in" / "data"
        for _ in range(2):
            result = prepare([tmp_path / "in"], out, SETTINGS)
            assert [clip.identity for clip in result.clips] == ["a"]

    def test_another_draw_is_for_new_people_only_and_says_so(self, tmp_path, make_video):
        for name in ("a", "b", "c"):
            make_video(f"{name}.mp4", tint=ord(name) - 97)
        before = prepare_table(tmp_path, SETTINGS)
        reports = []
        other = PreparationSettings(**{**vars(SETTINGS), "val_share": 0.6, "seed": 3})
        prepare([tmp_path / "in"], tmp_path / "out", other, reports.append)
        assert table(tmp_path / "out" / "manifest.csv") == before
        assert "delete it to draw all people anew" in reports[-1]
        (tmp_path / "out" / "manifest.csv").unlink()
        assert sum(row["split"] == "val" for row in prepare_table(tmp_path, other)) == 2

    def test_a_manifest_that_does_not_read_is_told_before_any_work(self, tmp_path, make_video, monkeypatch):
        make_video("a.mp4")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "manifest.csv").write_text("file,person\nclips/a.mp4,x\n")
        monkeypatch.setattr(VideoPreparer, "prepare", None)  # calling it would raise
        with pytest.raises(UnreadableInputError, match="lacks the columns identity, split"):
            prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)

    def test_other_settings_are_refused(self, tmp_path, make_video):
        make_video("a.mp4")
        prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)
        with pytest.raises(UsageError, match="size 64"):
            prepare(
                [tmp_path / "in"], tmp_path / "out", PreparationSettings(**{**vars(SETTINGS), "size": 128})
            )

    def test_a_damaged_journal(self, tmp_path, make_video):
        make_video("a.mp4")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "prepared.jsonl").write_text("[]\n")
        with pytest.raises(UnreadableInputError, match="damaged"):
            prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)


class TestFoldersThatHoldBoth:
    """Results that lie among the videos."""

    @pytest.mark.parametrize("pattern", ["", "**/*.mp4"])
    def test_clips_are_not_taken_for_more_videos(self, tmp_path, make_video, pattern):
        make_video("a.mp4")
        folder = tmp_path / "in"
        first = prepare([folder / pattern], folder, SETTINGS)
        before = contents(folder)
        second = prepare([folder / pattern], folder, SETTINGS)
        assert [clip.file for clip in second.clips] == [clip.file for clip in first.clips]
        assert second.dropped == []
        assert contents(folder) == before

    def test_videos_are_not_overwritten_by_what_they_become(self, tmp_path, make_video):
        make_video("a.mp4")
        (tmp_path / "in").rename(tmp_path / "clips")
        before = contents(tmp_path)
        with pytest.raises(UsageError, match=r"clips/a\.mp4 lies where"):
            prepare([tmp_path / "clips"], tmp_path, SETTINGS)
        assert contents(tmp_path) == before

    def test_landmarks_are_not_overwritten_by_what_they_become(self, tmp_path, make_video):
        make_video("a.mp4")
        landmarks = tmp_path / "out" / "landmarks"
        landmarks.mkdir(parents=True)
        np.save(landmarks / "a.npy", np.zeros((30, 68, 2), np.float32))
        before = contents(tmp_path)
        with pytest.raises(UsageError, match=r"landmarks/a\.npy lies where"):
            prepare([tmp_path / "in"], tmp_path / "out", replace(SETTINGS, landmarks=landmarks))
        assert contents(tmp_path) == before
