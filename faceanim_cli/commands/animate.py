"""``faceanim animate``: a photo and a driving video in, an animated video out."""

import gc
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.commands.help import BASICS, FACE
from faceanim_cli.commands.options import Json, Quiet, default_output, expand_options, option
from faceanim_cli.commands.values import drivers
from faceanim_cli.console import frame_progress


@expand_options
def animate(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo to animate")],
    driver: Annotated[
        Path,
        typer.Argument(
            metavar="DRIVER",
            autocompletion=drivers,
            help="The driving video, a folder of frames, a motion file, or nod, shake, smile-and-blink",
        ),
    ],
    output: Annotated[
        Path | None,
        option(
            BASICS,
            "The result, .mp4, .gif, .webp, ... [PHOTO-DRIVER.mp4]\n"
            "Also .mov, .mkv, .webm, or a folder's name (no dot) for PNGs. The default "
            "appears in the current folder.",
            "--output",
            "-o",
        ),
    ] = None,
    *,
    options: AnimationOptions,
    show_crop: Annotated[Path | None, option(FACE, "Also write what the networks see, .png or .jpg")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Animate a photo as the face in a driving video moves.

    Frame rate, length and sound are the driver's unless you say otherwise. The file's metadata says that it
    is AI-generated. The shipped weights are not for commercial use (CC BY-NC 4.0). Animate people who have
    agreed to it.
    """
    from faceanim_cli.weights.hub import show_progress  # noqa: PLC0415

    start = time.perf_counter()
    output = output or default_output(photo, driver, suffix=".mp4")
    with options.searching(photo, driver, output, show_crop) as searched:
        show_progress(not quiet)
        animator = options.animator()
        gc.freeze()  # nor is garbage looked for later among what stays as long as the process
        with frame_progress(f"{photo.name} + {driver.name}", quiet) as progress:
            result = options.animate(animator, photo, driver, output, progress, show_crop, searched=searched)
    if as_json:
        seconds = round(time.perf_counter() - start, 3)
        facts = {"photo": photo, "driver": driver, **asdict(result), "seconds": seconds}
        typer.echo(json.dumps(facts, indent=2, default=str))
    else:
        if result.start_frame is not None and not quiet:
            typer.echo(f"motion counts from driver frame {result.start_frame}", err=True)
        typer.echo(result.output)
