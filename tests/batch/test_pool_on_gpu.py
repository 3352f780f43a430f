"""What only a CUDA GPU shows: after an illegal access a process can do nothing more with it, another can."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from faceanim_cli.batch.run import BatchSettings
from faceanim_cli.batch.worker import WorkerSlot
from faceanim_cli.pictures import Progress
from tests.batch.text_job import Recorder, TextJob, items, run_batch

pytestmark = pytest.mark.gpu


@dataclass(frozen=True)
class GpuJob(TextJob):
    """Each item asks the GPU for a sum; of a poisoned one, the first time, for a number that is not there."""

    def animator(self, slot: WorkerSlot | None = None) -> Any:
        super().animator(slot)
        return SimpleNamespace(device=torch.device("cuda"))

    def animate(
        self, animator: Any, photo: Path, driver: Path, output: Path, progress: Progress | None = None
    ) -> Any:
        numbers = torch.zeros(4, device=animator.device)
        mark = self.log.with_name("poisoned")
        if photo.stem == "poisoned" and not mark.exists():
            mark.touch()
            numbers[torch.tensor([1 << 40], device=animator.device)].sum().item()
        assert numbers.sum().item() == 0
        return super().animate(animator, photo.with_stem("plain"), driver, output, progress)


def test_a_worker_whose_context_is_broken_retires(tmp_path: Path) -> None:
    batch = items(tmp_path, "a", "poisoned", "b", "c", drivers=2)
    outcome = run_batch(GpuJob(tmp_path / "log"), batch, Recorder(), BatchSettings(workers=2))
    assert [report.status for report in outcome.reports] == ["done"] * len(batch)
    loads = (tmp_path / "log").read_text().count("load")
    assert loads == 3  # two, and the successor of one
