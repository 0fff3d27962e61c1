"""The command line: signatures and help. Commands import inside their functions, so that --help is quick."""

import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from cxr import __version__
from cxr.cli import behaviour, data, deploy, models, paper, serving, training
from cxr.replace import keep
from cxr.status import run
from cxr.streams import show

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, evaluate and run chest X-ray classifiers. A research tool, not a medical device.",
    epilog="Start with: cxr train demo",
)  # fmt: skip


for part in (data, training, models, deploy, serving, behaviour, paper):  # the order of --help
    app.add_typer(part.app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; status 2 after a mistake of the user, 128 plus its number after a signal."""
    given = sys.argv[1:] if arguments is None else arguments

    def explain(option: str, command: str) -> str | None:
        from cxr.commands.option_hints import explain_option

        return explain_option(option, command, given)

    with keep(_list_inputs(given)):
        status = run(app, given, explain)
    sys.exit(status)


_WRITE_WHAT_THEY_READ = ("init", "pack", "runs", "train")
"""Commands that may be given a file to replace it: a recipe, that of the run folder, or a table of runs."""


def _list_inputs(arguments: Sequence[str]) -> Iterator[Path]:
    """What a command line names but the place of its output; names that are no files do no harm."""
    if not arguments or arguments[0] in _WRITE_WHAT_THEY_READ:
        return
    for before, text in pairwise(arguments):
        # --labels=FILE and data.csv=FILE name a file after the sign
        name, equals, value = text.partition("=")
        if "--out" not in (before, name):
            yield Path(text)
            if equals:
                yield Path(value)


@app.callback(invoke_without_command=True)
def _start(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        show(f"cxr {__version__}")
        raise typer.Exit
