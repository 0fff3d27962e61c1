"""Commands of a training: train, runs."""

from pathlib import Path
from typing import Annotated

import typer

from cxr.cli.options import ConfigFile, Overrides, example

app = typer.Typer()


@app.command(
    epilog=example(
        "cxr train nih_densenet121 data.root=/data/nih train.epochs=3",
        "cxr train runs/nih_densenet121 --resume",
        "cxr train --repeat runs/nih_densenet121",
        "torchrun --nproc-per-node 4 -m cxr train nih_densenet121",
    )
)
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from last.pt in the run folder.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in the run folder.")
    ] = False,
    repeat: Annotated[
        bool, typer.Option("--repeat", help="Train a run again into RUN-repeat; report what differs.")
    ] = False,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="With --repeat: inputs may differ from the run's.")
    ] = False,
) -> None:
    """Train a classifier; packs the images first where needed."""
    from cxr.commands import train as jobs
    from cxr.commands.repeat import repeat as repeat_run
    from cxr.errors import CxrError

    if repeat:
        repeat_run(config, overrides or [], resume, overwrite, allow_changes)
    elif allow_changes:
        raise CxrError("--allow-changes: goes with --repeat alone", "leave it out")
    else:
        jobs.train(config, overrides or [], resume, overwrite)


@app.command(
    epilog=example(
        "cxr runs",
        "cxr runs runs/chexpert --sort test_auroc --filter model.backbone=resnet50",
        "cxr runs --filter nih --csv runs.csv",
    )
)
def runs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of runs.")] = Path("runs"),
    sort: Annotated[
        str, typer.Option(metavar="COLUMN", help="run, date, val_auroc, test_auroc or another of the CSV.")
    ] = "run",
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", metavar="KEY=VALUE", help="A config key, or a part of the name; repeatable."
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table as CSV too.")] = None,
) -> None:
    """List runs: recipe, data, epochs, AUROC, date, size."""
    from cxr.commands.runs import runs as list_runs

    list_runs(folder, sort, conditions or [], csv)
