"""``faceanim animate``: a photo and a driving video in, an animated video out."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.commands.options import unfold
from faceanim_cli.console import Debug, Json, Quiet, frame_progress


@unfold
def animate(
    photo: Annotated[Path, typer.Argument(help="The photo to animate.", show_default=False)],
    driver: Annotated[
        Path,
        typer.Argument(
            help="The driving video, a folder of frames, a motion file, or nod, shake, smile-and-blink.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="What to write: .mp4, .mov, .mkv, .webm, .gif, .webp, or a folder's name for PNGs.",
            show_default=False,
        ),
    ],
    options: AnimationOptions,
    show_crop: Annotated[
        Path | None,
        typer.Option(
            help="Also write what the networks see of photo and driver: .png or .jpg.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Animate PHOTO as the face in DRIVER moves.

    Frame rate, length and sound are the driver's unless you say otherwise. The file's metadata says that it
    is AI-generated.

    The shipped weights are licensed CC BY-NC 4.0 (not for commercial use); the code is Apache-2.0. Animate
    people who have agreed to it.
    """
    from faceanim_cli.media import check_photo_output  # noqa: PLC0415
    from faceanim_cli.weights.hub import show_progress  # noqa: PLC0415

    start = time.perf_counter()
    options.check_output(output, photo, driver)
    if show_crop is not None:
        check_photo_output(show_crop, photo, driver)
    show_progress(not quiet)
    animator = options.animator()
    with frame_progress(f"{photo.name} + {driver.name}", quiet) as progress:
        result = options.animate(animator, photo, driver, output, progress, show_crop)
    if as_json:
        seconds = round(time.perf_counter() - start, 3)
        facts = {"photo": photo, "driver": driver, **asdict(result), "seconds": seconds}
        typer.echo(json.dumps(facts, indent=2, default=str))
    else:
        if result.start_frame is not None and not quiet:
            typer.echo(f"motion counts from driver frame {result.start_frame}", err=True)
        typer.echo(result.output)
