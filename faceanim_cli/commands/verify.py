"""``faceanim verify``: whether a file states that it was made by AI."""

import json
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.help import BASICS
from faceanim_cli.commands.options import Json, option
from faceanim_cli.errors import FaceanimError, UnreadableInputError


def verify(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Videos, pictures, or folders of frames"),
    ],
    trust: Annotated[
        Path | None,
        option(BASICS, "PEM certificates of authorities to trust", metavar="FILE"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell whether a file was made by AI, as far as it says so.

    It looks for content credentials (C2PA), metadata (IPTC's DigitalSourceType), and faceanim's invisible
    watermark, which is still there when a video was encoded anew, scaled or cropped. That nothing is found
    proves nothing. Exit code: 0 all are known as made by AI, 1 not all, 5 a file cannot be read.
    """
    from faceanim_cli.provenance.verify import verify as verify_file  # noqa: PLC0415 (OpenCV takes time)

    facts: list[dict[str, object]] = []
    code = 0
    for file in files:
        try:
            verdict = verify_file(file, trust)
        except UnreadableInputError as error:
            if len(files) == 1:
                raise
            code = max(code, error.exit_code)
            facts.append({"file": str(file), "error": str(error)})
            typer.echo(f"faceanim: {error}", err=True)
            continue
        code = max(code, 0 if verdict.made_by_ai else FaceanimError.exit_code)
        facts.append(verdict.facts())
        if not as_json:
            typer.echo(f"{file}: {verdict.sentence}")
            for line in verdict.details():
                typer.echo(f"  {line}")
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    raise typer.Exit(code)
