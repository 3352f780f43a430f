"""``faceanim prepare``: videos of people to training data."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from faceanim_cli.commands.help import BASICS
from faceanim_cli.commands.options import (
    AcceptLicense,
    Device,
    Json,
    Offline,
    Quiet,
    choice,
    find_weights,
    option,
    stderr_printer,
)
from faceanim_cli.console import item_progress
from faceanim_cli.errors import FaceanimError, UsageError, some_of

WHAT, PEOPLE = "What is cut", "People and landmarks"


def prepare(
    videos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VIDEOS",
            help="Videos, photos, folders of them or of frames, patterns; or train/ and test/ in a folder",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option(BASICS, "The data folder to make, go on with, or add to", "--output", "-o", metavar="DIR"),
    ] = None,
    check: Annotated[
        Path | None,
        option(BASICS, "Only look for trouble in a data folder\nExit code 1 if there is.", metavar="DIR"),
    ] = None,
    jobs: Annotated[
        int | None, option(BASICS, "Videos at a time [one a core]", "--jobs", "-j", min=1)
    ] = None,
    size: Annotated[int, option(WHAT, "Shorter side of the clips, pixels")] = 256,
    min_size: Annotated[int, option(WHAT, "Drop crops of fewer pixels")] = 256,
    crop: Annotated[
        Literal["auto", "face", "none"],
        choice(
            WHAT,
            "auto, face or none\nface: follow the face; none: frames whole; auto: whole if they are crops "
            "already.",
            ("auto", "face", "none"),
            metavar="HOW",
        ),
    ] = "auto",
    scale: Annotated[
        float,
        option(WHAT, "Side of the crop in face boxes\n2.2 leaves training room to zoom out."),
    ] = 1.75,
    min_frames: Annotated[int, option(WHAT, "Drop clips of fewer frames")] = 25,
    max_frames: Annotated[int, option(WHAT, "Cut clips of more frames")] = 1024,
    metadata: Annotated[
        Path | None,
        option(
            WHAT,
            "Cut what this list says\nvideo-preprocessing's vox-metadata.csv.",
            metavar="CSV",
        ),
    ] = None,
    person_from: Annotated[
        str,
        option(
            PEOPLE,
            "Whose face: auto, folder, file, or a pattern\n"
            "auto is VoxCeleb's names, else the folder, else the file. A pattern is a "
            "regular expression on the path, such as '(p[0-9]+)_'.",
            metavar="RULE",
        ),
    ] = "auto",
    val_share: Annotated[float, option(PEOPLE, "Share of the people kept for validation")] = 0.1,
    seed: Annotated[int, option(PEOPLE, "Of the draw of these people")] = 0,
    landmarks: Annotated[
        Path | None,
        option(
            PEOPLE,
            "A folder of VIDEO.npy [beside the videos]\n"
            "Each is (frames, 68, 2), pixels. Where there are none they are estimated.",
            metavar="DIR",
        ),
    ] = None,
    landmark_model: Annotated[str | None, option(PEOPLE, "Weights that estimate landmarks [shipped]")] = None,
    device: Device = "auto",
    as_json: Json = False,
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    quiet: Quiet = False,
) -> None:
    """Cut videos of people into clips for training, photos into portraits.

    With landmarks, split by person. The paper's protocol: the face is followed from where it first shows
    until it strays too far, the smallest square that holds all its boxes is cut out, small ones are dropped.
    Photos with a large enough face are for super-resolution. The same command goes on where it stopped.
    Exit code 1 if a file could not be read; the rest is prepared all the same.
    """
    from faceanim_cli.data.prepare import PreparationSettings  # noqa: PLC0415 (imports torch)
    from faceanim_cli.data.prepare import prepare as prepare_data  # noqa: PLC0415
    from faceanim_cli.data.sequences import SequenceSettings  # noqa: PLC0415

    say = stderr_printer(quiet)
    if check is not None:
        if videos or out is not None:
            raise UsageError(
                "--check DATA looks at data that is there; prepare videos with a command of its own"
            )
        _check(check, as_json, quiet)
        return
    if not videos or out is None:
        raise UsageError("say what to prepare and where to: faceanim prepare VIDEOS... -o DATA")
    settings = PreparationSettings(
        size=size,
        crop=crop,
        sequences=SequenceSettings(scale, min_size, min_frames, max_frames),
        person_from=person_from,
        landmarks=landmarks,
        landmark_model=None
        if landmark_model is None
        else find_weights(landmark_model, offline, accept_license),
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
        raise FaceanimError(f"{len(result.unreadable)} files could not be read: {some_of(result.unreadable)}")


def _check(data: Path, as_json: bool, quiet: bool) -> None:
    from faceanim_cli.data.check import check_data  # noqa: PLC0415 (imports OpenCV)

    with item_progress("clips", quiet) as progress:
        checked = check_data(data, progress)
    if as_json:
        typer.echo(json.dumps(asdict(checked), indent=2))
    else:
        for trouble in checked.trouble:
            typer.echo(trouble)
    photos = f" and {checked.photos} photos" if checked.photos else ""
    if checked.trouble:
        raise FaceanimError(f"{data}: {len(checked.trouble)} findings in {checked.clips} clips{photos}")
    if not as_json:
        typer.echo(
            f"{checked.clips} clips{photos}: {checked.people['train']} people to train on, "
            f"{checked.people['val']} to validate on, no trouble found"
        )
