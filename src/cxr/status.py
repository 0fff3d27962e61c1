"""How a command ends: its exit status, and what is said of a mistake."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import cast

import typer

from cxr.errors import CxrError, Interrupted, OneProcessError
from cxr.paths import explain, explain_unexpected
from cxr.signals import end_by_exception
from cxr.streams import StdoutError, complain, guarded

_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])  # Typer does not export it


def run(app: typer.Typer, arguments: Sequence[str] | None) -> int:
    """The exit status of a command, whose mistakes are printed: 0, 2 for a mistake, 128 and its number for a signal.

    What is written to stdout and stderr meanwhile cannot act on a terminal (streams.py).
    """
    try:
        with guarded():
            return _call(app, arguments)
    except StdoutError as error:
        if isinstance(error.cause, BrokenPipeError):
            return 128 + signal.SIGPIPE  # what a shell sees of any other program whose reader has gone
        with guarded():
            complain(explain(error.cause, "stdout"))
        return 2


def _call(app: typer.Typer, arguments: Sequence[str] | None) -> int:
    said = False
    try:
        with end_by_exception():
            status = app(args=list(arguments) if arguments is not None else None, standalone_mode=False) or 0
    except CxrError as error:
        if (
            isinstance(error, OneProcessError) or os.environ.get("LOCAL_RANK", "0") == "0"
        ):  # the others met the same
            complain(error)
        return 2
    except _UsageError as error:
        _say_usage(error)
        return 2
    except (MemoryError, OSError) as error:
        problem = explain_unexpected(error)
        if problem is None:
            raise
        complain(problem)
        return 2
    except Interrupted as stop:
        status, said = 128 + stop.number, stop.said
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    if status > 128 and not said:
        complain("stopped")
    return int(status)


def _say_usage(error: typer.BadParameter) -> None:
    """Print the mistake in how a command was called, in the form of every other one; help where nothing was asked."""
    said = error.format_message().replace("Value error, ", "")
    if error.ctx is None or said == error.ctx.get_help():
        print(said, file=sys.stderr)
        return
    command = error.ctx.command_path
    complain(CxrError(f"{command}: {said[0].lower()}{said[1:].rstrip('.')}", f"{command} --help shows how"))
