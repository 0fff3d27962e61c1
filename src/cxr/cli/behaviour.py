"""Commands that examine a trained model: shortcuts."""

from typing import Annotated

import typer

from cxr.cli.options import (
    Device,
    LungMask,
    MaxImages,
    OpenReport,
    Overrides,
    ReportFolder,
    TrainedRun,
    example,
    open_in_browser,
)

app = typer.Typer()


@app.command(
    epilog=example(
        "cxr shortcuts runs/nih_densenet121",
        "cxr shortcuts runs/nih_densenet121 --max-images 0 --lungs segmentation",
    )
)
def shortcuts(
    run: TrainedRun,
    overrides: Overrides = None,
    lungs: Annotated[
        LungMask,
        typer.Option(help="template, or segmentation by weights in torchxrayvision's cache; auto: if there."),
    ] = LungMask.auto,
    max_images: MaxImages = 2000,
    out: ReportFolder = None,
    device: Device = "auto",
    open_report: OpenReport = False,
) -> None:
    """Ask whether a model reads the chest or the scanner."""
    from cxr.commands.shortcuts import shortcuts as run_shortcuts

    page = run_shortcuts(run, overrides or [], lungs.value, max_images, out, device)
    if open_report:
        open_in_browser(page)
