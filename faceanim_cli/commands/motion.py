"""``faceanim motion``: a driver's motion as a small file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.commands.help import BASICS
from faceanim_cli.commands.options import Json, OnlyFields, Quiet, default_output, expand_options, option
from faceanim_cli.commands.values import parse_crop, parse_fps
from faceanim_cli.console import frame_progress

OF_MOTION = (
    *("start", "end", "duration", "driver_face", "driver_crop", "fps", "overwrite"),
    *("weights", "device", "precision", "offline", "accept_license"),
)


@expand_options
def motion(
    driver: Annotated[
        Path, typer.Argument(metavar="DRIVER", help="The driving video, or a folder of frames")
    ],
    output: Annotated[Path | None, option(BASICS, "What to write [DRIVER.motion]", "--output", "-o")] = None,
    *,
    options: Annotated[AnimationOptions, OnlyFields(*OF_MOTION)],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Save a driver's motion as a small file.

    `animate` and `batch` take it in the driver's place. It holds keypoints and no picture. `animate` also
    knows motions by name: nod, shake, smile-and-blink.
    """
    from faceanim_cli.media import check_not_input, check_writable, open_video  # noqa: PLC0415

    output = output or default_output(driver, suffix=".motion")
    crop, rate = parse_crop(options.driver_crop), parse_fps(options.fps)
    check_not_input(output, driver)
    check_writable(output)
    options.check_replacing([output])
    open_video(driver, rate, start=options.start or 0.0)
    # Torch takes seconds to load; what is said above need not wait for it.
    from faceanim_cli.animation.driver_search import Excerpt  # noqa: PLC0415
    from faceanim_cli.animation.job import save_motion  # noqa: PLC0415

    animator = replace(options, sr=False).animator()
    excerpt = Excerpt.between(options.start, options.end, options.duration)
    with frame_progress(driver.name, quiet) as progress:
        face = options.driver_face
        saved = save_motion(animator, driver, output, crop, rate, progress, driver_face=face, excerpt=excerpt)
    if as_json:
        facts = {"driver": str(driver), "output": str(output), "frames": len(saved)}
        typer.echo(json.dumps({**facts, "fps": float(saved.fps)}, indent=2))
    else:
        typer.echo(output)
