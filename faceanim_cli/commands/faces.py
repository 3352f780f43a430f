"""``faceanim faces``: where the faces of a photo are, by number."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceanim_cli.console import Debug, Json

if TYPE_CHECKING:  # OpenCV takes time to import
    from faceanim_cli.faces import Box


def faces(
    photo: Annotated[Path, typer.Argument(help="The photo to look at.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The preview, .jpg or .png (default: PHOTO.faces.jpg in this folder).",
            show_default=False,
        ),
    ] = None,
    preview: Annotated[bool, typer.Option(help="Write a copy of the photo with numbered boxes.")] = True,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the faces of PHOTO from left to right, for `animate --face`.

    Boxes and crops are x,y,w,h in pixels of the upright photo; the crop is what `animate` takes of it.
    """
    from faceanim_cli.faces import draw_numbers, find_faces, frame_crop  # noqa: PLC0415
    from faceanim_cli.media import check_photo_output, read_photo, write_photo  # noqa: PLC0415

    target = None if not preview else output or Path(f"{photo.stem}.faces.jpg")
    if target is not None:
        check_photo_output(target, photo)
    image = read_photo(photo)
    size = (image.shape[1], image.shape[0])
    found = find_faces(image, str(photo))
    if target is not None:
        write_photo(target, draw_numbers(image, found))
    rows = [(number, _pixels(face), _pixels(frame_crop(face, size))) for number, face in enumerate(found, 1)]
    if as_json:
        report = {
            "photo": str(photo),
            "width": size[0],
            "height": size[1],
            "faces": [{"face": number, "box": box, "crop": crop} for number, box, crop in rows],
            "preview": None if target is None else str(target),
        }
        typer.echo(json.dumps(report, indent=2))
        return
    typer.echo(f"{'face':<6}{'box x,y,w,h':<24}crop x,y,w,h")
    for number, box, crop in rows:
        typer.echo(f"{number:<6}{_text(box):<24}{_text(crop)}")
    if target is not None:
        typer.echo(target)


def _pixels(box: "Box") -> list[int]:
    return [round(box.x), round(box.y), round(box.w), round(box.h)]


def _text(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))
