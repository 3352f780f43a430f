"""``faceanim web``: serves the web page."""

import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.commands.help import BASICS
from faceanim_cli.commands.options import OnlyFields, expand_options, option
from faceanim_cli.errors import UsageError

if TYPE_CHECKING:
    from faceanim_cli.web.server import Address

ON_THE_PAGE: dict[str, type] = {
    **dict.fromkeys(("pose", "expression", "mouth", "eyes", "gaze", "smooth", "zoom"), float),
    **dict.fromkeys(("absolute", "paste_back", "sr"), bool),
    **dict.fromkeys(("size", "face"), int),
    **dict.fromkeys(("weights", "shift"), str),
}
"""The options that the page sets, and what it sends for them; others are this command's, or the default."""
OF_THE_SERVER = ("weights", "device", "precision", "batch_size", "threads", "offline", "accept_license")
NO_WEB = "the page needs more packages: pip install 'faceanim-cli[web]'"


@expand_options
def web(
    *,
    port: Annotated[int, option(BASICS, "The port to listen on, 0 for any", min=0, max=65535)] = 7860,
    host: Annotated[
        str | None,
        option(
            BASICS,
            "Let other machines in, by this name or number of mine\n"
            "0.0.0.0 is all of them. The address then has a token, which is the key.",
            metavar="HOST",
        ),
    ] = None,
    open_: Annotated[bool, option(BASICS, "Open the page in the browser", "--open")] = False,
    options: Annotated[AnimationOptions, OnlyFields(*OF_THE_SERVER)],
) -> None:
    """Animate photos on a page in the browser.

    Nothing leaves this machine, and no other machine gets in unless you give --host. Photos and videos are
    deleted when they are animated, results when the page's server ends: press Ctrl-C.
    """
    try:
        from faceanim_cli.web.server import serve  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(NO_WEB) from error

    options.weights_file()  # fetched, and agreed to, before anybody waits

    def ready(address: "Address", _: Callable[[], None]) -> None:
        typer.echo(address.url)
        if open_:
            webbrowser.open(address.url)

    serve(lambda values: page_options(options, values), list(models(options)), host, port, ready)


def page_options(defaults: AnimationOptions, values: Mapping[str, Any]) -> AnimationOptions:
    """The options of an animation from what the page sends, which may be anything.

    Raises:
        UsageError: it cannot be.
    """
    hints = get_type_hints(AnimationOptions, include_extras=True)
    for name, value in values.items():
        kind = ON_THE_PAGE.get(name)
        if kind is None or type(value) not in ((float, int) if kind is float else (kind,)):
            raise UsageError("This page is of another version of faceanim: reload it")
        info = next(part for part in get_args(hints[name]) if isinstance(part, typer.models.OptionInfo))
        if info.min is not None and info.max is not None and not info.min <= value <= info.max:
            raise UsageError(f"--{name} {value:g}: give {info.min:g} to {info.max:g}")
    known = models(defaults)
    weights = values.get("weights", next(iter(known)))
    if weights not in known:
        raise UsageError("This model is not on this computer any more: reload the page")
    try:
        return replace(defaults, offline=True, **{**values, "weights": known[weights]})
    except typer.BadParameter as error:
        raise UsageError(error.message) from error


def models(options: AnimationOptions) -> dict[str, str | None]:
    """The weights that there are on this machine, by what the page calls them; the default is the first."""
    from faceanim_cli.weights.catalogue import CATALOGUE  # noqa: PLC0415
    from faceanim_cli.weights.resolve import local_files  # noqa: PLC0415

    found: dict[str, str | None] = {"faceanim": None}
    for entry in CATALOGUE.values():
        if entry.shipped is None and any(local_files(entry)):
            found[entry.name] = entry.name
    if options.weights is None:
        return found
    own = {Path(options.weights).name: options.weights}
    return {**own, **{name: spec for name, spec in found.items() if spec != options.weights}}
