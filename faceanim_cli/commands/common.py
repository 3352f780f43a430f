"""Options of every command: help, -q, -v, --debug, and --config for a settings file."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from faceanim_cli.commands.help import HELP, HelpfulCommand, HelpfulGroup, show_help
from faceanim_cli.commands.options import Debug, Quiet, Verbose, option, with_parameters
from faceanim_cli.commands.settings_file import option_defaults, read_settings


def _apply_settings(context: typer.Context, file: Path | None) -> Path | None:
    """Runs before the other options are looked at: what the file says becomes their default."""
    if file is not None and not context.resilient_parsing:
        context.default_map = {
            **(context.default_map or {}),
            **option_defaults(read_settings(file), context, str(file)),
        }
    return file


def _show_all(context: typer.Context, wanted: bool) -> None:
    show_help(context, 2 if wanted else 0)


Config = Annotated[
    Path | None,
    option(
        HELP,
        "Settings by command: [animate], then size = 256\nFlags win. FACEANIM_CONFIG names it, too.",
        metavar="TOML",
        envvar="FACEANIM_CONFIG",
        callback=_apply_settings,
        is_eager=True,
    ),
]
Help = Annotated[
    int,
    option(HELP, "This help; -hh shows all", "--help", "-h", count=True, is_eager=True, callback=show_help),
]
HelpAll = Annotated[
    bool, option(HELP, "As -hh", "--help-all", is_eager=True, hidden=True, callback=_show_all)
]

OF_GROUPS: dict[str, tuple[Any, Any]] = {"help": (Help, 0), "help_all": (HelpAll, False)}
COMMON: dict[str, tuple[Any, Any]] = {
    "config": (Config, None),
    "quiet": (Quiet, False),
    "verbose": (Verbose, False),
    "debug": (Debug, False),
    **OF_GROUPS,
}


def add_common_options(app: typer.Typer) -> None:
    """Give each command of ``app``, and of the groups in it, the options of ``COMMON`` that it lacks."""
    app.info.cls = HelpfulGroup
    if app.registered_callback is not None and app.registered_callback.callback is not None:
        app.registered_callback.callback = _with_options(app.registered_callback.callback, OF_GROUPS)
    for command in app.registered_commands:
        assert command.callback is not None
        command.cls = HelpfulCommand
        command.callback = _with_options(command.callback, COMMON)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        add_common_options(group.typer_instance)


def _with_options(command: Callable[..., Any], common: dict[str, tuple[Any, Any]]) -> Callable[..., Any]:
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(
            annotation=hints.get(parameter.name, parameter.annotation), kind=inspect.Parameter.KEYWORD_ONLY
        )
        for parameter in inspect.signature(command).parameters.values()
    ]
    added = {name: option for name, option in common.items() if name not in hints}
    parameters = own + [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in added.items()
    ]

    @wraps(command)
    def call(**given: Any) -> Any:
        return command(**{name: value for name, value in given.items() if name not in added})

    return with_parameters(call, parameters)
