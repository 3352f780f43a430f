"""Two batches at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceanim_cli.batch.items import BatchItem
from faceanim_cli.batch.run import BatchSettings
from faceanim_cli.errors import UsageError
from tests.batch.text_job import Recorder, TextJob, run_batch

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks")


def make(photos: str) -> None:
    batch = [BatchItem(Path(f"{p}.jpg"), Path("x.mp4"), Path(f"out/{p}-x.mp4")) for p in photos]
    run_batch(TextJob(Path("log")), batch, Recorder(), BatchSettings(report=Path("report.jsonl")))


def test_two_batches_at_once_do_not_make_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = (
        "import sys; from pathlib import Path\n"
        "from faceanim_cli.batch.items import BatchItem\n"
        "from faceanim_cli.batch.output_locks import locked_outputs\n"
        "with locked_outputs([BatchItem(Path('p'), Path('d'), Path('link/b-x.mp4'))]):\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    Path("out").mkdir()
    Path("link").symlink_to("out")
    make("a")
    before = Path("report.jsonl").read_text()
    command = [sys.executable, "-c", other]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(UsageError, match=r"out/b-x\.mp4: another batch is making it"):
            make("ab")
        assert Path("report.jsonl").read_text() == before
        make("ac")  # into the same folder
        process.kill()
    make("ab")
    begun = [line for line in Path("log").read_text().splitlines() if line.startswith("begin")]
    assert [line[-7] for line in begun] == list("aacab")
