"""``faceanim motion``: a driver's motion as a small file."""

import json
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.options import parse_crop, parse_fps
from faceanim_cli.commands.weights import AcceptLicense, Offline, confirm_on_terminal
from faceanim_cli.console import Debug, Json, Quiet, frame_progress


def motion(
    driver: Annotated[
        Path, typer.Argument(help="The driving video, or a folder of frames.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="What to write: NAME.motion.", show_default=False)
    ],
    driver_crop: Annotated[
        str | None, typer.Option(help="Where the face is, x,y,w,h in pixels (default: found).")
    ] = None,
    fps: Annotated[str | None, typer.Option(help="Frames per second (default: the driver's).")] = None,
    weights: Annotated[
        str | None, typer.Option(help="A name, a file or a repository (default: the shipped ones).")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Save the keypoint motion of DRIVER, to be used in its place by `animate` and `batch`.

    The file holds no picture. `animate` also knows motions by name: nod, shake, smile-and-blink.
    """
    from faceanim_cli.animation.animator import Animator  # noqa: PLC0415
    from faceanim_cli.animation.job import save_motion  # noqa: PLC0415
    from faceanim_cli.weights.resolve import resolve_weights  # noqa: PLC0415

    crop, rate = parse_crop(driver_crop), parse_fps(fps)
    found = resolve_weights(
        weights or "animation",
        offline=offline,
        accept_license=accept_license,
        confirm=confirm_on_terminal(),
    )
    animator = Animator(found, device, precision, sr=False)
    with frame_progress(driver.name, quiet) as progress:
        saved = save_motion(animator, driver, output, crop or "auto", rate, progress)
    if as_json:
        facts = {"driver": str(driver), "output": str(output), "frames": len(saved.points)}
        typer.echo(json.dumps({**facts, "fps": float(saved.fps)}, indent=2))
    else:
        typer.echo(output)
