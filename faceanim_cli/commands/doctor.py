"""``faceanim doctor``: checks the installation."""

import json
from dataclasses import asdict

import typer

from faceanim_cli.commands.options import Json, Quiet
from faceanim_cli.console import print_table
from faceanim_cli.errors import FaceanimError


def doctor(as_json: Json = False, quiet: Quiet = False) -> None:
    """Check that everything is there and works.

    Versions, device, ffmpeg, encoders, cascades and weights; and two frames are animated.

    Exit code 1 if something is broken. What is missing only keeps some options from working. With -q only
    what is broken or missing is told.
    """
    from faceanim_cli.doctor import examine  # noqa: PLC0415

    findings = list(examine())
    broken = [finding.name for finding in findings if finding.state == "broken"]
    if as_json:
        typer.echo(json.dumps({"ok": not broken, "checks": [asdict(item) for item in findings]}, indent=2))
    else:
        told = [item for item in findings if item.state != "ok" or not quiet]
        print_table(("", "", ""), [(item.name, item.state, item.about) for item in told])
    if broken:
        raise FaceanimError(f"broken: {', '.join(broken)}")
