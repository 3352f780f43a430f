"""Options that several commands share, and helpers to declare options."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_type_hints

import typer

from faceanim_cli.commands.help import DEVICE, HELP, MORE, OUTPUT
from faceanim_cli.commands.values import devices, parse_device, weights_names
from faceanim_cli.console import set_debug, set_quiet, set_verbose
from faceanim_cli.errors import UsageError, some_of
from faceanim_cli.files import cut_name

if TYPE_CHECKING:
    from faceanim_cli.weights.resolve import Confirm

Result = TypeVar("Result")
LONGEST_NAME = 240  # bytes: below the 255 at which file systems end names
METAVARS = {Path: "FILE", int: "N", float: "X", str: "NAME"}


def option(panel: str, text: str, *names: str, **how: Any) -> Any:
    """An option in a panel of the help.

    Args:
        panel: its title.
        text: a line for ``-h``; the lines that follow are for ``-hh``.
        names: none for that of the parameter.
        how: as ``typer.Option``'s.
    """
    return typer.Option(*names, help=text, rich_help_panel=panel, **how)


def choice(
    panel: str,
    text: str,
    values: Sequence[str],
    *names: str,
    old: Mapping[str, str] | None = None,
    **how: Any,
) -> Any:
    """An option that takes one of a few words. The shell's Tab and errors tell them; ``text`` should, too.

    Args:
        panel, text, names, how: as ``option``'s.
        values: the words; capitals are as good.
        old: spellings of earlier versions that are still taken, and what they mean now.
    """

    def parse(given: str) -> str:
        word = (old or {}).get(given.lower(), given.lower())
        if word not in values:
            raise typer.BadParameter(f"{given!r} is not one of {', '.join(values)}")
        return word

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return option(panel, text, *names, parser=parse, autocompletion=complete, **how)


PRECISIONS = ("auto", "fp32", "bf16", "fp16")
FASTEST = "auto is the fastest; a half that shows falls back to fp32."

Device = Annotated[
    str,
    option(DEVICE, "auto, cpu, cuda, cuda:1 or mps", parser=parse_device, autocompletion=devices),
]
Precision = Annotated[str, choice(DEVICE, f"auto, fp32, bf16 or fp16\n{FASTEST}", PRECISIONS)]
Weights = Annotated[
    str | None,
    option(
        DEVICE,
        "A listed name, a file, or user/repo [shipped]\n"
        "`faceanim weights list` lists them; user/repo[@revision] is on the Hub.",
        autocompletion=weights_names,
    ),
]
Offline = Annotated[bool, option(DEVICE + MORE, "Fetch nothing: use what is on this machine", "--offline")]
AcceptLicense = Annotated[
    bool,
    option(DEVICE + MORE, "Agree to the terms of fetched weights\nThey are told once.", "--accept-license"),
]
Overwrite = Annotated[bool, option(OUTPUT, "Replace files that faceanim did not make, too", "--overwrite")]
Json = Annotated[bool, option(HELP, "Print JSON on stdout, and nothing else", "--json")]
Quiet = Annotated[
    bool, option(HELP, "No progress, no warnings: errors only", "--quiet", "-q", callback=set_quiet)
]
Verbose = Annotated[
    bool, option(HELP, "Tell what is found and chosen", "--verbose", "-v", callback=set_verbose)
]
Debug = Annotated[bool, option(HELP, "Show tracebacks and debug messages", "--debug", callback=set_debug)]


def confirm_on_terminal() -> "Confirm | None":
    """Asks a person on the terminal about terms; None where nobody would answer."""
    if not on_terminal():
        return None
    return lambda terms: typer.confirm(f"{terms}\nDo you agree?", err=True)


def stderr_printer(quiet: bool) -> Callable[[str], None]:
    """What tells people a line, on stderr."""
    return lambda line: None if quiet else typer.echo(line, err=True)


def find_weights(name: str, offline: bool, accept_license: bool, kind: str = "animation") -> Path:
    """The file of weights, fetched if need be; a person on the terminal is asked about terms."""
    from faceanim_cli.weights.resolve import resolve_weights  # noqa: PLC0415

    return resolve_weights(
        name, kind, offline=offline, accept_license=accept_license, confirm=confirm_on_terminal()
    )


def on_terminal() -> bool:
    """Whether somebody can be asked; standard streams may be closed, and are None then."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


class OnlyFields:
    """Of a dataclass of options, the fields that a command shows; the others have their defaults."""

    def __init__(self, *names: str) -> None:
        self.names = names


def default_output(*inputs: Path, suffix: str) -> Path:
    """A name in the current folder, made of those of the inputs: ``photo-driver.mp4``."""
    names = "-".join(path.stem or path.resolve().stem for path in inputs)
    return Path(cut_name(names, LONGEST_NAME - len(suffix)) + suffix)


def check_replacing(
    paths: Sequence[Path], overwrite: bool, ours: Callable[[Path], bool] | None = None
) -> None:
    """Make sure that nothing is lost which faceanim did not make; a person on the terminal is asked.

    Args:
        paths: what is about to be written.
        overwrite: whether it was agreed to on the command line.
        ours: whether there is nothing at a path, or something that faceanim made; None looks.

    Raises:
        UsageError: something would be lost.
    """
    from faceanim_cli.media import is_ours  # noqa: PLC0415

    others = [] if overwrite else [path for path in paths if not (ours or is_ours)(path)]
    if not others:
        return
    told = some_of([*map(str, others)], 1)
    question = f"faceanim did not make {told}. Replace it?"
    if not (on_terminal() and typer.confirm(question, err=True)):
        raise UsageError(
            f"cannot write {told}: it is there, and faceanim did not make it; name another, or "
            "replace it with --overwrite"
        )


def expand_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Let a command take a dataclass of options: each field becomes an option of its own.

    A field is declared as a parameter would be: ``name: Annotated[type, typer.Option(...)] = default``. The
    command is called with the dataclass, made of what was given. ``Annotated[kind, OnlyFields("name")]``
    shows some of its fields.
    """
    inside: dict[str, tuple[type[Any], list[str]]] = {}
    parameters: list[inspect.Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        kind, *about = get_args(hints[parameter.name]) or (hints[parameter.name],)
        if not (isinstance(kind, type) and is_dataclass(kind)):
            parameters.append(
                parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            )
            continue
        field_hints = get_type_hints(kind, include_extras=True)
        only = [name for words in about if isinstance(words, OnlyFields) for name in words.names]
        shown = [field for field in fields(kind) if not only or field.name in only]
        inside[parameter.name] = (kind, [field.name for field in shown])
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=field_hints[field.name],
            )
            for field in shown
        ]

    @wraps(command)
    def call(**given: Any) -> Result:
        made = {name: kind(**{key: given.pop(key) for key in keys}) for name, (kind, keys) in inside.items()}
        return command(**given, **made)

    return with_parameters(call, parameters)


def with_parameters(
    call: Callable[..., Result], parameters: Sequence[inspect.Parameter]
) -> Callable[..., Result]:
    """``call``, which wraps a command, shown to typer as a function of ``parameters``.

    What stands for an option's value in the help is a short word by its type, unless the option says other.
    """
    for parameter in parameters:
        kind, *about = get_args(parameter.annotation) or (parameter.annotation,)
        kinds = {kind, *get_args(kind), *(inner for part in get_args(kind) for inner in get_args(part))}
        words = (word for type_, word in METAVARS.items() if type_ in kinds)
        for info in about:
            if isinstance(info, typer.models.OptionInfo) and info.metavar is None and bool not in kinds:
                info.metavar = None if info.count else next(words, "NAME")
    call.__dict__.pop("__wrapped__", None)
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call
