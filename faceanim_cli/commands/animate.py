"""``faceanim animate``: a photo and a driving video in, an animated video out."""

from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.options import parse_crop
from faceanim_cli.commands.weights import AcceptLicense, Offline, confirm_on_terminal
from faceanim_cli.console import Debug, Quiet, frame_progress


def animate(
    photo: Annotated[Path, typer.Argument(help="The photo to animate.", show_default=False)],
    driver: Annotated[
        Path, typer.Argument(help="The driving video, or a folder of frames.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The video to write: .mp4, .mov or .mkv.", show_default=False),
    ],
    absolute: Annotated[
        bool,
        typer.Option(
            "--absolute",
            help="Take the driver's keypoints as they are; for photo and driver of one person. The default "
            "moves the photo's own keypoints, which keeps its face shape.",
        ),
    ] = False,
    adapt_scale: Annotated[
        bool, typer.Option(help="Measure motion in face sizes rather than in frame sizes.")
    ] = True,
    sr: Annotated[bool, typer.Option("--sr/--no-sr", help="Super-resolution: twice the size.")] = True,
    size: Annotated[
        int | None, typer.Option(help="Side of the result in pixels (default: 512, or 256 with --no-sr).")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="A name of `faceanim weights list`, a file, or user/repo[@revision] on the Hub "
            "(default: the shipped weights).",
        ),
    ] = None,
    crop: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="The photo's frame in pixels, instead of detection.")
    ] = None,
    driver_crop: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="The driver's frame in pixels, instead of detection."),
    ] = None,
    crf: Annotated[int, typer.Option(min=0, max=51, help="Quality of the encoding, 0 is lossless.")] = 18,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Animate PHOTO as the face in DRIVER moves.

    Frame rate, length and sound are the driver's. The file's metadata says that it is AI-generated.

    The shipped weights are licensed CC BY-NC 4.0 (not for commercial use); the code is Apache-2.0. Animate
    people who have agreed to it.
    """
    from faceanim_cli.animation.animator import Animator  # noqa: PLC0415 (torch takes seconds to import)
    from faceanim_cli.animation.job import animate_file  # noqa: PLC0415
    from faceanim_cli.media import check_writable  # noqa: PLC0415
    from faceanim_cli.weights.hub import show_progress  # noqa: PLC0415
    from faceanim_cli.weights.resolve import resolve_weights  # noqa: PLC0415

    photo_crop, clip_crop = parse_crop(crop), parse_crop(driver_crop)
    check_writable(output)
    show_progress(not quiet)
    found = resolve_weights(
        weights or "animation", offline=offline, accept_license=accept_license, confirm=confirm_on_terminal()
    )
    animator = Animator(found, device, precision, not absolute, adapt_scale, sr, size)
    with frame_progress(f"{photo.name} + {driver.name}", quiet) as progress:
        result = animate_file(
            animator,
            photo,
            driver,
            output,
            photo_crop=photo_crop or "auto",
            driver_crop=clip_crop or "auto",
            crf=crf,
            progress=progress,
        )
    typer.echo(result.output)
