"""What every command takes: -v, --debug, and --config for a file of settings."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from faceanim_cli.commands.settings_file import option_defaults, read_settings
from faceanim_cli.console import Debug, Verbose


def _apply_settings(context: typer.Context, file: Path | None) -> Path | None:
    """Runs before the other options are looked at: what the file says becomes their default."""
    if file is not None and not context.resilient_parsing:
        context.default_map = {
            **(context.default_map or {}),
            **option_defaults(read_settings(file), context, str(file)),
        }
    return file


Config = Annotated[
    Path | None,
    typer.Option(
        metavar="TOML",
        envvar="FACEANIM_CONFIG",
        callback=_apply_settings,
        is_eager=True,
        help="Settings by command: [animate], then size = 256. Flags win.",
    ),
]

COMMON: dict[str, tuple[Any, Any]] = {
    "config": (Config, None),
    "verbose": (Verbose, False),
    "debug": (Debug, False),
}


def add_common_options(app: typer.Typer) -> None:
    """Give each command of ``app``, and of the groups in it, the options of ``COMMON`` that it lacks."""
    for command in app.registered_commands:
        assert command.callback is not None
        command.callback = _with_common_options(command.callback)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        add_common_options(group.typer_instance)


def _with_common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(
            annotation=hints.get(parameter.name, parameter.annotation), kind=inspect.Parameter.KEYWORD_ONLY
        )
        for parameter in inspect.signature(command).parameters.values()
    ]
    added = {name: option for name, option in COMMON.items() if name not in hints}
    parameters = own + [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in added.items()
    ]

    @wraps(command)
    def call(**given: Any) -> Any:
        return command(**{name: value for name, value in given.items() if name not in added})

    del call.__wrapped__  # typer shall see the options that were added
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call
