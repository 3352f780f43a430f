"""Values of options that several commands read the same way."""

import typer


def parse_crop(text: str | None) -> tuple[float, float, float, float] | None:
    """``x,y,w,h`` in pixels; None stays None.

    Raises:
        typer.BadParameter: not four numbers, or w or h not above 0.
    """
    if text is None:
        return None
    try:
        x, y, w, h = (float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not x,y,w,h in pixels, such as 120,80,400,400") from error
    if not (w > 0 and h > 0):
        raise typer.BadParameter(f"{text!r}: w and h must be above 0")
    return x, y, w, h
