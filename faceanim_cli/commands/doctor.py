"""``faceanim doctor``: whether everything is there, for people who seek help and for their reports."""

import json
from dataclasses import asdict

import typer

from faceanim_cli.commands.options import Json
from faceanim_cli.console import print_table
from faceanim_cli.errors import FaceanimError


def doctor(as_json: Json = False) -> None:
    """Check that everything is there and works.

    Versions, device, ffmpeg, encoders, cascades and weights; and two frames are animated.

    Exit code 1 if something is broken. What is missing only keeps some options from working.
    """
    from faceanim_cli.doctor import examine  # noqa: PLC0415

    findings = list(examine())
    broken = [finding.name for finding in findings if finding.state == "broken"]
    if as_json:
        typer.echo(json.dumps({"ok": not broken, "checks": [asdict(item) for item in findings]}, indent=2))
    else:
        print_table(("", "", ""), [(item.name, item.state, item.about) for item in findings])
    if broken:
        raise FaceanimError(f"broken: {', '.join(broken)}")
