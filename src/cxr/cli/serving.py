"""The command that answers over HTTP: serve."""

from pathlib import Path
from typing import Annotated

import typer

from cxr.cli.options import Device, HeadFindings, example

app = typer.Typer()


@app.command(
    epilog=example(
        "cxr serve runs/nih_densenet121 --open",
        "cxr serve runs/nih_densenet121 --port 0",
        "cxr serve runs/nih_densenet121 --host 0.0.0.0 --expose --token-file FILE",
    )
)
def serve(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run, checkpoint, model.onnx, xrv:NAME or weight file.")
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; by default this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")] = 8000,
    expose: Annotated[
        bool, typer.Option("--expose", help="Let other machines in, with a token; for another --host.")
    ] = False,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token; by default the variable CXR_TOKEN.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name that the server may be called by, as behind a proxy; may be repeated."),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Calibrated probabilities, by the validation images.")
    ] = False,
    max_megabytes: Annotated[int, typer.Option(min=1, max=600, help="Largest upload.")] = 64,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Longest request.")] = 60.0,
    head_findings: HeadFindings = None,
    device: Device = "auto",
) -> None:
    """Serve a page and endpoints for a model, on this machine."""
    import webbrowser

    from cxr.commands.serve import Address, Bounds
    from cxr.commands.serve import serve as run_serve

    address = Address(host, port, expose, token_file, tuple(allow_host or ()))
    bounds = Bounds(max_megabytes, seconds)
    opens = webbrowser.open if open_page else None
    run_serve(run, address, bounds, calibrated, head_findings, device, opens)
