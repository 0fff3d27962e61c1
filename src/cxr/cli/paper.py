"""Commands that say what a run is: checklist, for a paper, and card, for those who get its weights."""

from pathlib import Path
from typing import Annotated

import typer

from cxr.cli.options import OpenReport, Overrides, example, open_in_browser

app = typer.Typer()


@app.command(
    epilog=example(
        "cxr checklist runs/nih_densenet121",
        "cxr checklist runs/nih_densenet121 data.root=/data/nih --out paper",
    )
)
def checklist(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run or checkpoint.")],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the files; checklist in the run folder by default.")
    ] = None,
    open_report: OpenReport = False,
) -> None:
    """Fill CLAIM and TRIPOD+AI, Table 1 and methods from a run."""
    from cxr.commands.checklist import checklist as run_checklist

    page = run_checklist(run, overrides or [], out)
    if open_report:
        open_in_browser(page)


@app.command(
    epilog=example(
        "cxr card runs/nih_densenet121",
        "cxr card runs/nih_densenet121 data.root=/data/nih --out to_share",
    )
)
def card(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run or checkpoint.")],
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the card and the weights; card in the run folder by default."),
    ] = None,
    with_hashes: Annotated[
        bool,
        typer.Option("--with-hashes", help="Keep hashes of patients and folders in the copy of the weights."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a card that was edited, and files of another origin.")
    ] = False,
) -> None:
    """Write a model card of a run, beside a copy of its weights."""
    from cxr.commands.card import card as run_card

    run_card(run, overrides or [], out, with_hashes, overwrite)
