"""Help for 80 columns: a line for each option, in panels by what a person wants.

``-h`` shows the first line of each option's help. ``-hh`` or ``--help-all`` shows all of it, and also the
panels whose names end with ``MORE``.
"""

import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

BASICS, MOTION, FACE, OUTPUT = "Basics", "Motion", "Which face", "Output"
DEVICE, MACHINES, HELP = "Weights and device", "On what machines", "Help yourself"
MORE = ", more"
LEFT = 26  # columns for an option's name; its text fills the rest


class HelpfulCommand(TyperCommand):
    """A command whose help is ours."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of ``-h``."""
        formatter.write(help_text(ctx))


class HelpfulGroup(TyperGroup):
    """The same for a group of commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of ``-h``."""
        formatter.write(help_text(ctx))


def show_help(context: typer.Context, level: int) -> None:
    """Print the help that was asked for, and exit; ``level`` 0 is none, 1 ``-h``, 2 ``-hh``."""
    if level and not context.resilient_parsing:
        typer.echo(help_text(context, everything=level > 1))
        raise typer.Exit


def help_text(context: Any, everything: bool = False) -> str:
    """The help of a command or a group of them."""
    command = context.command
    width = max(50, min(80, shutil.get_terminal_size().columns)) - 1
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    below = {name: command.get_command(context, name) for name in getattr(command, "commands", {})}
    usage = [context.command_path, *(_name(a) for a in arguments), "COMMAND" if below else "[OPTIONS]"]
    blocks = [f"Usage: {' '.join(usage)}"]
    blocks += [textwrap.fill(part, width) for part in (command.help or "").split("\n\n")]
    if arguments:
        blocks.append("\n".join(_line(_name(a), a.help, width, True) for a in arguments))
    for title, commands in _panels(below.items(), lambda item: item[1]):
        blocks.append(_panel(title, (_line(name, _first(c.help), width, True) for name, c in commands)))
    kept = [option for option in options if everything or not _title(option).endswith(MORE)]
    for title, members in _panels(kept, lambda option: option):
        lines = (_line(_flags(o), f"{o.help or ''}", width, everything, _default(o)) for o in members)
        blocks.append(_panel(title, lines))
    if len(kept) < len(options):
        blocks.append(f"{context.command_path} -hh shows all {len(options)} options, and more about each.")
    elif not everything and any("\n" in (option.help or "") for option in options):
        blocks.append(f"{context.command_path} -hh says more about each.")
    if below:
        blocks.append(f"{context.command_path} COMMAND -h shows the options of one.")
    return "\n\n".join(blocks)


def _panels(members: Iterable[Any], parameter: Any) -> Iterator[tuple[str, list[Any]]]:
    """Members by the title of their panel, in the order of first appearance; help comes last."""
    panels: dict[str, list[Any]] = {}
    for member in members:
        panels.setdefault(_title(parameter(member)), []).append(member)
    yield from sorted(panels.items(), key=lambda panel: panel[0] == HELP)


def _panel(title: str, lines: Iterable[str]) -> str:
    return "\n".join([typer.style(title, bold=True), *lines])


def _title(member: Any) -> str:
    panel = getattr(member, "rich_help_panel", None)
    return panel if isinstance(panel, str) else "Options" if hasattr(member, "opts") else "Commands"


def _line(left: str, text: str | None, width: int, everything: bool, default: str = "") -> str:
    """An entry: its name, and its text in a column of its own."""
    first, *rest = (text or "").splitlines() or [""]
    said = " ".join([first + default, *(rest if everything else ())])
    column = textwrap.wrap(said, width - LEFT) or [""]
    start = [f"  {left}".ljust(LEFT)] if len(left) + 3 < LEFT else [f"  {left}\n{'':{LEFT}}"]
    return "".join(start) + f"\n{'':{LEFT}}".join(column)


def _name(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return f"{name}..." if argument.nargs == -1 else str(name)


def _flags(option: Any) -> str:
    """``-o, --output FILE``: a short and a long name; of a pair the one that changes something."""
    names = option.secondary_opts if option.default is True and option.secondary_opts else option.opts
    short = [name for name in names if not name.startswith("--")][:1]
    long = [name for name in names if name.startswith("--")][:1]
    both = option.secondary_opts[:1] if option.secondary_opts and option.default is None else []
    return " ".join([", ".join([*short, *long, *both]), *([option.metavar] if option.metavar else [])])


def _default(option: Any) -> str:
    if option.required:
        return " (required)"
    shown = not isinstance(option.default, bool) and option.default not in (None, "", (), [])
    value = f"{option.default:g}" if isinstance(option.default, float) else option.default
    return f" [{value}]" if shown and not option.is_flag and not option.count else ""


def _first(text: str | None) -> str:
    """The first sentence."""
    return " ".join((text or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".")
