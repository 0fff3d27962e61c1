"""How a command ends: its exit status, and how a mistake is printed."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import cast

import typer

from cxr.errors import CxrError, Interrupted, OneProcessError
from cxr.paths import explain, explain_unexpected
from cxr.signals import end_by_exception
from cxr.streams import StdoutError, complain, guarded

_SIGPIPE = 13  # Windows has no such signal
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])  # Typer does not export it


ExplainOption = Callable[[str, str], str | None]
"""(an option that does not exist, the command) -> what to write in its place, or None."""


def run(app: typer.Typer, arguments: Sequence[str], explain_option: ExplainOption) -> int:
    """The exit status of a command: 0, 2 for a mistake, which is printed, 128 and its number for a signal.

    What is written to stdout and stderr meanwhile cannot act on a terminal (streams.py).
    """
    try:
        with guarded():
            return _call(app, arguments, explain_option)
    except StdoutError as error:
        if isinstance(error.cause, BrokenPipeError):
            return 128 + _SIGPIPE  # what a shell sees of any other program whose reader has gone
        with guarded():
            complain(explain(error.cause, "stdout"))
        return 2


def _call(app: typer.Typer, arguments: Sequence[str], explain_option: ExplainOption) -> int:
    is_reported = False
    try:
        with end_by_exception():
            status = app(args=list(arguments), prog_name="cxr", standalone_mode=False) or 0
    except CxrError as error:
        # the other processes of torchrun met the same error, unless it is one process's alone
        if isinstance(error, OneProcessError) or os.environ.get("LOCAL_RANK", "0") == "0":
            complain(error)
        return 2
    except _UsageError as error:
        _print_usage_error(error, explain_option)
        return 2
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "cxr"):
            raise
        hint = "pip install cxr; cxr-onnx has what cxr predict model.onnx takes, and no more"
        complain(CxrError(f"cxr {' '.join(arguments[:1])}: the package {package} is not installed", hint))
        return 2
    except (MemoryError, OSError) as error:
        problem = explain_unexpected(error)
        if problem is None:
            raise
        complain(problem)
        return 2
    except Interrupted as stop:
        status, is_reported = 128 + stop.number, stop.is_reported
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    if status > 128 and not is_reported:
        complain("stopped")
    return int(status)


def _print_usage_error(error: typer.BadParameter, explain_option: ExplainOption) -> None:
    """Print a wrong call of a command in the form of other mistakes; its help where nothing was asked."""
    message = error.format_message().replace("Value error, ", "")
    if error.ctx is None or message == error.ctx.get_help():
        print(message, file=sys.stderr)
        return
    command = error.ctx.command_path
    hint = f"{command} --help shows how"
    option = getattr(error, "option_name", None) if type(error).__name__ == "NoSuchOption" else None
    written = option and explain_option(option, command.rpartition(" ")[2])
    if written:
        message = f"No such option: {option}"  # without Click's guesses
        hint = f"write {written} in its place; cxr config demo lists every key"
    if message.endswith("'RECIPE'."):
        hint = f"cxr recipes lists them, such as {command} demo; {hint}"
    message = message[0].lower() + message[1:].rstrip(".")
    complain(CxrError(f"{command}: {message}", hint))
