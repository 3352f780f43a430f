"""``faceanim weights``: lists, fetches, checks and shares weights."""

import json
from pathlib import Path
from typing import Annotated

import typer

from faceanim_cli.commands.help import BASICS
from faceanim_cli.commands.options import (
    AcceptLicense,
    Json,
    Offline,
    Overwrite,
    Quiet,
    check_replacing,
    find_weights,
    option,
    stderr_printer,
)
from faceanim_cli.commands.values import weights_names
from faceanim_cli.console import print_table
from faceanim_cli.errors import WeightsError
from faceanim_cli.weights.catalogue import CATALOGUE
from faceanim_cli.weights.hub import show_progress
from faceanim_cli.weights.manage import (
    WeightsInfo,
    add_weights,
    describe_weights,
    find_local,
    list_weights,
    remove_weights,
    verify_weights,
)

weights = typer.Typer(no_args_is_help=True)

Spec = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        autocompletion=weights_names,
        help="A name of the list, or user/repo[@revision][:file] on the Hub",
    ),
]


@weights.callback()
def about() -> None:
    """List, fetch, check, share and export weights.

    Weights lie in the Hub's cache (HF_HOME) and work offline once they are there.
    """


@weights.command("list")
def list_(as_json: Json = False) -> None:
    """What --weights takes by name, and which are here."""
    found = list_weights()
    if as_json:
        typer.echo(json.dumps([item.as_json() for item in found], indent=2))
        return
    rows = [
        (
            item.name,
            item.state,
            _size(item.bytes),
            item.licence or "see its page",
            item.parts or "from the Hub",
        )
        for item in found
    ]
    print_table(("name", "state", "size", "licence", "what"), rows)


@weights.command()
def pull(
    name: Spec,
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch weights, check them, and print where they lie."""
    show_progress(not quiet)
    _print_place(name, find_weights(name, offline, accept_license), as_json)


@weights.command()
def info(
    name_or_file: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            autocompletion=weights_names,
            help="A name of the list, a file, or a repository in the cache",
        ),
    ],
    as_json: Json = False,
) -> None:
    """What weights are: networks, licence, source."""
    known = describe_weights(name_or_file)
    if as_json:
        typer.echo(json.dumps(known.as_json(), indent=2, default=str))
        return
    print_table((), [(key, value) for key, value in _facts(known).items() if value])


@weights.command()
def verify(as_json: Json = False) -> None:
    """Hash all weights on this machine anew.

    Exit code 4 if one is not what it was.
    """
    verdicts = list(verify_weights())
    if as_json:
        values = [
            {"name": v.name, "path": str(v.path), "sha256": v.sha256, "fault": v.fault, "ok": v.fault is None}
            for v in verdicts
        ]
        typer.echo(json.dumps(values, indent=2))
    else:
        print_table(("name", "", "path"), [(v.name, v.fault or "ok", str(v.path)) for v in verdicts])
    bad = [v.name for v in verdicts if v.fault is not None]
    if bad:
        raise WeightsError(f"damaged: {', '.join(bad)}; faceanim weights remove NAME, then pull NAME")


@weights.command()
def path(name: Spec, as_json: Json = False) -> None:
    """Print where weights lie. Fetches nothing.

    Exit code 4 if they are not on this machine.
    """
    _print_place(name, find_local(name), as_json)


@weights.command()
def remove(name: Spec) -> None:
    """Delete fetched weights from this machine."""
    typer.echo(f"{name}: removed, {_size(remove_weights(name))}", err=True)


@weights.command()
def add(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A file of the catalogue, or a folder with LivePortrait's five"),
    ],
    as_json: Json = False,
) -> None:
    """Take in weights that you downloaded yourself.

    What they are is told by their SHA-256. Of LivePortrait's files one is made.
    """
    entry, target = add_weights(file)
    if entry is None:
        typer.echo(f"{file}: not the files of the catalogue; --weights takes what was made of them", err=True)
    elif entry.terms is not None:
        typer.echo(f"{entry.name}: {entry.terms}", err=True)
    _print_place(str(file) if entry is None else entry.name, target, as_json)


@weights.command()
def push(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Weights that you trained")],
    repo: Annotated[str, typer.Argument(metavar="USER/REPO", help="Where on the Hub")],
    private: Annotated[bool, option(BASICS, "Make a new repository private", "--private")] = False,
    license_: Annotated[
        str | None, option(BASICS, "Such as cc-by-nc-4.0 [what the file says]", "--license")
    ] = None,
    message: Annotated[str | None, option(BASICS, "The commit's title", metavar="TEXT")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Share weights on the Hub with a card."""
    from faceanim_cli.weights.push import push_weights  # noqa: PLC0415 (imports torch)

    show_progress(not quiet)
    pushed = push_weights(file, repo, private=private, licence=license_, message=message)
    typer.echo(json.dumps({"url": pushed.url, "weights": pushed.spec}) if as_json else pushed.url)
    if not as_json and not quiet:
        typer.echo(f"others use it with --weights {pushed.spec}", err=True)


@weights.command()
def export(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            autocompletion=weights_names,
            help="A name of the list, a file, or user/repo on the Hub",
        ),
    ],
    output: Annotated[Path, option(BASICS, "The folder to write", "--output", "-o", metavar="DIR")],
    sr: Annotated[bool, option(BASICS, "End in super-resolution: frames of 512", "--sr")] = False,
    overwrite: Overwrite = False,
    offline: Offline = False,
    accept_license: AcceptLicense = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the networks as ONNX, to run them elsewhere.

    photo.onnx, motion.onnx, generator.onnx, and what describes them; compared with the networks before. It
    takes a minute or two, and `pip install 'faceanim-cli[onnx]'`. examples/onnx_animate.py runs them.
    """
    from faceanim_cli.weights.onnx_export import (  # noqa: PLC0415 (imports OpenCV)
        check_export,
        check_network,
        export_weights,
        is_export,
    )

    if name in CATALOGUE:  # hundreds of megabytes need not be fetched for that
        check_network(name, CATALOGUE[name].network)
    check_export(output)
    check_replacing([output], overwrite, is_export)
    found = find_weights(name, offline, accept_license)
    written = export_weights(found, output, sr=sr, report=stderr_printer(quiet))
    stderr_printer(quiet or as_json)(f"onnxruntime and torch differ by {written.difference:.1g} at most")
    facts = {"name": name, "path": str(output), "largest_difference": written.difference}
    typer.echo(json.dumps(facts) if as_json else output)


def _print_place(name: str, path: Path, as_json: bool) -> None:
    typer.echo(json.dumps({"name": name, "path": str(path)}) if as_json else path)


def _facts(known: WeightsInfo) -> dict[str, str]:
    return {
        "name": known.name,
        "state": known.state,
        "kind": known.kind or "",
        "network": known.network or "",
        "parts": known.parts or "",
        "parameters": f"{known.parameters:,}" if known.parameters is not None else "",
        "size": _size(known.bytes),
        "licence": known.licence or "not stated",
        "path": str(known.path or ""),
        "sha-256": known.sha256 or "",
        "source": "\n".join(known.sources),
        "settings": json.dumps(dict(known.settings), default=str) if known.settings else "",
    }


def _size(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e6:.0f} MB" if count >= 10_000_000 else f"{count / 1e6:.1f} MB"
