"""``faceanim prepare``: videos of people to training data."""

import json
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.weights import AcceptLicense, Offline, confirm_on_terminal
from faceanim_cli.console import Debug, Json, Quiet, item_progress
from faceanim_cli.errors import FaceanimError, UsageError


class CropChoice(str, Enum):
    """How clips are framed."""

    auto = "auto"
    face = "face"
    none = "none"


def prepare(
    videos: Annotated[
        list[str] | None,
        typer.Argument(
            help="Videos, folders of them or of frames, patterns; or first-order-model's train/ and test/.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DATA", help="The data folder to make, go on with, or add to."
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Only look for trouble in a data folder; exit code 1 if there is."),
    ] = None,
    size: Annotated[int, typer.Option(help="Shorter side of the clips, pixels.")] = 256,
    min_size: Annotated[int, typer.Option(help="Drop crops of fewer pixels.")] = 256,
    crop: Annotated[
        CropChoice,
        typer.Option(
            help="face: follow the face; none: frames whole; auto: whole if they are crops already."
        ),
    ] = CropChoice.auto,
    scale: Annotated[
        float, typer.Option(help="Side of the crop in face boxes; 2.2 leaves training room to zoom out.")
    ] = 1.75,
    min_frames: Annotated[int, typer.Option(help="Drop clips of fewer frames.")] = 25,
    max_frames: Annotated[int, typer.Option(help="Cut clips of more frames.")] = 1024,
    person_from: Annotated[
        str,
        typer.Option(
            metavar="RULE",
            help="Whose face it is: auto (VoxCeleb's names, else the folder, else the file), folder, file, "
            "or a regular expression on the path, such as '(p[0-9]+)_'.",
        ),
    ] = "auto",
    landmarks: Annotated[
        Path | None,
        typer.Option(
            help="A folder of VIDEO.npy, (frames, 68, 2), pixels (default: beside videos, else estimated)."
        ),
    ] = None,
    landmark_model: Annotated[
        str | None,
        typer.Option(metavar="WEIGHTS", help="Estimates the landmarks of other videos (default: shipped)."),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="Cut what this list says: video-preprocessing's vox-metadata.csv."),
    ] = None,
    val_share: Annotated[float, typer.Option(help="Share of the people who judge, never trained on.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the draw of these people.")] = 0,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Videos at a time (default: one a core).")
    ] = None,
    device: Annotated[
        str, typer.Option(help="Of the landmark model: auto, cpu, cuda, cuda:1 or mps.")
    ] = "auto",
    as_json: Json = False,
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Cut videos of people into clips for training, with landmarks, split by person.

    The paper's protocol: the face is followed from where it first shows until it strays too far, the smallest
    square that holds all its boxes is cut out, small ones are dropped. The same command goes on where it
    stopped. Exit code 1 if a video could not be read; the rest is prepared all the same.
    """
    from faceanim_cli.data.prepare import PreparationSettings  # noqa: PLC0415 (imports torch)
    from faceanim_cli.data.prepare import prepare as prepare_data  # noqa: PLC0415
    from faceanim_cli.data.sequences import SequenceSettings  # noqa: PLC0415
    from faceanim_cli.weights.resolve import resolve_weights  # noqa: PLC0415

    def say(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    if check is not None:
        if videos or out is not None:
            raise UsageError(
                "--check DATA looks at data that is there; prepare videos with a command of its own"
            )
        _check(check, as_json, quiet)
        return
    if not videos or out is None:
        raise UsageError("say what to prepare and where to: faceanim prepare VIDEOS... -o DATA")
    model = landmark_model and resolve_weights(
        landmark_model, offline=offline, accept_license=accept_license, confirm=confirm_on_terminal()
    )
    settings = PreparationSettings(
        size=size,
        crop=crop.value,
        sequences=SequenceSettings(scale, min_size, min_frames, max_frames),
        person_from=person_from,
        landmarks=landmarks,
        landmark_model=model or None,
        metadata=metadata,
        val_share=val_share,
        seed=seed,
        jobs=jobs,
        device=device,
    )
    with item_progress("videos", quiet) as progress:
        result = prepare_data(videos, out, settings, report=say, progress=progress)
    say(str(result))
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2))
    else:
        typer.echo(out / "manifest.csv")
    if result.unreadable:
        more = f" and {len(result.unreadable) - 3} more" if len(result.unreadable) > 3 else ""
        raise FaceanimError(
            f"{len(result.unreadable)} videos could not be read: {', '.join(result.unreadable[:3])}{more}"
        )


def _check(data: Path, as_json: bool, quiet: bool) -> None:
    from faceanim_cli.data.check import check_data  # noqa: PLC0415 (imports OpenCV)

    with item_progress("clips", quiet) as progress:
        checked = check_data(data, progress)
    if as_json:
        typer.echo(json.dumps(asdict(checked), indent=2))
    else:
        for trouble in checked.trouble:
            typer.echo(trouble)
    if checked.trouble:
        raise FaceanimError(f"{data}: {len(checked.trouble)} findings in {checked.clips} clips")
    if not as_json:
        typer.echo(
            f"{checked.clips} clips: {checked.people['train']} people to train on, {checked.people['val']} "
            "to judge, no trouble found"
        )
