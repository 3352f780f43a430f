"""A TOML file of settings: a table for each command, with the names of its options as keys.

    [animate]
    size = 256
    sr = false
    crop = [120, 80, 400, 400]

    [weights.pull]
    offline = true

What is given on the command line wins. Relative paths count from the working folder, as in flags.
"""

import codecs
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from faceanim_cli.errors import UnreadableInputError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NO_SETTINGS = frozenset({"help", "help-all", "config"})
LARGEST = 1 << 20  # bytes; all options of all commands take a few thousand


def read_settings(file: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UnreadableInputError: there is no such file, or it is not TOML.
    """
    try:
        with file.open("rb") as opened:  # a pipe will do, as of <(...): it is read once
            data = opened.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UnreadableInputError(f"cannot read the settings {file}: too large for settings")
        return tomllib.loads(_decoded(data).replace("\r\n", "\n").replace("\r", "\n"))
    except OSError as error:
        raise UnreadableInputError(f"cannot read the settings {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableInputError(
            f"cannot read the settings {file}: it is not UTF-8; save it as UTF-8 text"
        ) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UnreadableInputError(f"cannot read the settings {file}: not TOML: {error}") from error


def _decoded(data: bytes) -> str:
    """Text as editors save it: UTF-8, or UTF-16 with a byte order mark, as PowerShell writes it."""
    utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if utf_16 else "utf-8-sig")


def option_defaults(settings: Mapping[str, Any], context: typer.Context, name: str) -> dict[str, Any]:
    """What the settings say about the options of a command, by the names of its parameters.

    Args:
        settings: all tables of the file. Those of other commands are looked at too: a name that is written
            wrongly there would else go unnoticed.
        context: the command's own.
        name: what messages call the file.

    Raises:
        UsageError: a table or a key that is no command or option, or a value that no option takes.
    """
    root = context.find_root().command
    found = _by_command(settings, root, (), name)
    path: list[str] = []
    while context.parent is not None:
        path.insert(0, context.info_name or "")
        context = context.parent  # type: ignore[assignment]
    return found.get(tuple(path), {})


def _by_command(
    table: Mapping[str, Any], command: Any, path: tuple[str, ...], name: str
) -> dict[tuple[str, ...], dict[str, Any]]:
    """Defaults of ``command`` and all below it, by their paths."""
    below: Mapping[str, Any] = getattr(command, "commands", {})  # of a group
    options = {} if below else _options(command)
    found: dict[tuple[str, ...], dict[str, Any]] = {path: {}}
    where = f"{name}: [{'.'.join(path)}]" if path else name
    for key, value in table.items():
        if key in below:
            if not isinstance(value, Mapping):
                raise UsageError(f"{where}: {key} is a command; write a table [{'.'.join((*path, key))}]")
            found |= _by_command(value, below[key], (*path, key), name)
            continue
        option = options.get(key.replace("_", "-"))
        if option is None:
            raise UsageError(f"{where}: {_unknown(key, value, command, path)}")
        found[path][option.name] = _as_given(value, option, f"{where} {key}")
    return found


def _options(command: Any) -> dict[str, Any]:
    """A command's options by their long names without dashes."""
    return {
        flag[2:]: option
        for option in command.params
        for flag in option.opts
        if flag.startswith("--") and flag[2:] not in NO_SETTINGS
    }


def _unknown(key: str, value: Any, command: Any, path: Sequence[str]) -> str:
    below: Mapping[str, Any] = getattr(command, "commands", {})
    if below and not isinstance(value, Mapping):
        return f"{key} belongs into the table of a command, such as [{'.'.join((*path, next(iter(below))))}]"
    options = {} if below else _options(command)
    for name, option in options.items():
        if f"--{key.replace('_', '-')}" in option.secondary_opts:
            return f"no option {key}; write {name} = false"
    written = key.replace("_", "-").strip(" -").lower()
    close = difflib.get_close_matches(written, [*below, *options], n=1)
    hint = f"did you mean {close[0]}?" if close else f"see {' '.join(('faceanim', *path))} --help"
    return f"no {'command' if below else 'option'} {key}; {hint}"


def _as_given(value: Any, option: Any, said: str) -> Any:
    """A value as the command line would give it: a text, or texts for what can be given repeatedly."""
    if option.is_flag != isinstance(value, bool):
        raise UsageError(f"{said}: {'true or false' if option.is_flag else 'a number or a text'}, please")
    if isinstance(value, bool):
        return value
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(part, (str, int, float)) and part is not True for part in values):
        raise UsageError(f"{said}: a number, a text, or a list of them, please")
    texts = [str(part) for part in values]
    return texts if option.multiple else ",".join(texts)
