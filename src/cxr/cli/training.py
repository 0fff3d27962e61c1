"""Commands of a training: train."""

from typing import Annotated

import typer

from cxr.cli.options import ConfigFile, Overrides, example

app = typer.Typer()


@app.command(
    epilog=example(
        "cxr train nih_densenet121 data.root=/data/nih train.epochs=3",
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
) -> None:
    """Train a classifier; packs the images first where needed."""
    from cxr.commands import train as jobs

    jobs.train(config, overrides or [], resume, overwrite)
