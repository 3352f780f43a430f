"""Scores one clip: renders its frames by every subject, and computes the metrics in batches."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from faceanim_cli.animation.pipeline import Pipeline
from faceanim_cli.data.landmarks import NUM_LANDMARKS, Anchors
from faceanim_cli.errors import FaceanimError, WeightsError
from faceanim_cli.evaluation.frames import Batch, Frame, FrameFeatures, MetricNetworks
from faceanim_cli.evaluation.landmark_metrics import head_angles
from faceanim_cli.evaluation.learned_metrics import FrechetDistances
from faceanim_cli.evaluation.metrics import Metric, columns_of, score
from faceanim_cli.evaluation.protocols import (
    Comparison,
    Rendered,
    Subject,
    reference_and_compared,
    render_all,
)
from faceanim_cli.evaluation.results import ClipScore
from faceanim_cli.evaluation.statistics import mean_of
from faceanim_cli.image_metrics import Picture, as_unit
from faceanim_cli.pictures import Points, Progress

T = TypeVar("T")

BATCH = 8  # frames that are scored at a time
DECODED_AHEAD = 16  # frames: two batches of the networks
LANDMARK_ANCHORS: Anchors = tuple((i,) for i in range(NUM_LANDMARKS))


class StageTimer:
    """Where the time goes, in ``seconds`` by stage. What is decoded while others work costs nothing."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("decoding", "network", "metrics"), 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the time of a block, without that of other stages within it."""
        start, others = time.perf_counter(), sum(self.seconds.values())
        try:
            yield
        finally:
            others = sum(self.seconds.values()) - others
            self.seconds[stage] += time.perf_counter() - start - others

    def waiting(self, stage: str, items: Iterator[T]) -> Iterator[T]:
        """Pass on ``items``, counting the time that they take to come."""
        end = object()
        while True:
            with self.measure(stage):
                item = next(items, end)
            if item is end:
                return
            yield item  # type: ignore[misc]


class FrameCounter:
    """Frames done of frames expected; clips not opened yet are taken to be as long as those before."""

    def __init__(self, clips: int, report: Progress | None) -> None:
        self._left, self._report = clips, report
        self._done = self._opened = self._current = 0

    def expect(self, frames: int | None) -> None:
        """A clip begins that has so many frames."""
        self._opened += 1
        self._current = self._done + (frames or 0)

    def frame_done(self) -> None:
        """Tell of a frame more."""
        self._done += 1
        if self._report is not None:
            known = max(self._current, self._done)
            self._report(self._done, round(known + known / max(self._opened, 1) * (self._left - 1)))

    def clip_done(self) -> None:
        """A clip less."""
        self._left -= 1


class ClipScorer:
    """Scores the frames of one job.

    Attributes:
        frames: rows of the table of frames.
        most_moved: how far the driving frame has moved, in 8-bit levels, that asks most of the subjects; and
            the source, that frame, and the first subject's result.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        metrics: Sequence[Metric],
        networks: MetricNetworks,
        fid: FrechetDistances | None,
        clock: StageTimer,
        counter: FrameCounter,
    ) -> None:
        self._subjects, self._metrics, self._networks, self._fid = subjects, metrics, networks, fid
        self._clock, self._counter = clock, counter
        self.frames: list[dict[str, Any]] = []
        self.most_moved: tuple[float, tuple[Picture, Picture, Picture]] | None = None
        self._black: dict[str, list[str]] = defaultdict(list)  # labels by subject

    def score(self, name: str, opened: Future[Comparison]) -> list[ClipScore]:
        """A row for each subject; with a problem where the job cannot be scored, or not in whole."""
        comparison: Comparison | None = None
        fault: list[str] = []
        try:
            with Pipeline() as pipeline:
                with self._clock.measure("decoding"):
                    comparison = opened.result()
                self._counter.expect(comparison.expected)
                decoded = pipeline.stage("decode", comparison.frames, DECODED_AHEAD)
                self._run(comparison.photo, self._clock.waiting("decoding", decoded))
        except WeightsError:
            raise
        except FaceanimError as error:
            fault = [str(error).removeprefix(f"{name}: ")]
        problems = [*fault, *(() if comparison is None else comparison.problems)]
        return [self._row(name, subject.name, problems) for subject in self._subjects]

    def _run(self, photo: Picture | None, frames: Iterator[Frame]) -> None:
        first, compared = reference_and_compared(frames)
        landmarks = first.landmarks
        if landmarks is not None and not np.isfinite(landmarks[:NUM_LANDMARKS]).all():
            landmarks = None  # better detected
        reference = FrameFeatures(
            [first.image], self._networks, landmarks=None if landmarks is None else landmarks[None]
        )
        source = reference if photo is None else FrameFeatures([photo], self._networks)
        results = render_all(self._subjects, source.pictures[0], first.image, compared)
        before: Rendered | None = None
        batch: list[Rendered] = []
        for rendered in self._clock.waiting("network", results):
            follows = rendered.frame.follows
            if batch and (len(batch) == BATCH or not follows):
                self._score(source, reference, batch, before)
                before, batch = batch[-1], []
            before = before if follows else None
            batch.append(rendered)
            self._counter.frame_done()
        self._score(source, reference, batch, before)

    def _score(
        self,
        source: FrameFeatures,
        reference: FrameFeatures,
        batch: Sequence[Rendered],
        before: Rendered | None,
    ) -> None:
        with self._clock.measure("metrics"):
            frames = [rendered.frame for rendered in batch]
            truth = [frame.image for frame in frames]
            driving = FrameFeatures(
                truth,
                self._networks,
                None if before is None else before.frame.image,
                _stacked([frame.landmarks for frame in frames]),
            )
            rest = as_unit(reference.pictures[0])
            motion = [255 * float(np.abs(as_unit(picture) - rest).mean()) for picture in truth]
            turns = _turns(reference, driving)
            for number, subject in enumerate(self._subjects):
                results = [rendered.results[number] for rendered in batch]
                shown = FrameFeatures(
                    results,
                    self._networks,
                    None if before is None else before.results[number],
                    _stacked([frame.predicted_landmarks for frame in frames]),
                )
                values = score(Batch(source, reference, driving, shown), self._metrics)
                for i, frame in enumerate(frames):
                    if not results[i].any() and frame.image.any():
                        self._black[subject.name].append(frame.label)
                    row = {column: of_frames[i] for column, of_frames in values.items()}
                    self.frames.append(
                        {"frame": frame.label, "subject": subject.name, **row}
                        | {"motion": motion[i], "turn": turns[i]}
                    )
                if self._fid is not None:
                    self._fid.update(subject.name, results, truth)
            most = int(np.argmax(motion))
            if self.most_moved is None or motion[most] > self.most_moved[0]:
                self.most_moved = motion[most], (source.pictures[0], truth[most], batch[most].results[0])

    def _row(self, clip: str, subject: str, problems: Sequence[str]) -> ClipScore:
        frames = [row for row in self.frames if row["subject"] == subject]
        told = list(problems)
        if black := self._black[subject]:
            # What NaN becomes on its way to 8 bits.
            told.append(f"{len(black)} frames of the result are all black, from {black[0]} on")
        values = {
            column.name: mean_of([row[column.name] for row in frames])
            for column in columns_of(self._metrics)
            if frames and column.name in frames[0]
        }
        if values.get("akd_miss") == 1.0:
            told.append("no face found in any frame of the result: no akd")
        motion, turn = (mean_of([row[name] for row in frames]) for name in ("motion", "turn"))
        return ClipScore(clip, subject, len(frames), values, motion, turn, "; ".join(told))


def _stacked(landmarks: Sequence[Points | None]) -> Points | None:
    known = [points for points in landmarks if points is not None]
    return np.stack(known) if len(known) == len(landmarks) else None


def _turns(reference: FrameFeatures, driving: FrameFeatures) -> list[float]:
    """Degrees between each driving head and the reference, by landmark files or a detector; NaN without."""
    if driving.landmarks is not None and reference.landmarks is not None:
        anchors, points, rest = LANDMARK_ANCHORS, driving.landmarks, reference.landmarks
    elif driving.networks.anchors:
        anchors, points, rest = driving.networks.anchors, driving.keypoints, reference.keypoints
    else:
        return [math.nan] * len(driving.pictures)
    turns = np.linalg.norm(head_angles(points, anchors) - head_angles(rest, anchors), axis=-1)
    return [float(turn) for turn in turns]
