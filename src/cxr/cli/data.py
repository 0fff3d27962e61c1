"""Commands before a training: recipes, config, init, download, phantom, check, pack."""

from pathlib import Path
from typing import Annotated

import typer

from cxr.cli.options import ConfigFile, Layout, OpenReport, Overrides, example, open_in_browser

app = typer.Typer()


@app.command(epilog=example("cxr recipes"))
def recipes() -> None:
    """List the recipes that come with cxr."""
    from cxr.commands.recipes import recipes as print_recipes

    print_recipes()


@app.command(
    "config",
    epilog=example(
        "cxr config nih_densenet121 train.lr=3e-4", "cxr config demo train", "cxr config demo data.columns"
    ),
)
def config_command(
    config: ConfigFile,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE | SECTION]...", help="Overrides; sections, to print them alone."),
    ] = None,
) -> None:
    """Print every key, its value and its meaning."""
    from cxr.commands.config import print_config

    print_config(config, overrides or [])


@app.command(
    epilog=example(
        "cxr init my.yaml --csv labels.csv --images images",
        "cxr init my.yaml --images /data/CheXpert-v1.0-small --yes",
        "cxr init my.yaml --csv labels.csv data.columns.patient=mrn",
    )
)
def init(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML file to write.")],
    overrides: Overrides = None,
    csv: Annotated[Path | None, typer.Option(help="Table of labels.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images; the table's by default.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take every proposal; ask nothing.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the recipe if it exists.")] = False,
) -> None:
    """Write a recipe for your own table or folder of images."""
    from cxr.commands.init import init as run_init

    run_init(recipe, csv, images, overrides or [], yes, overwrite)


@app.command(
    epilog=example("cxr download nih --to /data/nih", "cxr download chexpert")
    + "\n\nOther datasets need a registration: cxr says where."
)
def download(
    dataset: Annotated[str, typer.Argument(help="nih; chexpert, mimic, padchest, vindr, brax, rsna.")],
    to: Annotated[Path | None, typer.Option(help="Folder of the dataset; data/<dataset> by default.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the archives once they are unpacked.")] = False,
) -> None:
    """Download a dataset, resumed and checked (NIH: 45 GB)."""
    from cxr.commands.download import download as run_download

    run_download(dataset, to or Path("data") / dataset, keep)


@app.command(epilog=example("cxr phantom data/phantom --images 2000"))
def phantom(
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must not exist.")],
    images: Annotated[int, typer.Option(help="Number of images.")] = 2000,
    size: Annotated[int, typer.Option(help="Width and height in pixels.")] = 256,
    layout: Annotated[Layout, typer.Option(help="Dataset to imitate.")] = Layout.nih,
    seed: Annotated[int, typer.Option(help="Seed of patients and images.")] = 0,
) -> None:
    """Write generated chest-like images in the layout of a dataset."""
    from cxr.commands.phantom import phantom as run_phantom

    run_phantom(folder, images, size, layout.value, seed)


@app.command(
    epilog=example("cxr check nih_densenet121 data.root=/data/nih", "cxr check demo --quick")
    + "\n\nThe exit status is 1 when cxr train would refuse the data."
)
def check(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; checks/<config> by default.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only look for the files; decode no image.")] = False,
    open_report: OpenReport = False,
) -> None:
    """Check a dataset before training: files, labels, patients."""
    from cxr.commands.check import check as run_check
    from cxr.config.load import load

    is_ready, page = run_check(load(config, overrides or []), config, out, quick)
    if open_report:
        open_in_browser(page)
    if not is_ready:
        raise typer.Exit(1)


@app.command(epilog=example("cxr pack nih_densenet121 data.root=/data/nih"))
def pack(
    config: ConfigFile,
    overrides: Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Pack every image again.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Pack only changed and damaged images again.")
    ] = False,
) -> None:
    """Decode every image once into the store that training reads."""
    from cxr.commands import train as jobs

    jobs.pack(config, overrides or [], overwrite, update)
