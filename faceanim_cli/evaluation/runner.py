"""The loop: clips stream through subjects and metrics, and one that fails does not stop the rest."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.console import ProgressCallback
from faceanim_cli.data.landmarks import NUM_LANDMARKS
from faceanim_cli.errors import FaceanimError, WeightsError
from faceanim_cli.evaluation.ahead import ahead
from faceanim_cli.evaluation.batch import Batch, Driving, Scene, Tools
from faceanim_cli.evaluation.head_pose import head_angles
from faceanim_cli.evaluation.learned import FrechetDistances
from faceanim_cli.evaluation.metrics import Metric, columns_of, score
from faceanim_cli.evaluation.pictures import as_unit
from faceanim_cli.evaluation.protocols import Job, Moment, Opener, Stopwatch, Take
from faceanim_cli.evaluation.scores import ClipScore, ScoreFolder
from faceanim_cli.evaluation.statistics import Summary, difference, mean_of, summarise
from faceanim_cli.evaluation.strips import Strip, strip_of
from faceanim_cli.evaluation.subjects import Subject
from faceanim_cli.pictures import Points

BATCH = 8  # moments that are scored at a time
LANDMARK_ANCHORS = tuple((i,) for i in range(NUM_LANDMARKS))


@dataclass
class Evaluation:
    """All scores of a run.

    Attributes:
        subjects: names, the first is what the others are compared with.
        summaries: by subject and column: means over clips.
        differences: by subject (all but the first) and column: paired, minus the first.
        seconds: by stage: decoding, network, metrics.
    """

    subjects: tuple[str, ...]
    rows: list[ClipScore]
    summaries: dict[str, dict[str, Summary]]
    differences: dict[str, dict[str, Summary]]
    seconds: dict[str, float] = field(default_factory=dict)
    frames: int = 0  # scored in this sitting, all subjects together

    @property
    def problems(self) -> list[ClipScore]:
        """Rows of clips that could not be scored, or not in whole."""
        return [row for row in self.rows if row.problem]


def evaluate(
    jobs: Sequence[Job],
    subjects: Sequence[Subject],
    metrics: Sequence[Metric],
    tools: Tools,
    *,
    folder: ScoreFolder | None = None,
    fid: FrechetDistances | None = None,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Score every job that the folder does not hold yet.

    Raises:
        WeightsError: weights that turn out not to fit, which no other clip would change.
    """
    names = tuple(subject.name for subject in subjects)
    watch = Stopwatch()
    rows: list[ClipScore] = []
    counter = _Progress(len(jobs), progress)
    scored = 0
    done = {job.name for job in jobs if folder is not None and fid is None and folder.done(job.name, names)}
    to_do = (job for job in jobs if job.name not in done)
    with closing(ahead(lambda job: job.prepare(), to_do)) as prepared:
        for job in jobs:
            if folder is not None and job.name in done:
                rows += [row for row in folder.rows if row.clip == job.name]
                counter.skip()
                continue
            new, frames, strip = _score_job(
                job, next(prepared), subjects, metrics, tools, fid, watch, counter
            )
            rows += new
            scored += sum(row.frames for row in new)
            for problem in dict.fromkeys(row.problem for row in new if row.problem):
                warn(f"{job.name}: {problem}")
            if folder is not None:
                if strip is not None:
                    strip.save(folder.strip_path(job.name))
                folder.add(new, frames)
            counter.clip_done()
    summaries, differences = _summarise(rows, names, metrics, seed)
    if fid is not None:
        for name in names:
            value = fid.value(name)
            summaries[name]["fid"] = Summary(value, math.nan, math.nan, summaries_clips(rows, name))
    seconds = {"decoding": watch.decoding, "network": watch.network, "metrics": watch.metrics}
    return Evaluation(names, rows, summaries, differences, seconds, scored)


def summaries_clips(rows: Sequence[ClipScore], subject: str) -> int:
    """Clips of which the subject has scored frames."""
    return sum(row.subject == subject and row.frames > 0 for row in rows)


def _score_job(
    job: Job,
    prepared: Future[Opener],
    subjects: Sequence[Subject],
    metrics: Sequence[Metric],
    tools: Tools,
    fid: FrechetDistances | None,
    watch: Stopwatch,
    counter: "_Progress",
) -> tuple[list[ClipScore], list[dict[str, object]], Strip | None]:
    collected = _Collected(subjects, metrics, tools, fid, watch)
    problems: list[str] = []
    take: Take | None = None
    try:
        with Pipeline() as watch.pipeline:
            start, decoded = time.perf_counter(), watch.decoding
            take = prepared.result()(subjects, watch)
            watch.decoding += time.perf_counter() - start - (watch.decoding - decoded)
            counter.expect(take.expected)
            collected.run(take, counter)
        problems = take.problems
    except WeightsError:
        raise
    except FaceanimError as error:
        problems = [*(take.problems if take is not None else ()), str(error).removeprefix(f"{job.name}: ")]
    return collected.rows(job.name, problems), collected.frames, collected.strip


class _Collected:
    """What one job gives, as it comes."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        metrics: Sequence[Metric],
        tools: Tools,
        fid: FrechetDistances | None,
        watch: Stopwatch,
    ) -> None:
        self.names = [subject.name for subject in subjects]
        self.metrics, self.tools, self.fid, self.watch = metrics, tools, fid, watch
        self.frames: list[dict[str, object]] = []
        self.strip: Strip | None = None
        self._values: dict[str, list[dict[str, float]]] = {name: [] for name in self.names}
        self._black: dict[str, list[str]] = {name: [] for name in self.names}
        self._motion: list[float] = []
        self._turn: list[float] = []

    def run(self, take: Take, counter: "_Progress") -> None:
        """Draw all moments and score them, a few at a time."""
        scene = Scene(take.source, take.reference, self.tools, take.reference_landmarks)
        last: Moment | None = None
        batch: list[Moment] = []
        moments = iter(take.moments)
        while True:
            start, decoded = time.perf_counter(), self.watch.decoding
            moment = next(moments, None)
            self.watch.network += time.perf_counter() - start - (self.watch.decoding - decoded)
            if batch and (moment is None or len(batch) == BATCH or not moment.follows):
                self._score(scene, batch, last)
                last, batch = batch[-1], []
            if moment is None:
                return
            if not moment.follows:
                last = None
            batch.append(moment)
            counter.frame_done()

    def rows(self, clip: str, problems: Sequence[str]) -> list[ClipScore]:
        """A row for each subject."""
        rows = []
        for name in self.names:
            frames = self._values[name]
            told = list(problems)
            if black := self._black[name]:
                # What NaN becomes on its way to 8 bits.
                told.append(f"{len(black)} frames of the result are all black, from {black[0]} on")
            values = {
                column.name: mean_of([frame[column.name] for frame in frames])
                for column in columns_of(self.metrics)
                if frames and column.name in frames[0]
            }
            if values.get("akd_miss") == 1.0:
                told.append("no face found in any frame of the result: no akd")
            rows.append(
                ClipScore(
                    clip,
                    name,
                    len(frames),
                    values,
                    mean_of(self._motion),
                    mean_of(self._turn),
                    "; ".join(told),
                )
            )
        return rows

    def _score(self, scene: Scene, moments: Sequence[Moment], last: Moment | None) -> None:
        start = time.perf_counter()
        truth = [moment.driving for moment in moments]
        landmarks = _stacked(moments)
        driving = Driving(scene, truth, None if last is None else last.driving, landmarks)
        motion = [255 * float(np.abs(as_unit(f) - as_unit(scene.reference)).mean()) for f in truth]
        turn = _turns(driving)
        self._motion += motion
        self._turn += turn
        for number, name in enumerate(self.names):
            results = [moment.results[number] for moment in moments]
            batch = Batch(driving, results, None if last is None else last.results[number])
            values = score(batch, self.metrics)
            for i, moment in enumerate(moments):
                if not results[i].any() and moment.driving.any():
                    self._black[name].append(moment.label)
                row = {column: numbers[i] for column, numbers in values.items()}
                self._values[name].append(row)
                self.frames.append(
                    {"frame": moment.label, "subject": name, **row, "motion": motion[i], "turn": turn[i]}
                )
            if self.fid is not None:
                self.fid.update(name, results, truth)
        for moment, moved in zip(moments, motion, strict=True):
            # The frame that asks most of the subject is the one to look at.
            if self.strip is None or moved > self.strip.motion:
                self.strip = strip_of(scene.source, moment.driving, moment.results[0], moved)
        self.watch.metrics += time.perf_counter() - start


class _Progress:
    """Frames done of frames expected; clips not opened yet are taken to be as long as those before."""

    def __init__(self, clips: int, report: ProgressCallback | None) -> None:
        self._left, self._report = clips, report
        self._done = self._opened = self._closed_frames = 0
        self._current = 0

    def expect(self, frames: int | None) -> None:
        self._opened += 1
        self._current = self._done + (frames or 0)

    def frame_done(self) -> None:
        self._done += 1
        if self._report is not None:
            mean = max(self._current, self._done) / max(self._opened, 1)
            self._report(self._done, round(max(self._current, self._done) + mean * (self._left - 1)))

    def clip_done(self) -> None:
        self._left -= 1

    def skip(self) -> None:
        self._left -= 1


def _summarise(
    rows: Sequence[ClipScore], names: Sequence[str], metrics: Sequence[Metric], seed: int
) -> tuple[dict[str, dict[str, Summary]], dict[str, dict[str, Summary]]]:
    columns = [column.name for column in columns_of([m for m in metrics if m.values is not None])]
    by_clip: Mapping[str, Mapping[str, Mapping[str, float]]] = {
        name: {
            column: {
                row.clip: row.values[column] for row in rows if row.subject == name and column in row.values
            }
            for column in columns
        }
        for name in names
    }
    summaries = {
        name: {column: summarise(list(by_clip[name][column].values()), seed) for column in columns}
        for name in names
    }
    differences = {
        name: {
            column: difference(by_clip[name][column], by_clip[names[0]][column], seed) for column in columns
        }
        for name in names[1:]
    }
    return summaries, differences


def _stacked(moments: Sequence[Moment]) -> Points | None:
    landmarks = [moment.landmarks for moment in moments]
    known = [points for points in landmarks if points is not None]
    return np.stack(known) if len(known) == len(landmarks) else None


def _turns(driving: Driving) -> list[float]:
    """Degrees between each driving head and the reference, by landmark files or a detector; NaN without."""
    scene = driving.scene
    if driving.landmarks is not None and scene.reference_landmarks is not None:
        angles = head_angles(driving.landmarks, LANDMARK_ANCHORS)
        rest = head_angles(scene.reference_landmarks, LANDMARK_ANCHORS)
    elif scene.tools.anchors:
        angles = head_angles(driving.keypoints, scene.tools.anchors)
        rest = head_angles(scene.reference_keypoints, scene.tools.anchors)
    else:
        return [math.nan] * len(driving.frames)
    turns: list[float] = np.linalg.norm(angles - rest, axis=-1).tolist()
    return turns
