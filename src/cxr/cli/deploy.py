"""The command that makes a file for other programs: export."""

from pathlib import Path
from typing import Annotated

import typer

from cxr.cli.options import (
    ExportPrecision,
    ExportTarget,
    HeadFindings,
    Overrides,
    Overwrite,
    RunPath,
    example,
)

app = typer.Typer()


@app.command(
    epilog=example(
        "cxr export runs/nih_densenet121 --to onnx",
        "cxr export runs/nih_densenet121 --precision int8 --out small.onnx",
        "cxr export runs/nih_densenet121 --images radiographs/",
    )
)
def export(
    run: RunPath,
    overrides: Overrides = None,
    target: Annotated[
        ExportTarget, typer.Option("--to", help="ONNX, or a program of torch.export.")
    ] = ExportTarget.onnx,
    precision: Annotated[
        ExportPrecision, typer.Option(help="Of the backbone in ONNX; its cost in AUROC is measured.")
    ] = ExportPrecision.fp32,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Image or folder to compare on; by default validation images of the run."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file; model.onnx in the run folder by default.")
    ] = None,
    overwrite: Overwrite = False,
    licence: Annotated[str, typer.Option(help="Licence of the weights, such as CC-BY-4.0.")] = "",
    head_findings: HeadFindings = None,
) -> None:
    """Write a run as one file with its preprocessing inside."""
    from cxr.commands.export import Options
    from cxr.commands.export import export as run_export

    options = Options(
        target.value, precision.value, tuple(images or ()), out, overwrite, licence, head_findings
    )
    run_export(run, overrides or [], options)
