"""``faceanim live``: animates a photo by a camera, live."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.commands.help import BASICS
from faceanim_cli.commands.options import Json, OnlyFields, Quiet, expand_options, option

OF_LIVE = (
    *("pose", "expression", "mouth", "eyes", "gaze", "smooth", "absolute", "adapt_scale"),
    *("face", "crop", "zoom", "shift", "paste_back", "overwrite"),
    *("weights", "device", "precision", "threads", "offline", "accept_license"),
)


@expand_options
def live(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo to animate")],
    *,
    camera: Annotated[
        str, option(BASICS, "A camera's number, or a video in its place", metavar="CAMERA")
    ] = "0",
    output: Annotated[
        str,
        option(
            BASICS,
            "window, none, or a virtual camera\n"
            "On Linux /dev/videoN of v4l2loopback; elsewhere, OBS takes the window.",
            "--output",
            "-o",
            metavar="WHERE",
        ),
    ] = "window",
    record: Annotated[Path | None, option(BASICS, "Also write what is shown, 25 frames a second")] = None,
    sr: Annotated[
        bool,
        option(
            BASICS,
            "Super-resolution: 512 x 512, at half the speed\n"
            "A large photo shows its own detail by --size alone, which is faster.",
            "--sr",
        ),
    ] = False,
    size: Annotated[
        int | None,
        option(
            BASICS,
            "Side in pixels, 16 to 4096 [256; 512 with --sr]\n"
            "Of a whole photo its longer side, up to 8192 (default: the photo's own, up to 2560).",
            min=16,
            max=8192,
        ),
    ] = None,
    mirror: Annotated[bool, option(BASICS, "Move as a mirror does", "--mirror")] = False,
    options: Annotated[AnimationOptions, OnlyFields(*OF_LIVE)],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Animate a photo as the face before the camera moves, while it does.

    Look straight ahead with a resting face, then press space: motion counts from there. m mirrors, s shows
    what the camera sees, q quits. Pictures bear an invisible watermark, recordings say that they are
    AI-generated. Animate people who have agreed to it.
    """
    from faceanim_cli.media import check_not_input, check_output, check_photo, open_video  # noqa: PLC0415

    check_photo(photo)
    if not camera.isdigit():
        open_video(Path(camera)).close()  # what cannot be read is said before torch is loaded
    if record is not None:
        check_not_input(record, photo, Path(camera))
        check_output(record)
        options.check_replacing([record])
    from faceanim_cli.live.run import run_live  # noqa: PLC0415 (imports torch)

    report = run_live(replace(options, sr=sr, size=size).live_photo(photo), camera, output, record, mirror)
    if as_json:
        facts = {**asdict(report), "record": None if record is None else str(record)}
        typer.echo(json.dumps(facts, indent=2))
        return
    if not quiet:
        typer.echo(f"{report}", err=True)
    if record is not None:
        typer.echo(record)
