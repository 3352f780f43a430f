"""Options of an evaluation, their checks, and the facts about a run that decide its numbers."""

import hashlib
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from faceanim_cli import __version__
from faceanim_cli.data.data_folder import ClipFile, has_manifest, list_hash
from faceanim_cli.errors import UsageError
from faceanim_cli.evaluation.frames import DETECTIONS_PER_SECOND, CropMode, MetricNetworks
from faceanim_cli.evaluation.metrics import Metric, Protocol
from faceanim_cli.evaluation.protocols import BASELINES, Job, Subject
from faceanim_cli.files import file_sha256

DEFAULT_SIZE = 256  # pixels: VoxCeleb's protocols


@dataclass(frozen=True)
class EvaluationOptions:
    """What to score and how; see ``faceanim eval --help`` for each."""

    metrics: str | None = None
    protocol: Protocol = "reconstruction"
    data: Path | None = None
    split: str = "val"
    weights: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    predicted: Path | None = None
    truth: Path | None = None
    pairs: Path | None = None
    num_pairs: int | None = None
    every: int = 1
    count_source: bool = False
    size: int | None = None
    crop: CropMode = "auto"
    limit: int | None = None
    seed: int = 0
    landmark_model: str | None = None
    identity_model: Path | None = None
    output: Path | None = None
    overwrite: bool = False
    device: str = "auto"
    precision: str = "auto"
    offline: bool = False
    accept_license: bool = False


def check_options(options: EvaluationOptions) -> None:
    """Options that do not go together.

    Raises:
        UsageError: naming them.
    """
    files_given = options.predicted is not None or options.truth is not None
    if options.protocol == "files":
        if options.predicted is None or options.truth is None:
            raise UsageError("--protocol files needs --predicted DIR and --truth DIR")
        lost = {"--data": options.data, "--weights": options.weights, "--baseline": options.baselines}
        if any(lost.values()):
            named = ", ".join(name for name, value in lost.items() if value)
            raise UsageError(
                f"--protocol files scores --predicted against --truth and has no use for {named}"
            )
        if options.every != 1:
            raise UsageError("--protocol files compares all frames; leave --every out")
    elif files_given:
        raise UsageError("--predicted and --truth belong to --protocol files")
    if (options.pairs or options.num_pairs) and options.protocol != "cross":
        raise UsageError(f"{'--pairs' if options.pairs else '--num-pairs'} belongs to --protocol cross")
    if options.pairs and options.num_pairs:
        raise UsageError("--num-pairs is for pairs that are drawn; with --pairs give --limit")
    if options.count_source and options.protocol != "reconstruction":
        raise UsageError("--count-source belongs to --protocol reconstruction")
    _check_output(options)
    unknown = [name for name in options.baselines if name not in BASELINES]
    if unknown:
        raise UsageError(f"--baseline: unknown {', '.join(unknown)}; known are {', '.join(BASELINES)}")


def _check_output(options: EvaluationOptions) -> None:
    """The report must not lie among the clips, where the next run would take its pictures for some."""
    if options.output is None:
        return
    output = options.output.resolve()
    places = {"--data": options.data, "--predicted": options.predicted, "--truth": options.truth}
    for name, place in places.items():
        inside = place is not None and place.is_dir() and not has_manifest(place)
        if place is not None and (
            place.resolve().is_relative_to(output) or (inside and output.is_relative_to(place.resolve()))
        ):
            raise UsageError(f"-o {options.output} and {name} {place} lie in each other; choose another -o")


def run_facts(
    options: EvaluationOptions,
    metrics: Sequence[Metric],
    subjects: Sequence[Subject],
    networks: MetricNetworks,
    clips: Sequence[ClipFile],
    jobs: Sequence[Job],
) -> dict[str, Any]:
    """All that decides the numbers. Two runs with the same facts give the same scores; no machine's paths."""
    run: dict[str, Any] = {
        "protocol": options.protocol,
        "metrics": [metric.name for metric in metrics],
        "clips": len(jobs),
        "list_sha256": list_hash(clips),
        "jobs_sha256": hashlib.sha256(os.fsencode("\n".join(job.name for job in jobs))).hexdigest(),
        "size": options.size or (DEFAULT_SIZE if options.protocol != "files" else "as it is"),
        "crop": options.crop if options.protocol != "files" else "none",
        "every": options.every,
        "seed": options.seed,
        "psnr": "data range 1, all pixels and colours of a frame together",
        "ssim": "Gaussian window 11, sigma 1.5, data range 1, population covariance, whole windows only, RGB",
    }
    if options.protocol != "files":
        if options.crop == "auto":
            run["detections_per_second"] = DETECTIONS_PER_SECOND
        run["source"] = "first frame, compared too" if options.count_source else "first frame, not compared"
        run["data"] = "shipped examples" if options.data is None else options.data.name
        run["split"] = options.split
        animators = {s.name: s.animator for s in subjects if s.animator is not None}
        run["weights"] = {
            name: {"file": a.weights.name, "sha256": file_sha256(a.weights), "size": a.model_size}
            for name, a in animators.items()
        }
        # Before the first batch: what was really used is beside the scores, see precision_used.
        run["precision_chosen"] = next(iter(precision_used(subjects).values()))
    if options.protocol == "cross":
        run["source"] = "first frame of another person's clip"
        run["motion"] = "relative, as faceanim animate moves"
    run["subjects"] = [subject.name for subject in subjects]
    if networks.landmarks is not None:
        run["landmarks"] = f"{networks.landmarks.name}, {len(networks.anchors) or 'unnamed'} points"
        run["landmarks_sha256"] = file_sha256(networks.landmarks.path)
    if options.identity_model is not None:
        model = options.identity_model
        run["identity_model"] = {"file": model.name, "sha256": file_sha256(model)}
    return run


def precision_used(subjects: Sequence[Subject]) -> dict[str, str]:
    """By weights, what their networks compute in; known once they have animated, as halves may fall back."""
    return {s.name: str(s.animator.dtype).removeprefix("torch.") for s in subjects if s.animator is not None}


def report_facts(
    options: EvaluationOptions, run: dict[str, Any], precision: dict[str, str]
) -> dict[str, str]:
    """What a report says about itself; ``precision`` as ``precision_used`` gives it."""
    every = "all frames" if options.every == 1 else f"every {options.every}th frame"
    facts = {"protocol": f"{options.protocol}, {every}"}
    if options.protocol != "files":
        crop = {
            "auto": "one crop a clip around its Viola-Jones boxes, sought once a second",
            "none": "whole frames, resized to a square",
        }[options.crop]
        facts["clips"] = f"{run['clips']}, {run['data']}, list sha256 {run['list_sha256'][:16]}"
        facts["frames"] = f"{run['size']} x {run['size']}; {crop}"
        facts["source"] = run["source"]
        facts["weights"] = "; ".join(
            f"{name}: {w['file']}, sha256 {w['sha256'][:16]}, trained at {w['size']} px"
            for name, w in run["weights"].items()
        )
        facts["precision"] = "; ".join(f"{name}: {used}" for name, used in precision.items())
    else:
        facts["clips"] = f"{run['clips']}, list sha256 {run['list_sha256'][:16]}"
        facts["frames"] = f"size: {run['size']}; frames of folders matched by name, others by number"
    facts["psnr"], facts["ssim"] = run["psnr"], run["ssim"]
    if "landmarks" in run:
        facts["landmarks"] = (
            f"{run['landmarks']}; from landmark files where clips have them, else found by that detector. "
            "A detector trained beside the weights under test flatters them: --baseline truth shows what it "
            "gets wrong on real frames"
        )
    facts["versions"] = ", ".join(f"{name} {number}" for name, number in versions().items())
    return facts


def versions() -> dict[str, str]:
    """Of everything that could move a number."""
    return {
        "faceanim": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchmetrics": version("torchmetrics"),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }
