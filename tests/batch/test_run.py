"""A batch in one process: failures, reports, and going on where it stopped."""

import json
import logging
import os
from pathlib import Path

import pytest

from faceanim_cli.batch.items import BatchItem
from faceanim_cli.batch.report import read_report, split_done
from faceanim_cli.batch.run import BatchOutcome, BatchSettings
from faceanim_cli.errors import UnreadableInputError, UsageError, WeightsError
from tests.batch.text_job import Recorder, TextJob, run_batch

KEYS = ["photo", "driver", "output", "status", "frames", "fps", "seconds", "error", "settings", "inputs"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def items(*photos: str, out: str = "out") -> list[BatchItem]:
    return [BatchItem(Path(f"{p}.jpg"), Path("x.mp4"), Path(out, f"{p}-x.mp4")) for p in photos]


def work(batch: list[BatchItem], **settings: object) -> tuple[BatchOutcome, list[dict[str, object]]]:
    """Runs a batch; gives its outcome and the lines of its report."""
    outcome = run_batch(
        TextJob(Path("log")), batch, Recorder(), BatchSettings(report=Path("report.jsonl"), **settings)
    )
    return outcome, [json.loads(line) for line in Path("report.jsonl").read_text().splitlines()]


def begun() -> list[str]:
    """Outputs that were begun since the last call."""
    lines = Path("log").read_text().splitlines()
    Path("log").write_text("")
    return [line.removeprefix("begin ") for line in lines if line.startswith("begin")]


def test_a_failure_stops_nothing_and_every_item_has_its_line() -> None:
    outcome, lines = work(items("a", "faceless", "buggy", "b"))
    assert set(Path("out").iterdir()) == {Path("out/a-x.mp4"), Path("out/b-x.mp4")}
    assert Path("out/b-x.mp4").read_text() == "b x"
    assert [list(line) for line in lines] == [KEYS] * 4
    assert all(line.pop("settings") == {"style": "plain", "weights_sha256": "0123"} for line in lines)
    assert all(line.pop("inputs") == {"photo": None, "driver": None} for line in lines)  # neither is there
    seconds = [line.pop("seconds") for line in lines]
    assert all(isinstance(s, float) and 0 <= s < 60 for s in seconds)
    done = {"driver": "x.mp4", "status": "done", "frames": 2, "fps": 25.0, "error": None}
    failed = {"driver": "x.mp4", "status": "failed", "frames": None, "fps": None}
    assert lines == [
        {"photo": "a.jpg", "output": "out/a-x.mp4", **done},
        {
            "photo": "faceless.jpg",
            "output": "out/faceless-x.mp4",
            **failed,
            "error": "faceless.jpg: no face found",
        },
        {
            "photo": "buggy.jpg",
            "output": "out/buggy-x.mp4",
            **failed,
            "error": "internal error: ZeroDivisionError: division by zero",
        },
        {"photo": "b.jpg", "output": "out/b-x.mp4", **done},
    ]
    assert (len(outcome.reports), outcome.found, outcome.failed) == (4, 0, 2)


def test_the_networks_are_loaded_once_and_the_listener_hears_of_everything() -> None:
    recorder = Recorder()
    run_batch(TextJob(Path("log")), items("a", "faceless"), recorder)
    assert Path("log").read_text().count("load") == 1
    assert recorder.seen == [
        ("there already", 0),
        ("a-x.mp4", 1, 2),
        ("a-x.mp4", 2, 2),
        ("a-x.mp4", "done"),
        ("faceless-x.mp4", "failed"),
    ]


@pytest.mark.parametrize("photo", ["greedy", "huge"])
def test_an_item_for_which_memory_is_too_small_fails_alone_and_says_what_to_do(photo: str) -> None:
    _, lines = work(items(photo, "a"))
    assert [line["status"] for line in lines] == ["failed", "done"]
    assert lines[0]["error"] == (
        "out of memory; ask for fewer --workers, a smaller --batch-size or a smaller --size"
    )


def test_what_is_logged_names_the_pair(caplog: pytest.LogCaptureFixture) -> None:
    run_batch(TextJob(Path("log")), items("odd", "a"), Recorder())
    logging.getLogger("faceanim_cli").warning("later")
    assert caplog.messages == ["odd.jpg + x.mp4: x.mp4: frames 24: 100% odd", "later"]


def test_resuming_does_what_is_left_and_keeps_one_line_an_item() -> None:
    _, first = work(items("a", "faceless", "b"))
    Path("out/b-x.mp4").unlink()
    begun()
    outcome, lines = work(items("a", "faceless", "b", "c"), resume=True)
    assert begun() == ["faceless-x.mp4", "b-x.mp4", "c-x.mp4"]
    assert lines[0] == first[0]  # with the seconds that it took then
    assert [(line["photo"], line["status"]) for line in lines] == [
        ("a.jpg", "done"),
        ("faceless.jpg", "failed"),
        ("b.jpg", "done"),
        ("c.jpg", "done"),
    ]
    assert outcome.found == 1


@pytest.fixture
def made() -> list[BatchItem]:
    """Two items whose photos are there, done with a report."""
    for name in ("a.jpg", "b.jpg", "x.mp4"):
        Path(name).write_text("1")
    batch = items("a", "b")
    work(batch)
    begun()
    return batch


def test_resuming_leaves_alone_what_would_be_made_the_same(made: list[BatchItem]) -> None:
    assert work(made, resume=True)[0].found == 2
    Path("a.jpg").unlink()  # what it was made of may go when it is done
    assert work(made, resume=True)[0].found == 2
    assert begun() == []


@pytest.mark.parametrize("what", ["a.jpg", "x.mp4"])
def test_resuming_notices_inputs_that_changed(
    made: list[BatchItem], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    time = Path(what).stat().st_mtime_ns
    Path(what).write_text("2")  # as long as before
    os.utime(what, ns=(time + 1, time + 1))
    outcome, lines = work(made, resume=True)
    if what == "a.jpg":
        assert (begun(), outcome.found) == (["a-x.mp4"], 1)
        assert caplog.messages == ["out/a-x.mp4: done again, since its photo has changed"]
    else:
        assert (begun(), outcome.found) == (["a-x.mp4", "b-x.mp4"], 0)
        assert caplog.messages == ["out/a-x.mp4 and 1 more: done again, since its driver has changed"]
    assert len(lines) == 2
    assert work(made, resume=True)[0].found == 2  # which is noticed once


def test_resuming_notices_a_frame_that_changed(made: list[BatchItem]) -> None:
    Path("walk").mkdir()
    Path("walk/1.png").write_text("1")
    batch = [BatchItem(Path("a.jpg"), Path("walk"), Path("out/a-walk.mp4"))]
    work(batch)
    assert work(batch, resume=True)[0].found == 1
    Path("walk/2.png").write_text("1")
    assert work(batch, resume=True)[0].found == 0


def test_resuming_notices_other_settings(made: list[BatchItem], caplog: pytest.LogCaptureFixture) -> None:
    settings = BatchSettings(resume=True, report=Path("report.jsonl"))
    outcome = run_batch(TextJob(Path("log"), style="wild"), made, Recorder(), settings)
    assert (begun(), outcome.found) == (["a-x.mp4", "b-x.mp4"], 0)
    assert caplog.messages == ["out/a-x.mp4 and 1 more: done again, since other settings made it: style"]
    assert outcome.reports[0].settings == {"style": "wild", "weights_sha256": "0123"}


def test_weights_are_compared_where_they_are_known(made: list[BatchItem]) -> None:
    earlier = read_report(Path("report.jsonl"))
    assert split_done(made, earlier, {"style": "plain"})[0] == []  # a dry run, which fetches nothing
    assert split_done(made, earlier, {"style": "plain", "weights_sha256": "4567"})[0] == made


def test_a_report_of_an_earlier_version_says_nothing_of_settings(made: list[BatchItem]) -> None:
    path = Path("report.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["settings"], line["inputs"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert split_done(made, read_report(path), {"style": "wild", "weights_sha256": "4567"})[0] == []


def test_resuming_without_a_report_believes_what_is_there(caplog: pytest.LogCaptureFixture) -> None:
    Path("out").mkdir()
    Path("out/a-x.mp4").write_text("from elsewhere")
    _, lines = work(items("a", "b"), resume=True)
    assert begun() == ["b-x.mp4"]
    assert Path("out/a-x.mp4").read_text() == "from elsewhere"
    assert [(line["status"], line["frames"]) for line in lines] == [("skipped", None), ("done", 2)]
    assert caplog.messages == [
        "out/a-x.mp4: left as it is, whatever settings made it; a run with --report notes them"
    ]


def test_resuming_what_never_began_begins(tmp_path: Path) -> None:
    settings = BatchSettings(resume=True, report=Path("out/report.jsonl"))
    assert run_batch(TextJob(Path("log")), items("a"), Recorder(), settings).found == 0
    assert [report.status for report in read_report(Path("out/report.jsonl"))] == ["done"]


def test_empty_files_and_folders_are_not_whole() -> None:
    Path("out/b-x.mp4").mkdir(parents=True)
    Path("out/a-x.mp4").touch()
    Path("out/c-x.mp4").mkdir()
    Path("out/c-x.mp4/0001.png").touch()
    left, done = split_done(items("a", "b", "c"))
    assert [item.photo.stem for item in left] == ["a", "b"]
    assert [report.status for report in done] == ["skipped"]


def test_what_does_not_show_whether_it_is_whole_is_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    Path("out/a-x.mp4").mkdir(parents=True)
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert split_done(items("a")) == (items("a"), [])


def test_without_resume_everything_is_made_anew() -> None:
    work(items("a"))
    begun()
    _, lines = work(items("a"))
    assert begun() == ["a-x.mp4"]
    assert len(lines) == 1


@pytest.mark.parametrize(("status", "driver"), [("done", "another.mp4"), ("failed", "x.mp4")])
def test_what_the_report_contradicts_is_made_anew(status: str, driver: str) -> None:
    Path("out").mkdir()
    Path("out/a-x.mp4").write_text("older")
    line = {"photo": "a.jpg", "driver": driver, "output": "out/a-x.mp4", "status": status}
    Path("report.jsonl").write_text(json.dumps(line) + "\n")
    _, lines = work(items("a"), resume=True)
    assert Path("out/a-x.mp4").read_text() == "a x"
    assert [(line["driver"], line["status"]) for line in lines] == [("x.mp4", "done")]


def test_when_all_is_there_nothing_is_loaded() -> None:
    work(items("a"))
    Path("log").unlink()
    outcome, _ = work(items("a"), resume=True)
    assert not Path("log").exists()
    assert outcome.found == 1


def test_what_others_made_is_not_replaced() -> None:
    Path("out").mkdir()
    Path("out/b-x.mp4").write_text("precious")
    with pytest.raises(UsageError, match=r"out/b-x\.mp4: it is there, and faceanim did not make it"):
        work(items("a", "b"))
    assert not Path("log").exists()
    assert Path("out/b-x.mp4").read_text() == "precious"
    work(items("a"))


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_that_is_no_report_is_refused_and_kept(tmp_path: Path, resume: bool) -> None:
    path = tmp_path / "report.jsonl"
    path.write_text("Dear diary,\n")
    with pytest.raises(UnreadableInputError, match=r"report\.jsonl, line 1: not a line of a report"):
        work(items("a"), resume=resume)
    assert path.read_text() == "Dear diary,\n"
    assert not Path("out").exists()


def test_nothing_begins_when_outputs_cannot_be_written() -> None:
    Path("out").write_text("a file")
    with pytest.raises(UsageError, match="cannot make the folder out"):
        work(items("a"))
    with pytest.raises(UsageError, match="nowhere"):
        run_batch(
            TextJob(Path("log")),
            items("a", out="there"),
            Recorder(),
            BatchSettings(report=Path("nowhere/r.jsonl")),
        )
    assert not Path("log").exists()


def test_weights_that_do_not_load_end_the_batch() -> None:
    with pytest.raises(WeightsError):
        run_batch(TextJob(Path("log"), "none"), items("a", "b"), Recorder())


def test_what_a_killed_run_left_half_done_goes_when_its_item_is_done() -> None:
    Path("out").mkdir()
    gone = "4194304"  # above the largest process number
    Path(f"out/.a-x.partial-{gone}-00ff00.mp4").touch()
    other = Path(f"out/.b-x.partial-{gone}-00ff00.mp4")
    alive = Path(f"out/.a-x.partial-{os.getppid()}-00ff00.mp4")
    other.touch()
    alive.touch()
    folder = Path(f"out/.a-x.partial-{gone}-0123ab.mp4")
    folder.mkdir()
    (folder / "0001.png").touch()
    work(items("a"))
    assert set(Path("out").iterdir()) == {Path("out/a-x.mp4"), other, alive}
