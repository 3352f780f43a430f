"""Runs an evaluation over all clips; a clip that fails does not stop the rest."""

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from faceanim_cli.evaluation.clip_scorer import ClipScorer, FrameCounter, StageTimer
from faceanim_cli.evaluation.figures import strip
from faceanim_cli.evaluation.frames import MetricNetworks
from faceanim_cli.evaluation.learned_metrics import FrechetDistances
from faceanim_cli.evaluation.metrics import Metric, columns_of
from faceanim_cli.evaluation.protocols import Job, Subject
from faceanim_cli.evaluation.results import ClipScore, ScoreFolder
from faceanim_cli.evaluation.statistics import Slope, Summary, difference, pooled_slopes, summarise
from faceanim_cli.media import write_photo
from faceanim_cli.pictures import Progress

T = TypeVar("T")
Item = TypeVar("Item")

MOST_THREADS = 4  # of which each searches a clip for faces; a GPU is done sooner than one of them


@dataclass
class Evaluation:
    """All scores of a run.

    Attributes:
        subjects: names, the first is what the others are compared with.
        summaries: by subject and column: means over clips.
        differences: by subject (all but the first) and column: paired, minus the first.
        slopes: by subject and measure, where ``slopes`` is among the metrics.
        seconds: by stage: decoding, network, metrics.
        frames: how many were scored by this call, of all subjects together.
    """

    subjects: tuple[str, ...]
    rows: list[ClipScore]
    summaries: dict[str, dict[str, Summary]]
    differences: dict[str, dict[str, Summary]]
    slopes: dict[str, dict[str, Slope]]
    seconds: Mapping[str, float] = field(default_factory=dict)
    frames: int = 0

    @property
    def problems(self) -> list[ClipScore]:
        """Rows of clips that could not be scored, or not in whole."""
        return [row for row in self.rows if row.problem]


def evaluate(
    jobs: Sequence[Job],
    subjects: Sequence[Subject],
    metrics: Sequence[Metric],
    networks: MetricNetworks,
    *,
    folder: ScoreFolder | None = None,
    fid: FrechetDistances | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Score every job that the folder does not hold yet.

    Raises:
        WeightsError: weights that turn out not to fit, which no other clip would change.
    """
    names = tuple(subject.name for subject in subjects)
    clock = StageTimer()
    rows: list[ClipScore] = []
    frames: dict[str, dict[str, list[Any]]] = {name: {} for name in names}
    counter = FrameCounter(len(jobs), progress)
    scored = 0
    done = {job.name for job in jobs if folder is not None and fid is None and folder.done(job.name, names)}
    with closing(prefetch(lambda job: job.open(), [job for job in jobs if job.name not in done])) as opened:
        for job in jobs:
            if folder is not None and job.name in done:
                new = [row for row in folder.rows if row.clip == job.name]
                values: Sequence[Mapping[str, Any]] = folder.frames(job.name)
            else:
                scorer = ClipScorer(subjects, metrics, networks, fid, clock, counter)
                new, values = scorer.score(job.name, next(opened)), scorer.frames
                scored += sum(row.frames for row in new)
                for problem in dict.fromkeys(row.problem for row in new if row.problem):
                    warn(f"{job.name}: {problem}")
                if folder is not None:
                    if scorer.most_moved is not None:
                        write_photo(folder.strip_path(job.name), strip(*scorer.most_moved[1]))
                    folder.add(new, values)
            rows += new
            if any(metric.name == "slopes" for metric in metrics):
                for name in names:
                    frames[name][job.name] = [row for row in values if row["subject"] == name]
            counter.clip_done()
    people = {job.name: job.person for job in jobs}
    summaries, differences = _summarise(rows, names, metrics, people, seed)
    if fid is not None:
        for name in names:
            clips = [row.clip for row in rows if row.subject == name and row.frames]
            persons = {people[clip] for clip in clips}
            summaries[name]["fid"] = Summary(fid.value(name), math.nan, math.nan, len(clips), len(persons))
    slopes = {name: pooled_slopes(frames[name], people, seed) for name in names}
    return Evaluation(names, rows, summaries, differences, slopes, clock.seconds, scored)


def prefetch(call: Callable[[Item], T], items: Iterable[Item]) -> Generator[Future[T], None, None]:
    """``call(item)`` of each item, in order, computed by threads for the items that come next.

    A few calls are under way at a time: half as many as there are cores, and no more than four. One that
    raises does so when its result is asked for, and does not stop the others. Closed early, those under way
    end and no other starts.
    """
    threads = max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads, "faceanim-prefetch")
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) > threads:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True)


def _summarise(
    rows: Sequence[ClipScore],
    names: Sequence[str],
    metrics: Sequence[Metric],
    people: Mapping[str, str],
    seed: int,
) -> tuple[dict[str, dict[str, Summary]], dict[str, dict[str, Summary]]]:
    columns = [column.name for column in columns_of([m for m in metrics if m.values is not None])]
    values: dict[tuple[str, str], dict[str, float]] = {(n, column): {} for n in names for column in columns}
    for row in rows:
        for column, value in row.values.items():
            values[row.subject, column][row.clip] = value
    summaries = {n: {c: summarise(values[n, c], people, seed) for c in columns} for n in names}
    differences = {
        n: {c: difference(values[n, c], values[names[0], c], people, seed) for c in columns}
        for n in names[1:]
    }
    return summaries, differences
