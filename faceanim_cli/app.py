"""The command line. Exit codes: 0 done, 1 some item failed, 2 usage or missing tool, 3 no face, 4 weights,
5 input unreadable, 130 interrupted. Nothing heavy is imported before a command runs.
"""

import os
import sys
import traceback
from typing import Annotated, Any, cast

import typer

from faceanim_cli import __version__
from faceanim_cli.commands.animate import animate
from faceanim_cli.commands.batch import batch
from faceanim_cli.commands.benchmark import benchmark
from faceanim_cli.commands.common import add_common_options
from faceanim_cli.commands.doctor import doctor
from faceanim_cli.commands.eval import eval_
from faceanim_cli.commands.faces import faces
from faceanim_cli.commands.help import HELP
from faceanim_cli.commands.live import live
from faceanim_cli.commands.motion import motion
from faceanim_cli.commands.prepare import prepare
from faceanim_cli.commands.train import train
from faceanim_cli.commands.verify import verify
from faceanim_cli.commands.web import web
from faceanim_cli.commands.weights import weights
from faceanim_cli.console import debugging
from faceanim_cli.errors import FaceanimError, UsageError
from faceanim_cli.interrupts import end_on_interrupts, interrupted_by
from faceanim_cli.standard_streams import ReaderGoneError, guard_standard_streams

# Newer typers bring a click of their own, which they export no more of.
_TyperUsageError = cast(Any, typer.BadParameter.__base__)

app = typer.Typer(
    name="faceanim",
    help="Animate a face photo with the motion of a driving video.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": []},  # common.py's has two levels
)
for command in (animate, batch, motion, faces, live, web):
    app.command(rich_help_panel="Animate")(command)
for command in (prepare, train):
    app.command(rich_help_panel="Train and measure")(command)
app.command("eval", rich_help_panel="Train and measure")(eval_)
app.command(rich_help_panel="Train and measure")(benchmark)
app.add_typer(weights, name="weights", rich_help_panel="Look after")
app.command(rich_help_panel="Look after")(verify)
app.command(rich_help_panel="Look after")(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"faceanim {__version__}")
        raise typer.Exit


@app.callback()
def faceanim(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version, and exit",
            rich_help_panel=HELP,
        ),
    ] = False,
) -> None:
    """Animate a face photo with the motion of a driving video."""


add_common_options(app)


def _prepare_process() -> None:
    # Torch's threads spin while they wait for each other. Beside any other work on the machine that made
    # `animate` four times slower; asleep they cost nothing. Must be set before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    end_on_interrupts()
    guard_standard_streams()


def main() -> None:
    """Run the command line and exit with its code."""
    _prepare_process()
    try:
        code = app(prog_name="faceanim", standalone_mode=False)
    except _TyperUsageError as error:  # typer's own words would fill a box of five lines
        if type(error).__name__ == "NoArgsIsHelpError":  # whose message is the help
            error.show()
        else:
            command = error.ctx.command_path if error.ctx is not None else "faceanim"
            _say(f"{error.format_message().rstrip('.')}{_origin(error)} (see {command} -h)")
        sys.exit(UsageError.exit_code)
    except typer.Abort:
        sys.exit(130)
    except FaceanimError as error:
        if debugging():
            traceback.print_exc()
        if not isinstance(error, ReaderGoneError):
            _say(str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        if debugging():
            raise
        if (number := interrupted_by()) is not None:  # which some library took for a failure of its own
            sys.exit(128 + number)
        if (
            isinstance(error, OSError) and error.strerror
        ):  # of the machine: a disk that is full, a missing right
            _say(f"{error.strerror}{'' if error.filename is None else f': {error.filename}'}")
        else:  # a fault of ours: still one line for a person, and the way to the traceback for a report
            _say(f"internal error: {type(error).__name__}: {error} (--debug shows where)")
        sys.exit(1)
    sys.exit(code)


def _origin(error: Any) -> str:
    """Where a value that is wrong was given, if not on the command line."""
    if error.ctx is None or getattr(error, "param", None) is None:
        return ""
    source = getattr(error.ctx.get_parameter_source(error.param.name), "name", "")
    return {"DEFAULT_MAP": ", in the settings file", "ENVIRONMENT": ", in the environment"}.get(source, "")


def _say(message: str) -> None:
    """Why a command ends; one line, even if the name of a file in it has two."""
    lines = [line.strip() for line in message.splitlines()]
    typer.echo(f"faceanim: {' '.join(line for line in lines if line)}", err=True)
