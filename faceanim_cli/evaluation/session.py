"""A whole evaluation, from options to the report: what ``faceanim eval`` runs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from faceanim_cli.animation.animator import Animator
from faceanim_cli.data.data_folder import ClipFile, example_clips, find_clips
from faceanim_cli.device import choose_device
from faceanim_cli.errors import UsageError
from faceanim_cli.evaluation.figures import choose_people, write_grid
from faceanim_cli.evaluation.file_pairs import file_pairs
from faceanim_cli.evaluation.frames import LandmarkDetector, MetricNetworks
from faceanim_cli.evaluation.learned_metrics import (
    SCRIPT_SUFFIXES,
    FrechetDistances,
    KeypointLandmarks,
    ScriptedLandmarks,
    load_identity,
    load_lpips,
)
from faceanim_cli.evaluation.metrics import DEFAULTS, Column, Metric, choose_metrics, columns_of
from faceanim_cli.evaluation.options import (
    DEFAULT_SIZE,
    EvaluationOptions,
    check_options,
    precision_used,
    report_facts,
    run_facts,
    versions,
)
from faceanim_cli.evaluation.protocols import (
    BASELINES,
    PREDICTED,
    STATIC,
    TRUTH,
    Job,
    Subject,
    cross_pair,
    draw_pairs,
    read_pairs,
    reconstruction,
    similarity,
    weights_subject,
)
from faceanim_cli.evaluation.report import write_report
from faceanim_cli.evaluation.results import ScoreFolder, json_ready
from faceanim_cli.evaluation.runner import Evaluation, evaluate
from faceanim_cli.evaluation.statistics import FEWEST_FRAMES
from faceanim_cli.motion.settings import FAITHFUL
from faceanim_cli.pictures import Progress
from faceanim_cli.weights.hub import is_offline
from faceanim_cli.weights.resolve import Confirm, resolve_weights

DEFAULT_PAIRS = 50
SHIPPED = "shipped"
WEIGHTS_SUFFIX = re.compile(r"(\.(safetensors|pth|pt|ckpt|tar))+$")


@dataclass(frozen=True)
class Result:
    """An evaluation, what its numbers are, and what they were measured on."""

    evaluation: Evaluation
    columns: tuple[Column, ...]
    run: dict[str, Any]
    facts: dict[str, str]
    precision: dict[str, str]
    """By weights, what their networks computed in."""

    def as_json(self) -> Any:
        """What scores.json holds."""
        return json_ready({**summary_of(self), "run": self.run})


def run_evaluation(
    options: EvaluationOptions, progress: Progress | None = None, warn: Callable[[str], None] = lambda _: None
) -> Result:
    """Score, and write the report if ``options.output`` says where.

    Raises:
        UsageError: options that do not go together. UnreadableInputError: the data. WeightsError: networks.
    """
    check_options(options)
    metrics = select_metrics(options)
    columns = columns_of(metrics)
    if options.protocol == "files":
        assert options.predicted is not None and options.truth is not None
        pairs = file_pairs(options.predicted, options.truth, options.size)[: options.limit]
        clips = [ClipFile(p.name, place, p.name) for p in pairs for place in (p.predicted, p.truth) if place]
        jobs = [pair.job() for pair in pairs]
        landmark_files = any(all(pair.landmarks) for pair in pairs)
    else:
        clips = find_clips(options.data or example_clips(), options.split)
        jobs, landmark_files = animation_jobs(options, clips), False
    device = choose_device(options.device)
    subjects = choose_subjects(options)
    networks = load_networks(options, metrics, landmark_files, device)
    run = run_facts(options, metrics, subjects, networks, clips, jobs)
    names = [subject.name for subject in subjects]
    fid = None
    if any(metric.name == "fid" for metric in metrics):
        fid = FrechetDistances(names, device, offline=is_offline(options.offline))
    folder = None
    if options.output is not None:
        folder = ScoreFolder(options.output, run, [column.name for column in columns], options.overwrite)
    evaluation = evaluate(
        jobs,
        subjects,
        metrics,
        networks,
        folder=folder,
        fid=fid,
        seed=options.seed,
        progress=progress,
        warn=warn,
    )
    if any(metric.name == "slopes" for metric in metrics) and not any(evaluation.slopes.values()):
        warn(f"no slopes: in no clip a driver moves enough, with landmarks in {FEWEST_FRAMES} frames or more")
    precision = precision_used(subjects)
    if folder is not None and not evaluation.frames:  # all was here: these networks have not shown anything
        precision |= folder.precision
    facts = report_facts(options, run, precision)
    result = Result(evaluation, columns, run, facts, precision)
    if folder is not None:
        folder.save_summary(summary_of(result))
        write_report(folder, evaluation, columns, result.facts)
    return result


def fetch_weights(options: EvaluationOptions, confirm: Confirm | None = None) -> None:
    """Fetch the weights that the options name, unless they are here: before any progress, so it can ask.

    Args:
        confirm: as ``resolve_weights`` takes it.

    Raises:
        UsageError: options that do not go together, or terms that nobody agreed to. WeightsError: no way to
            the weights.
    """
    check_options(options)
    select_metrics(options)
    for spec in (*options.weights, options.landmark_model):
        if spec is not None and not _is_script(spec):
            find_weights(options, spec, confirm)


def select_metrics(options: EvaluationOptions) -> tuple[Metric, ...]:
    """The metrics that the options name, or the protocol's own and those that the given networks are for."""
    text = options.metrics
    if text is None:
        csim = options.protocol == "cross" and options.identity_model is not None
        slopes = options.landmark_model is not None and _is_script(options.landmark_model)
        text = ",".join((*["csim"] * csim, *DEFAULTS[options.protocol], *["slopes"] * slopes))
    chosen = choose_metrics(text, options.protocol, options.every)
    needs = {metric.needs for metric in chosen}
    if options.identity_model is not None and "identity" not in needs:
        raise UsageError("--identity-model is for csim, which is not among --metrics")
    if options.landmark_model is not None and "landmarks" not in needs:
        raise UsageError("--landmark-model is for akd, pose, expression and slopes; --metrics names none")
    return chosen


def find_weights(options: EvaluationOptions, spec: str, confirm: Confirm | None = None) -> Path:
    """As ``resolve_weights``, with the options on networks and terms."""
    return resolve_weights(
        spec, offline=options.offline, accept_license=options.accept_license, confirm=confirm
    )


def draw_grid(options: EvaluationOptions, path: Path, photos: Sequence[Path], driver: Path | None) -> None:
    """``--grid``: photos given, or of the data's people; the driver given, or one of the data's clips."""
    clips = find_clips(options.data or example_clips(), options.split)
    people, chosen = choose_people(clips, options.seed)
    if driver is not None:
        chosen = ClipFile(driver.stem, driver, driver.stem)
    animator = load_animator(options, (options.weights or (None,))[0], relative=True)
    write_grid(path, animator, list(photos) or people, chosen, animator.size, options.crop)


def animation_jobs(options: EvaluationOptions, clips: Sequence[ClipFile]) -> list[Job]:
    """The rows of a reconstruction or cross run."""
    size = options.size or DEFAULT_SIZE
    if options.protocol == "cross":
        pairs = (
            read_pairs(options.pairs, clips)
            if options.pairs is not None
            else draw_pairs(clips, options.num_pairs or DEFAULT_PAIRS, options.seed)
        )
        return [cross_pair(s, d, size, options.crop, options.every) for s, d in pairs[: options.limit]]
    return [
        reconstruction(clip, size, options.crop, options.every, options.count_source)
        for clip in clips[: options.limit]
    ]


def choose_subjects(options: EvaluationOptions) -> list[Subject]:
    """Weights, the shipped ones for none, then baselines, each once."""
    if options.protocol == "files":
        return [PREDICTED]
    relative = options.protocol == "cross"
    specs: list[str | None] = list(dict.fromkeys(options.weights or (None,)))
    stems = [SHIPPED if spec is None else WEIGHTS_SUFFIX.sub("", Path(spec).name) for spec in specs]
    animators: dict[str, Animator] = {}
    for spec, stem in zip(specs, stems, strict=True):
        full = "/".join(Path(spec).parts[-2:]) if spec is not None else stem
        name = stem if stems.count(stem) == 1 else full
        if name in {*animators, *BASELINES}:
            name = f"{name} {len(animators) + 1}"
        animators[name] = load_animator(options, spec, relative)
    moved = similarity(next(iter(animators.values())))
    baselines = {baseline.name: baseline for baseline in (STATIC, moved, TRUTH)}
    return [
        *(weights_subject(name, animator) for name, animator in animators.items()),
        *(baselines[name] for name in dict.fromkeys(options.baselines)),
    ]


def load_animator(options: EvaluationOptions, spec: str | None, relative: bool) -> Animator:
    """As users have it, without super-resolution and watermark: scores are the networks'."""
    weights = None if spec is None else find_weights(options, spec)
    size = options.size or DEFAULT_SIZE
    return Animator(
        weights,
        options.device,
        options.precision,
        relative=relative,
        sr=False,
        size=size,
        motion=FAITHFUL,
        mark=None,
    )


def load_networks(
    options: EvaluationOptions, metrics: Sequence[Metric], landmark_files: bool, device: torch.device
) -> MetricNetworks:
    """Load the networks that the metrics need; for slopes of clips that have ``landmark_files`` none.

    Raises:
        UsageError: csim without an identity model. WeightsError: a network that cannot be had.
    """
    slopes = any(metric.name == "slopes" for metric in metrics)
    if slopes and options.landmark_model is None:
        if not landmark_files:
            raise UsageError(
                "slopes need landmarks by a network that is not under test: give --landmark-model a "
                "TorchScript file, or let --predicted and --truth hold landmarks/<clip>.npy"
            )
        slopes, metrics = False, [metric for metric in metrics if metric.name != "slopes"]
    needs = {metric.needs for metric in metrics}
    networks = MetricNetworks()
    if "identity" in needs:
        if options.identity_model is None:
            raise UsageError("csim needs --identity-model FILE, a TorchScript face recognition network")
        networks.identity = load_identity(options.identity_model, device)
    if "lpips" in needs:
        networks.lpips = load_lpips(device, offline=is_offline(options.offline))
    if "landmarks" in needs:
        networks.landmarks = choose_landmarks(options, device)
        if slopes and not (networks.landmarks.independent and networks.anchors):
            raise UsageError(
                "slopes need 68 landmarks by a network that is not under test: give --landmark-model a "
                f"TorchScript file, not {networks.landmarks.name}"
            )
        if not networks.anchors and any(metric.name in ("pose", "expression") for metric in metrics):
            raise UsageError(
                f"pose and expression need points that are known landmarks, and {networks.landmarks.name} "
                "gives others; choose another --landmark-model"
            )
    return networks


def choose_landmarks(options: EvaluationOptions, device: torch.device) -> LandmarkDetector:
    """The shipped keypoint detector, that of other weights, or a TorchScript network."""
    spec = options.landmark_model
    if spec is not None and _is_script(spec):
        return ScriptedLandmarks(Path(spec), device)
    animator = load_animator(options, spec, relative=False)
    return KeypointLandmarks(animator, SHIPPED if spec is None else Path(spec).name)


def _is_script(spec: str) -> bool:
    return Path(spec).suffix.lower() in SCRIPT_SUFFIXES


def summary_of(result: Result) -> dict[str, Any]:
    """scores.json without the run's facts."""
    evaluation = result.evaluation

    def table(values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {column: asdict(summary) for column, summary in row.items()} for name, row in values.items()
        }

    return {
        "complete": True,
        "scores": table(evaluation.summaries),
        **({"slopes": table(evaluation.slopes)} if any(evaluation.slopes.values()) else {}),
        "differences": {"to": evaluation.subjects[0], **table(evaluation.differences)},
        "problems": [
            {"clip": row.clip, "subject": row.subject, "problem": row.problem} for row in evaluation.problems
        ],
        "precision": result.precision,
        "versions": versions(),
        "seconds": {name: round(seconds, 3) for name, seconds in evaluation.seconds.items()},
        "frames": evaluation.frames,
    }
