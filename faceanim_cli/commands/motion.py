"""``faceanim motion``: a driver's motion as a small file."""

import json
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.help import BASICS
from faceanim_cli.commands.options import (
    AcceptLicense,
    Device,
    Json,
    Offline,
    Overwrite,
    Precision,
    Quiet,
    Weights,
    check_replacing,
    default_output,
    find_weights,
    option,
)
from faceanim_cli.commands.values import check_times, parse_crop, parse_fps, parse_time
from faceanim_cli.console import frame_progress


def motion(
    driver: Annotated[
        Path, typer.Argument(metavar="DRIVER", help="The driving video, or a folder of frames")
    ],
    output: Annotated[Path | None, option(BASICS, "What to write [DRIVER.motion]", "--output", "-o")] = None,
    driver_crop: Annotated[
        str | None, option(BASICS, "Where the face is, x,y,w,h in pixels [found]", metavar="BOX")
    ] = None,
    driver_face: Annotated[int | None, option(BASICS, "Which face, from the left [largest]", min=1)] = None,
    start: Annotated[
        float | None, option(BASICS, "Where to begin: 3.5 or 1:20", parser=parse_time, metavar="TIME")
    ] = None,
    end: Annotated[float | None, option(BASICS, "Where to end", parser=parse_time, metavar="TIME")] = None,
    duration: Annotated[
        float | None, option(BASICS, "How much to take", parser=parse_time, metavar="TIME")
    ] = None,
    fps: Annotated[str | None, option(BASICS, "Frames per second [the driver's]", metavar="RATE")] = None,
    overwrite: Overwrite = False,
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Save a driver's motion as a small file.

    `animate` and `batch` take it in the driver's place. It holds keypoints and no picture. `animate` also
    knows motions by name: nod, shake, smile-and-blink.
    """
    from faceanim_cli.media import check_not_input, check_writable, open_video  # noqa: PLC0415

    output = output or default_output(driver, suffix=".motion")
    crop, rate = parse_crop(driver_crop), parse_fps(fps)
    check_times(start, end, duration)
    check_not_input(output, driver)
    check_writable(output)
    check_replacing([output], overwrite)
    open_video(driver, rate, start=start or 0.0)
    found = find_weights(weights or "animation", offline, accept_license)
    # Torch takes seconds to load; what is said above need not wait for it.
    from faceanim_cli.animation.animator import Animator  # noqa: PLC0415
    from faceanim_cli.animation.driver import Excerpt  # noqa: PLC0415
    from faceanim_cli.animation.job import save_motion  # noqa: PLC0415

    animator = Animator(found, device, precision, sr=False)
    with frame_progress(driver.name, quiet) as progress:
        saved = save_motion(
            animator,
            driver,
            output,
            crop,
            rate,
            progress,
            driver_face=driver_face,
            excerpt=Excerpt.between(start, end, duration),
        )
    if as_json:
        facts = {"driver": str(driver), "output": str(output), "frames": len(saved)}
        typer.echo(json.dumps({**facts, "fps": float(saved.fps)}, indent=2))
    else:
        typer.echo(output)
