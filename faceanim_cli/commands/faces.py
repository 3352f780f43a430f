"""``faceanim faces``: where the faces of a photo are, by number."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceanim_cli.commands.help import BASICS
from faceanim_cli.commands.options import Json, Overwrite, check_replacing, option

if TYPE_CHECKING:  # OpenCV takes time to import
    from faceanim_cli.faces import Box


def faces(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo to look at")],
    output: Annotated[
        Path | None,
        option(BASICS, "Write the photo with numbered boxes, .jpg or .png", "--output", "-o"),
    ] = None,
    preview: Annotated[
        bool, option(BASICS, "The same, as PHOTO.faces.jpg in this folder", "--preview/--no-preview")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """List the faces of a photo.

    From left to right, for `animate --face`. Boxes and crops are x,y,w,h in pixels of the upright photo; the
    crop is what `animate` takes of it.
    """
    from faceanim_cli.faces import draw_numbers, find_faces, frame_crop  # noqa: PLC0415
    from faceanim_cli.media import check_photo_output, read_photo, write_photo  # noqa: PLC0415

    if output is None and preview:
        output = Path(f"{photo.stem}.faces.jpg")
    if output is not None:
        check_photo_output(output, photo)
        check_replacing([output], overwrite)
    image = read_photo(photo)
    image, found = find_faces(image, str(photo))
    size = (image.shape[1], image.shape[0])
    if output is not None:
        write_photo(output, draw_numbers(image, found))
    rows = [(number, _pixels(face), _pixels(frame_crop(face, size))) for number, face in enumerate(found, 1)]
    if as_json:
        report = {
            "photo": str(photo),
            "width": size[0],
            "height": size[1],
            "faces": [{"face": number, "box": box, "crop": crop} for number, box, crop in rows],
            "preview": None if output is None else str(output),
        }
        typer.echo(json.dumps(report, indent=2))
        return
    typer.echo(f"{'face':<6}{'box x,y,w,h':<24}crop x,y,w,h")
    for number, box, crop in rows:
        typer.echo(f"{number:<6}{_text(box):<24}{_text(crop)}")
    if output is not None:
        typer.echo(output)


def _pixels(box: "Box") -> list[int]:
    return [round(box.x), round(box.y), round(box.w), round(box.h)]


def _text(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))
