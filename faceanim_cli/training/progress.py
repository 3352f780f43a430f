"""Progress of a training run: lines, numbers for the live view, curves for TensorBoard."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from faceanim_cli.training.optim import Schedule


@dataclass(frozen=True)
class Status:
    """Where a run stands."""

    step: int
    max_steps: int
    progress: float  # [0, 1]
    pairs_per_second: float
    seconds_left: float | None  # None: not known yet
    learning_rate: float
    losses: Mapping[str, float]  # means since the last line
    best: str  # the best score so far, in words; empty without one


@dataclass(frozen=True)
class TrainingResult:
    """What came out of a run."""

    steps: int
    weights: Path  # the best, or the last where nobody is there to be best on
    scores: Any = None  # the last ones


@dataclass(frozen=True)
class Listener:
    """Who is told: ``report`` takes lines, ``view`` takes the numbers about twice a second."""

    report: Callable[[str], None] = logging.getLogger(__name__).info
    view: Callable[[Status], None] | None = None


class Curves:
    """Curves in ``folder`` for TensorBoard, if that is installed.

    Args:
        folder: event files go there.
        first_step: where this run begins: what an earlier one wrote beyond it is hidden.
        report: told when there will be no curves.
    """

    def __init__(self, folder: Path, first_step: int, report: Callable[[str], None]) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (an extra)
        except ImportError:
            report("no curves: pip install 'faceanim-cli[train]' brings TensorBoard")
            return
        self._writer = SummaryWriter(str(folder), purge_step=first_step or None)

    def add(self, group: str, values: Mapping[str, float], step: int) -> None:
        """One point for each of ``values``."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)
            self._writer.flush()

    def add_picture(self, name: str, picture: np.ndarray[Any, Any], step: int) -> None:
        """A picture, uint8 RGB (H, W, 3)."""
        if self._writer is not None:
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write out what is left."""
        if self._writer is not None:
            self._writer.close()


class LossReport:
    """The mean of each loss term since the last line, a line a minute; the same for curves and live view.

    Args:
        listener: who is told.
        schedule: of the run.
        curves: take a point with each line.
        pairs_a_step: of all processes together.
        max_steps: of the run.
        first_step: where this run began.
    """

    EVERY = 60.0  # seconds between lines
    GLANCE = 0.5  # seconds between numbers for the live view

    def __init__(
        self,
        listener: Listener,
        schedule: Schedule,
        curves: Curves | None,
        pairs_a_step: int,
        max_steps: int,
        first_step: int = 0,
    ) -> None:
        self._listener, self._schedule, self._curves = listener, schedule, curves
        self._pairs_a_step, self._max_steps, self._first_step = pairs_a_step, max_steps, first_step
        self._start = self._last = self._last_glance = time.monotonic()
        self._sums: dict[str, Tensor] = {}
        self._seen = 0
        self.best = ""

    def add(self, terms: Mapping[str, Tensor], step: int, progress: float, rate: float) -> None:
        """Count the terms of one step, after which ``step`` are done; ``progress`` in [0, 1]."""
        for name, term in terms.items():
            self._sums[name] = self._sums.get(name, 0) + term.detach()  # read later: a GPU is not waited for
        self._seen += 1
        now = time.monotonic()
        if self._listener.view is not None and now - self._last_glance > self.GLANCE:
            self._listener.view(self._status(step, progress, rate))
            self._last_glance = now
        if now - self._last > self.EVERY:
            self.flush(step, progress, rate)

    def flush(self, step: int, progress: float, rate: float) -> None:
        """Tell of what was counted since the last line."""
        if not self._seen:
            return
        status = self._status(step, progress, rate)
        means = "  ".join(f"{name} {value:.4f}" for name, value in status.losses.items())
        if self._listener.view is None:
            speed = f"{status.pairs_per_second:.1f} pairs/s"
            self._listener.report(f"step {step}  {progress:.1%}  {speed}  lr {rate:.1e}  {means}")
        if self._curves is not None:
            self._curves.add("loss", status.losses, step)
            self._curves.add("run", {"learning rate": rate, "pairs a second": status.pairs_per_second}, step)
        self._sums, self._seen, self._last = {}, 0, time.monotonic()

    def summary(self, step: int) -> str:
        """The run in a line."""
        seconds, steps = time.monotonic() - self._start, step - self._first_step
        pairs = steps * self._pairs_a_step
        best = f"; best {self.best}" if self.best else ""
        speed = f"{pairs / max(seconds, 1e-9):.1f} pairs/s"
        return (
            f"{steps} steps in {seconds / 60:.1f} min, {pairs} pairs, {speed}; "
            f"at step {step} of {self._max_steps}{best}"
        )

    def _status(self, step: int, progress: float, rate: float) -> Status:
        return Status(
            step,
            self._max_steps,
            progress,
            (step - self._first_step) * self._pairs_a_step / max(time.monotonic() - self._start, 1e-9),
            self._schedule.seconds_left(step, progress, self._first_step),
            rate,
            {name: float(value) / self._seen for name, value in self._sums.items()},
            self.best,
        )
