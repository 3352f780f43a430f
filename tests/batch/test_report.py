"""The report's file: lines that are on the disk when they are told, for one batch at a time."""

import os
from pathlib import Path

import pytest

from faceanim_cli.batch.items import ItemReport
from faceanim_cli.batch.report import open_report, read_report
from faceanim_cli.errors import FaceanimError, UsageError


def test_a_killed_process_leaves_lines_that_read(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    one, two = (ItemReport(name, "x", f"{name}.mp4", "done", 2, 29.97, 0.1) for name in ("a", "Zoë \udcff"))
    with open_report(path) as add:
        add(one)
        assert read_report(path) == [one]  # before it is closed
        add(two)
    whole = path.read_bytes()
    for cut in range(len(whole)):  # however little of the last lines a power cut leaves
        path.write_bytes(whole[:cut])
        assert read_report(path) == [one, two][: whole[:cut].count(b"\n")]
    assert whole.count(b"\n") == 2


@pytest.mark.skipif(os.name != "posix", reason="locks")
def test_two_batches_do_not_share_a_report(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    one = ItemReport("a", "x", "a.mp4", "done")
    with open_report(path) as add:
        add(one)
        with pytest.raises(UsageError, match=r"r\.jsonl: another batch is writing it"), open_report(path):
            pass
        add(one)
    assert read_report(path) == [one, one]
    with open_report(path, keep=[one]):
        pass
    assert read_report(path) == [one]


@pytest.mark.skipif(os.name != "posix", reason="limits")
def test_a_report_whose_disk_is_full_ends_the_batch_in_one_line(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "r.jsonl"
    one = ItemReport("a", "x", "a.mp4", "done")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_report(path, keep=[one]) as add:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
        try:
            with pytest.raises(FaceanimError, match=r"cannot write .*r\.jsonl: .*--resume does the rest"):
                add(one)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_report(path) == [one]
