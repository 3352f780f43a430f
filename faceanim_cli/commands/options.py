"""Options that several commands share, each declared once."""

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from fractions import Fraction
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import typer

Result = TypeVar("Result")


def unfold(command: Callable[..., Result]) -> Callable[..., Result]:
    """Let a command take a dataclass of options: each field becomes an option of its own.

    A field is declared as a parameter would be: ``name: Annotated[type, typer.Option(...)] = default``. The
    command is called with the dataclass, made of what was given.
    """
    inside: dict[str, tuple[type[Any], list[str]]] = {}
    parameters: list[inspect.Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if not (isinstance(kind, type) and is_dataclass(kind)):
            parameters.append(
                parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            )
            continue
        field_hints = get_type_hints(kind, include_extras=True)
        inside[parameter.name] = (kind, [field.name for field in fields(kind)])
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=field_hints[field.name],
            )
            for field in fields(kind)
        ]

    @wraps(command)
    def call(**given: Any) -> Result:
        made = {name: kind(**{key: given.pop(key) for key in keys}) for name, (kind, keys) in inside.items()}
        return command(**given, **made)

    del call.__wrapped__  # typer shall see the options, not the dataclass
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


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


# What people call television's rates, and what they are.
TELEVISION = {
    text: Fraction(n * 1000, 1001)
    for n, texts in {
        24: ("23.976", "23.98"),
        30: ("29.97",),
        48: ("47.952", "47.95"),
        60: ("59.94",),
        120: ("119.88",),
    }.items()
    for text in texts
}


def parse_fps(text: str | None) -> Fraction | None:
    """Frames per second: ``25``, ``12.5``, ``30000/1001``; ``29.97`` means 30000/1001. None stays None.

    Raises:
        typer.BadParameter: no number, or not from 1 to 240.
    """
    if text is None:
        return None
    if text in TELEVISION:
        return TELEVISION[text]
    valid = re.fullmatch(r"\d{1,7}(\.\d{1,6}|/\d{1,7})?", text)
    fps = Fraction(text) if valid and not re.search(r"/0+$", text) else Fraction(0)
    if not 1 <= fps <= 240:
        raise typer.BadParameter(f"{text!r} is no frame rate from 1 to 240, such as 25 or 30000/1001")
    return fps


def parse_audio(text: str) -> Literal["driver", "none"] | Path:
    """``driver``, ``none``, or a file; one that is called none is ./none."""
    return "driver" if text == "driver" else "none" if text == "none" else Path(text)
