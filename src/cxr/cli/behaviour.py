"""Commands that examine a trained model: inspect, shortcuts, robustness."""

from pathlib import Path
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
        "cxr inspect runs/nih_densenet121",
        "cxr inspect runs/demo --image chest.png --layers layer1,layer4.1.conv2",
    )
)
def inspect(
    run: TrainedRun,
    overrides: Overrides = None,
    image: Annotated[
        Path | None, typer.Option(help="Image whose activations are shown; by default a test image.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers whose activations are shown.", metavar="A,B")
    ] = None,
    umap: Annotated[bool, typer.Option("--umap", help="Embed by UMAP too; needs cxr[umap].")] = False,
    max_images: MaxImages = 2000,
    out: ReportFolder = None,
    device: Device = "auto",
    open_report: OpenReport = False,
) -> None:
    """Show filters, activations and an embedding of a network."""
    from cxr.commands.inspect import inspect as run_inspect

    names = [name.strip() for name in layers.split(",")] if layers else []
    page = run_inspect(run, overrides or [], image, names, umap, max_images, out, device)
    if open_report:
        open_in_browser(page)


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


@app.command(
    epilog=example(
        "cxr robustness runs/nih_densenet121",
        "cxr robustness runs/nih_densenet121 --kinds fgsm,pgd,marker --max-images 0",
    )
)
def robustness(
    run: TrainedRun,
    overrides: Overrides = None,
    kinds: Annotated[
        str | None,
        typer.Option(help="Attacks and corruptions, such as pgd,jpeg; by default all.", metavar="A,B"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 0,
    max_images: MaxImages = 500,
    out: ReportFolder = None,
    device: Device = "auto",
    open_report: OpenReport = False,
) -> None:
    """Measure AUROC under attacks and image corruptions."""
    from cxr.commands.robustness import robustness as run_robustness

    names = [name.strip() for name in kinds.split(",")] if kinds else []
    page = run_robustness(run, overrides or [], names, seed, max_images, out, device)
    if open_report:
        open_in_browser(page)
